/* What is a model, and how large it is. */
#include "internal.h"

/* Packed models are limited so that a size_t of 32 bits holds every size computed from one. */
#define MAX_PACKED_SIZE INT32_MAX

static int width_is_valid(uint32_t width) {
    return width >= 1 && width <= FDL_MAX_WIDTH;
}

static int check_layer(const fdl_layer *layer, int is_last) {
    if (!width_is_valid(layer->in) || !width_is_valid(layer->out))
        return FDL_E_LAYERS;
    if (layer->relu > 1 || (is_last && layer->relu))
        return FDL_E_LAYERS;
    if (is_last && (layer->out < 2 || layer->out > FDL_MAX_CLASSES))
        return FDL_E_LAYERS;
    if (layer->w_exp < FDL_MIN_EXPONENT || layer->w_exp > FDL_MAX_EXPONENT)
        return FDL_E_EXPONENT;
    return FDL_OK;
}

int fdl_check_layers(const fdl_layer *layers, size_t layer_count) {
    uint64_t size = 0;
    if (layers == NULL)
        return FDL_E_NULL;
    if (layer_count < 1 || layer_count > FDL_MAX_LAYERS)
        return FDL_E_LAYERS;
    for (size_t l = 0; l < layer_count; l++) {
        int error = check_layer(&layers[l], l + 1 == layer_count);
        if (error)
            return error;
        if (l > 0 && layers[l].in != layers[l - 1].out)
            return FDL_E_LAYERS;
        size += 2 * (uint64_t)layers[l].in * layers[l].out + 4 * (uint64_t)layers[l].out;
    }
    return size > MAX_PACKED_SIZE ? FDL_E_LAYERS : FDL_OK;
}

size_t fdl_weight_count(const fdl_layer *layers, size_t layer_count) {
    size_t count = 0;
    if (fdl_check_layers(layers, layer_count) != FDL_OK)
        return 0;
    for (size_t l = 0; l < layer_count; l++)
        count += (size_t)layers[l].in * layers[l].out;
    return count;
}

size_t fdl_bias_count(const fdl_layer *layers, size_t layer_count) {
    size_t count = 0;
    if (fdl_check_layers(layers, layer_count) != FDL_OK)
        return 0;
    for (size_t l = 0; l < layer_count; l++)
        count += layers[l].out;
    return count;
}

size_t fdl_packed_size(const fdl_layer *layers, size_t layer_count) {
    return 2 * fdl_weight_count(layers, layer_count) + 4 * fdl_bias_count(layers, layer_count);
}

int fdl_check_net(const fdl_net *net) {
    if (net == NULL)
        return FDL_E_NULL;
    int error = fdl_check_layers(net->layers, net->layer_count);
    if (error)
        return error;
    if (net->weight_count != fdl_weight_count(net->layers, net->layer_count) ||
        net->bias_count != fdl_bias_count(net->layers, net->layer_count))
        return FDL_E_LENGTH;
    return net->weights == NULL || net->biases == NULL ? FDL_E_NULL : FDL_OK;
}

void fdl_split_net(const fdl_net *net, fdl_part parts[FDL_MAX_LAYERS]) {
    int16_t *weights = net->weights;
    int32_t *biases = net->biases;
    for (size_t l = 0; l < net->layer_count; l++) {
        const fdl_layer *layer = &net->layers[l];
        parts[l] = (fdl_part){layer->in, layer->out, layer->w_exp, layer->relu, weights, biases};
        weights += parts[l].in * parts[l].out;
        biases += parts[l].out;
    }
}

size_t fdl_widest(const fdl_net *net) {
    size_t widest = 0;
    for (size_t l = 0; l < net->layer_count; l++)
        if (net->layers[l].out > widest)
            widest = net->layers[l].out;
    return widest;
}
