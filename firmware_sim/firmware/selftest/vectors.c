#include "vectors.h"
#include "platform.h"

extern const uint8_t vectors[];

vectors_reader vectors_open(void) {
    return (vectors_reader){vectors};
}

int32_t vectors_number(vectors_reader *in) {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value |= (uint32_t)in->at[i] << (8 * i);
    in->at += 4;
    return (int32_t)value;
}

const void *vectors_bytes(vectors_reader *in, size_t *size) {
    size_t length = (uint32_t)vectors_number(in);
    const uint8_t *bytes = in->at;
    in->at += (length + 3) / 4 * 4;
    if (size != NULL)
        *size = length;
    return platform_constant(bytes, length);
}

/* Its weight exponent and its fields in the order of the wire. */
#define FIELDS 15

static fdl_layer layer_of(const int16_t field[FIELDS]) {
    return (fdl_layer){
        .w_exp = (int8_t)field[0],
        .kind = (uint8_t)field[1],
        .height = (uint16_t)field[2],
        .width = (uint16_t)field[3],
        .channels = (uint16_t)field[4],
        .out = (uint16_t)field[5],
        .relu = (uint8_t)field[6],
        .kernel_height = (uint8_t)field[7],
        .kernel_width = (uint8_t)field[8],
        .stride_height = (uint8_t)field[9],
        .stride_width = (uint8_t)field[10],
        .pad_top = (uint8_t)field[11],
        .pad_bottom = (uint8_t)field[12],
        .pad_left = (uint8_t)field[13],
        .pad_right = (uint8_t)field[14],
    };
}

fdl_net vectors_net(vectors_reader *in) {
    fdl_net net = {.loss = (uint32_t)vectors_number(in)};
    net.layer_count = (size_t)vectors_number(in);
    fdl_layer *layers = platform_new(net.layer_count * sizeof *layers);
    const int16_t *fields = vectors_bytes(in, NULL);
    for (size_t l = 0; l < net.layer_count; l++)
        layers[l] = layer_of(fields + FIELDS * l);
    net.layers = layers;
    net.weight_count = fdl_weight_room(layers, net.layer_count);
    net.bias_count = fdl_bias_count(layers, net.layer_count);
    net.weights = platform_new(net.weight_count * sizeof *net.weights);
    net.biases = platform_new(net.bias_count * sizeof *net.biases);
    return net;
}
