/* Nets out of the fuzzer's bytes. */
#include "fuzz.h"

#define MOST_WIDE 2048 /* so that examples * positions can pass FDL_MAX_TERMS */

static shape take_shape(input *in) {
    uint32_t is_long = take_byte(in) % 4 == 3;
    shape s = {1, 1, 1 + take_below(in, 9)};
    s.width = 1 + take_below(in, is_long ? MOST_WIDE : 12);
    if (!is_long)
        s.height = 1 + take_below(in, 9);
    return s;
}

/* The kernel, stride and pads of one direction; they fit mostly, a small pad more often than not. */
static void take_direction(input *in, uint32_t size, uint8_t *kernel, uint8_t *stride,
                           uint8_t *before, uint8_t *after) {
    uint32_t most = size < 8 ? size : 8;
    *kernel = (uint8_t)(1 + take_below(in, most));
    *stride = (uint8_t)(1 + take_below(in, 4));
    *before = (uint8_t)take_below(in, *kernel);
    *after = (uint8_t)take_below(in, *kernel);
}

static void take_kernel(input *in, fdl_layer *v) {
    take_direction(in, v->height, &v->kernel_height, &v->stride_height, &v->pad_top,
                   &v->pad_bottom);
    take_direction(in, v->width, &v->kernel_width, &v->stride_width, &v->pad_left, &v->pad_right);
}

static fdl_layer take_layer(input *in, shape from) {
    fdl_layer v = {.kind = (uint8_t)take_below(in, 5), .relu = (uint8_t)take_below(in, 2)};
    if (v.kind == FDL_DENSE)
        from = (shape){1, 1, from.height * from.width * from.channels};
    v.height = (uint16_t)from.height;
    v.width = (uint16_t)from.width;
    v.channels = (uint16_t)from.channels;
    v.out = v.kind <= FDL_CONV ? (uint16_t)(1 + take_below(in, 20)) : v.channels;
    if (v.kind == FDL_CONV || v.kind == FDL_DEPTHWISE || v.kind == FDL_MAX_POOL)
        take_kernel(in, &v);
    if (v.kind <= FDL_DEPTHWISE)
        v.w_exp = (int8_t)((int32_t)take_below(in, 32) + FDL_MIN_EXPONENT);
    else
        v.relu = 0;
    return v;
}

static uint32_t positions(uint32_t size, uint32_t kernel, uint32_t stride) {
    return stride == 0 || size < kernel ? 0 : (size - kernel) / stride + 1;
}

shape output_shape(const fdl_layer *v) {
    if (v->kind == FDL_DENSE || v->kind == FDL_AVERAGE_POOL)
        return (shape){1, 1, v->out};
    uint32_t height = (uint32_t)v->height + v->pad_top + v->pad_bottom;
    uint32_t width = (uint32_t)v->width + v->pad_left + v->pad_right;
    return (shape){positions(height, v->kernel_height, v->stride_height),
                   positions(width, v->kernel_width, v->stride_width), v->out};
}

fdl_layer *take_layers(input *in, size_t *count) {
    *count = take_below(in, FDL_MAX_LAYERS + 2);
    fdl_layer *layers = new_memory(*count * sizeof *layers);
    shape from = take_shape(in);
    for (size_t l = 0; l < *count; l++) {
        layers[l] = take_layer(in, from);
        from = output_shape(&layers[l]);
    }
    if (*count == 0)
        return layers;
    layers[*count - 1].relu = 0;
    if (take_byte(in) % 4 == 3) { /* one byte is anything */
        size_t place = take_below(in, (uint32_t)(*count * sizeof *layers));
        ((uint8_t *)layers)[place] = (uint8_t)take_byte(in);
    }
    return layers;
}

uint64_t count_products(const fdl_layer *layers, size_t count) {
    uint64_t products = 0;
    if (fdl_check_layers(layers, count) != FDL_OK)
        return 0;
    for (size_t l = 0; l < count; l++) {
        const fdl_layer *v = &layers[l];
        shape s = output_shape(v);
        uint64_t span = v->kind == FDL_DENSE ? v->channels
                        : v->kind == FDL_AVERAGE_POOL
                            ? (uint64_t)v->height * v->width
                            : (uint64_t)v->kernel_height * v->kernel_width;
        span *= v->kind == FDL_CONV ? v->channels : 1;
        products += span * s.height * s.width * s.channels;
    }
    return products;
}

size_t packed_size(const fdl_net *net) {
    return fdl_packed_size(net->layers, net->layer_count);
}

fdl_net take_net(input *in, const fdl_layer *layers, size_t count) {
    fdl_net net = {.layers = layers, .layer_count = count, .loss = take_below(in, 4)};
    net.weight_count = fdl_weight_room(layers, count);
    net.bias_count = fdl_bias_count(layers, count);
    net.weights = new_memory(net.weight_count * sizeof *net.weights);
    net.biases = new_memory(net.bias_count * sizeof *net.biases);
    fill(in, net.weights, net.weight_count * sizeof *net.weights);
    fill(in, net.biases, net.bias_count * sizeof *net.biases);
    return net;
}

uint8_t *pack(const fdl_net *net) {
    uint8_t *packed = new_memory(packed_size(net));
    expect(fdl_pack_weights(net, packed, packed_size(net)) == FDL_OK);
    return packed;
}

uint32_t checksum(const fdl_net *net) {
    uint32_t crc;
    expect(fdl_checksum(net, &crc) == FDL_OK);
    return crc;
}

fdl_net new_net_like(const fdl_net *net, const uint8_t *packed) {
    fdl_net twin = *net;
    twin.weights = new_memory(net->weight_count * sizeof *net->weights);
    twin.biases = new_memory(net->bias_count * sizeof *net->biases);
    expect(fdl_unpack_weights(&twin, packed, packed_size(net)) == FDL_OK);
    return twin;
}

int8_t *take_inputs(input *in, size_t count) {
    int8_t *x = new_memory(count);
    fill(in, x, count);
    for (size_t j = 0; j < count; j++)
        if (x[j] == -128)
            x[j] = -127;
    return x;
}

size_t input_values(const fdl_net *net) {
    return fdl_input_count(&net->layers[0]);
}

size_t outputs_of(const fdl_net *net) {
    return fdl_output_count(&net->layers[net->layer_count - 1]);
}
