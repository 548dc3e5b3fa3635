/* What is a model, and how large it is. */
#include "net.h"

/* Packed models are limited so that a size_t of 32 bits holds every size computed from one. */
#define MAX_PACKED_SIZE INT32_MAX

static int is_between(uint64_t value, uint64_t low, uint64_t high) {
    return value >= low && value <= high;
}

static int has_no_kernel(const fdl_layer *v) {
    return !(v->kernel_height | v->kernel_width | v->stride_height | v->stride_width | v->pad_top |
             v->pad_bottom | v->pad_left | v->pad_right);
}

#if FDL_HAS_SHAPES
/* Whether the kernel fits in the padded input and every pad is smaller than it. */
static int kernel_is_valid(uint32_t size, uint32_t kernel, uint32_t stride, uint32_t before,
                           uint32_t after) {
    return kernel >= 1 && stride >= 1 && before < kernel && after < kernel &&
           size + before + after >= kernel;
}

static int has_kernel(const fdl_layer *v) {
    return kernel_is_valid(v->height, v->kernel_height, v->stride_height, v->pad_top,
                           v->pad_bottom) &&
           kernel_is_valid(v->width, v->kernel_width, v->stride_width, v->pad_left, v->pad_right);
}
#endif

/* The shape that the kind asks for. */
static int shape_is_valid(const fdl_layer *v) {
    if (v->height < 1 || v->width < 1 || v->channels < 1 || v->out < 1 || v->relu > 1)
        return 0;
    switch (v->kind) {
    case FDL_DENSE:
        return v->height == 1 && v->width == 1 && has_no_kernel(v);
#if FDL_HAS_SHAPES
    case FDL_CONV:
        return has_kernel(v);
    case FDL_DEPTHWISE:
        return v->out == v->channels && has_kernel(v);
    case FDL_MAX_POOL:
        return v->out == v->channels && v->relu == 0 && has_kernel(v);
    case FDL_AVERAGE_POOL:
        return v->out == v->channels && v->relu == 0 && has_no_kernel(v);
#endif
    default:
        return 0;
    }
}

static int kind_is_built(uint8_t kind) {
    switch (kind) {
    case FDL_CONV:
        return !FDL_WITHOUT_CONV;
    case FDL_DEPTHWISE:
        return !FDL_WITHOUT_DEPTHWISE;
    case FDL_MAX_POOL:
    case FDL_AVERAGE_POOL:
        return !FDL_WITHOUT_POOLS;
    default:
        return 1;
    }
}

/* Windows that read one value, in one direction. */
static uint32_t reach(uint32_t kernel, uint32_t positions) {
    return kernel < positions ? kernel : positions;
}

/* No sum of products has more terms than 32 bits hold (NUMERICS section 2). */
static int sums_fit(const fdl_part *part) {
    const fdl_layer *v = part->layer;
    if (!FDL_HAS_SHAPES || v->kind == FDL_DENSE) /* its fields have 16 bits */
        return 1;
    if (v->kind == FDL_AVERAGE_POOL)
        return (uint64_t)v->height * v->width <= FDL_MAX_WIDTH;
    uint64_t terms = (uint64_t)reach(v->kernel_height, part->out_height) *
                     reach(v->kernel_width, part->out_width) * (v->kind == FDL_CONV ? v->out : 1);
    return terms <= FDL_MAX_WIDTH && (uint64_t)part->pieces * part->piece_len <= FDL_MAX_WIDTH;
}

static int counts_fit(const fdl_layer *v) {
    if (!FDL_HAS_SHAPES)
        return 1;
    uint64_t height = (uint64_t)v->height + v->pad_top + v->pad_bottom;
    uint64_t width = (uint64_t)v->width + v->pad_left + v->pad_right;
    if (height * width * v->channels > FDL_MAX_VALUES)
        return 0;
    if (v->kind == FDL_DENSE || v->kind == FDL_AVERAGE_POOL)
        return 1;
    height = (height - v->kernel_height) / v->stride_height + 1;
    width = (width - v->kernel_width) / v->stride_width + 1;
    return height * width * v->out <= FDL_MAX_VALUES;
}

/* Every run of weights begins at a multiple of four bytes, or need not. */
static int rows_are_built(const fdl_part *part) {
    return !FDL_WITHOUT_ODD_ROWS || part->weight_rows == 0 || part->piece_len % 2 == 0;
}

static int exponent_is_valid(const fdl_layer *layer, const fdl_part *part) {
    if (!fdl_has_weights(part))
        return layer->w_exp == 0;
    return layer->w_exp >= FDL_MIN_EXPONENT && layer->w_exp <= FDL_MAX_EXPONENT;
}

/* What is wrong with one layer alone, or its shape. */
static int check_layer(const fdl_layer *layer, fdl_part *part) {
    if (!kind_is_built(layer->kind))
        return FDL_E_ABSENT;
    if (!shape_is_valid(layer) || !counts_fit(layer))
        return FDL_E_LAYERS;
    fdl_shape_part(part, layer);
    if (!sums_fit(part))
        return FDL_E_LAYERS;
    if (!rows_are_built(part))
        return FDL_E_ABSENT;
    return exponent_is_valid(layer, part) ? FDL_OK : FDL_E_EXPONENT;
}

