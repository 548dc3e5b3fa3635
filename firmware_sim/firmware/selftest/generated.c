#include "generated.h"

enum stream { WEIGHTS = 0, BIASES, PATTERNS, CLASSES, NOISE, VALUES };

/* lowbias32 (Wellons 2018): every bit of x decides over every bit of the result. */
static uint32_t mix(uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

static uint32_t draw(const generated *data, enum stream stream, uint32_t i) {
    return mix(mix(data->seed + stream) + i);
}

static int32_t draw_int8(const generated *data, enum stream stream, uint32_t i) {
    return (int32_t)(draw(data, stream, i) >> 24) - 128;
}

static int32_t draw_int16(const generated *data, enum stream stream, uint32_t i) {
    return (int32_t)(draw(data, stream, i) >> 16) - 32768;
}

static uint32_t class_of(const generated *data, uint32_t b) {
    return (draw(data, CLASSES, b) >> 16) % data->classes;
}

static size_t outputs_of(const generated *data) {
    return fdl_output_count(&data->net->layers[data->net->layer_count - 1]);
}

static uint8_t *put(uint8_t *to, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++)
        *to++ = (uint8_t)(value >> (8 * i));
    return to;
}

/* Counted by the library, to which a layer alone is the last one and may have no ReLU; pools, which
 * it refuses alone, have 0. */
static uint32_t weights_of(fdl_layer layer) {
    layer.relu = 0;
    return (uint32_t)fdl_weight_count(&layer, 1);
}

void generated_weights(const generated *data, uint8_t *packed) {
    uint32_t i = 0;
    for (size_t l = 0; l < data->net->layer_count; l++) {
        uint32_t values = 2 * (uint32_t)data->limits[l] + 1;
        uint32_t end = i + weights_of(data->net->layers[l]);
        for (; i < end; i++) {
            uint32_t drawn = (draw(data, WEIGHTS, i) >> 16) * values >> 16;
            packed = put(packed, drawn - (uint32_t)data->limits[l] + 128, 2);
        }
    }
    for (i = 0; i < data->net->bias_count; i++)
        packed = put(packed, (uint32_t)(draw_int16(data, BIASES, i) >> 3), 4);
}

void generated_inputs(const generated *data, uint32_t b, int8_t *x) {
    uint32_t inputs = (uint32_t)fdl_input_count(data->net->layers);
    uint32_t pattern = class_of(data, b) * inputs;
    for (uint32_t j = 0; j < inputs; j++) {
        int32_t noise = draw_int8(data, NOISE, b * inputs + j) >> 1;
        int32_t value = draw_int8(data, PATTERNS, pattern + j / data->run) + noise;
        x[j] = (int8_t)(value > 127 ? 127 : value < -127 ? -127 : value);
    }
}

size_t generated_target_count(const generated *data) {
    switch (data->net->loss) {
    case FDL_SOFTMAX:
        return 1;
    case FDL_RECONSTRUCTION:
        return 0;
    default:
        return outputs_of(data);
    }
}

size_t generated_target_size(const generated *data) {
    return data->net->loss == FDL_SQUARED ? sizeof(int16_t) : sizeof(uint8_t);
}

void generated_targets(const generated *data, uint32_t b, void *targets) {
    uint32_t class = class_of(data, b), count = (uint32_t)generated_target_count(data);
    uint8_t *bytes = targets;
    int16_t *values = targets;
    for (uint32_t k = 0; k < count; k++)
        if (data->net->loss == FDL_SQUARED)
            values[k] = (int16_t)(draw_int16(data, VALUES, class * count + k) >> 3);
        else if (data->net->loss == FDL_SIGMOID)
            bytes[k] = class >> k & 1;
        else
            bytes[k] = (uint8_t)class;
}
