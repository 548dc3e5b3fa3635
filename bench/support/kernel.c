/* The kernel as a program in C calls it. */
#include "fedling.h"
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#define FIELDS 15 /* Layer.to_ints() and w_exp */

static fdl_layer read_layer(const int32_t *f) {
    return (fdl_layer){.kind = (uint8_t)f[0],
                       .height = (uint16_t)f[1],
                       .width = (uint16_t)f[2],
                       .channels = (uint16_t)f[3],
                       .out = (uint16_t)f[4],
                       .relu = (uint8_t)f[5],
                       .kernel_height = (uint8_t)f[6],
                       .kernel_width = (uint8_t)f[7],
                       .stride_height = (uint8_t)f[8],
                       .stride_width = (uint8_t)f[9],
                       .pad_top = (uint8_t)f[10],
                       .pad_bottom = (uint8_t)f[11],
                       .pad_left = (uint8_t)f[12],
                       .pad_right = (uint8_t)f[13],
                       .w_exp = (int8_t)f[14]};
}

/* Once through the examples, in full batches; CPU seconds of the steps, or an fdl_error. */
static double steps(fdl_net *net, void *arena, size_t arena_len, const int8_t *x, const uint8_t *y,
                    size_t examples, size_t batch, const fdl_sgd *sgd) {
    size_t inputs = fdl_input_count(net->layers);
    double start = now();
    for (size_t e = 0; e + batch <= examples; e += batch) {
        fdl_batch b = {x + e * inputs, batch * inputs, FDL_INPUT_EXP, y + e, batch, batch};
        int error = fdl_step(net, arena, arena_len, &b, sgd);
        if (error != FDL_OK)
            return error;
    }
    return now() - start;
}

/* A net of softmax trained from packed weights on x [examples][inputs], classes y [examples], once.
 * CPU seconds of the steps, or an fdl_error; `checksum` of the weights afterwards. */
double train_epoch(const int32_t (*fields)[FIELDS], size_t layer_count, const uint8_t *packed,
                   const int8_t *x, const uint8_t *y, size_t examples, size_t batch,
                   uint32_t lr_q24, uint32_t *checksum) {
    fdl_layer layers[FDL_MAX_LAYERS];
    for (size_t i = 0; i < layer_count; i++)
        layers[i] = read_layer(fields[i]);
    fdl_net net = {.layers = layers, .layer_count = layer_count, .loss = FDL_SOFTMAX};
    net.weight_count = fdl_weight_room(layers, layer_count);
    net.bias_count = fdl_bias_count(layers, layer_count);
    net.weights = aligned_alloc(64, (net.weight_count * sizeof(int16_t) + 63) / 64 * 64);
    net.biases = calloc(net.bias_count, sizeof(int32_t));
    size_t arena_len = fdl_step_arena_size(&net, batch);
    void *arena = malloc(arena_len);
    fdl_sgd sgd = {.lr_q24 = lr_q24};
    double seconds = fdl_unpack_weights(&net, packed, fdl_packed_size(layers, layer_count));
    if (seconds == FDL_OK)
        seconds = steps(&net, arena, arena_len, x, y, examples, batch, &sgd);
    if (seconds >= 0)
        fdl_checksum(&net, checksum);
    free(arena);
    free(net.biases);
    free(net.weights);
    return seconds;
}