static void add_part(fdl_sizes *sizes, const fdl_part *part, int is_first) {
    int is_padded = part->stored != part->rows * part->row_len;
    sizes->weights += fdl_part_weights(part);
#if FDL_TALL > 1
    sizes->room += fdl_part_room(part);
#endif
    sizes->biases += part->bias_count;
    sizes->held += is_first && !is_padded ? 0 : part->stored;
    if (part->stored > sizes->widest)
        sizes->widest = part->stored;
    if (part->outputs > sizes->widest)
        sizes->widest = part->outputs;
    if (fdl_has_weights(part) && fdl_positions(part) > sizes->positions)
        sizes->positions = (uint32_t)fdl_positions(part);
    sizes->outputs = part->outputs;
}

static int measure(const fdl_layer *layers, size_t layer_count, fdl_sizes *sizes) {
    *sizes = (fdl_sizes){0};
    if (layers == NULL)
        return FDL_E_NULL;
    if (!is_between(layer_count, 1, FDL_MAX_LAYERS) || layers[layer_count - 1].relu)
        return FDL_E_LAYERS;
    for (size_t l = 0; l < layer_count; l++) {
        fdl_part part;
        int error = check_layer(&layers[l], &part);
        if (error)
            return error;
        if (l > 0 && part.rows * part.row_len != sizes->outputs)
            return FDL_E_LAYERS;
        add_part(sizes, &part, l == 0);
    }
    return is_between(fdl_bytes_packed(sizes), 1, MAX_PACKED_SIZE) ? FDL_OK : FDL_E_LAYERS;
}

int fdl_check_layers(const fdl_layer *layers, size_t layer_count) {
    fdl_sizes sizes;
    return measure(layers, layer_count, &sizes);
}

size_t fdl_weight_count(const fdl_layer *layers, size_t layer_count) {
    fdl_sizes sizes;
    return measure(layers, layer_count, &sizes) ? 0 : (size_t)sizes.weights;
}

size_t fdl_weight_room(const fdl_layer *layers, size_t layer_count) {
    fdl_sizes sizes;
    return measure(layers, layer_count, &sizes) ? 0 : (size_t)fdl_room(&sizes);
}

size_t fdl_bias_count(const fdl_layer *layers, size_t layer_count) {
    fdl_sizes sizes;
    return measure(layers, layer_count, &sizes) ? 0 : (size_t)sizes.biases;
}

size_t fdl_packed_size(const fdl_layer *layers, size_t layer_count) {
    fdl_sizes sizes;
    return measure(layers, layer_count, &sizes) ? 0 : (size_t)fdl_bytes_packed(&sizes);
}

size_t fdl_input_count(const fdl_layer *layer) {
    fdl_part part;
    if (layer == NULL || check_layer(layer, &part) != FDL_OK)
        return 0;
    return (size_t)part.rows * part.row_len;
}

size_t fdl_output_count(const fdl_layer *layer) {
    fdl_part part;
    if (layer == NULL || check_layer(layer, &part) != FDL_OK)
        return 0;
    return part.outputs;
}

/* Whether the loss allows so many outputs. */
static int outputs_fit(const fdl_net *net, size_t outputs) {
    switch (net->loss) {
    case FDL_SOFTMAX:
        return is_between(outputs, 2, FDL_MAX_CLASSES);
    case FDL_SIGMOID:
    case FDL_SQUARED:
        return 1;
    case FDL_RECONSTRUCTION:
        return outputs == fdl_net_inputs(net);
    default:
        return 0;
    }
}

static int loss_is_built(uint32_t loss) {
    if (loss == FDL_SIGMOID)
        return !FDL_WITHOUT_SIGMOID;
    return loss == FDL_SOFTMAX || !FDL_WITHOUT_VALUES;
}

int fdl_measure_net(const fdl_net *net, fdl_sizes *sizes) {
    if (net == NULL)
        return FDL_E_NULL;
    int error = measure(net->layers, net->layer_count, sizes);
    if (error)
        return error;
    if (net->weight_count != fdl_room(sizes) || net->bias_count != sizes->biases)
        return FDL_E_LENGTH;
    if (net->weights == NULL || net->biases == NULL)
        return FDL_E_NULL;
    if (!outputs_fit(net, sizes->outputs))
        return FDL_E_LAYERS;
    if (FDL_WITHOUT_ODD_ROWS && (uintptr_t)net->weights % 4 != 0)
        return FDL_E_ABSENT;
    return loss_is_built(net->loss) ? FDL_OK : FDL_E_ABSENT;
}

int fdl_check_net(const fdl_net *net) {
    fdl_sizes sizes;
    return fdl_measure_net(net, &sizes);
}
