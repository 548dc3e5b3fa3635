/* Prediction: one example at a time, so that an answer never depends on its neighbours. */
#include "step.h"

#include <string.h>

static size_t arena_size(const fdl_net *net, const fdl_sizes *sizes) {
    return fdl_round_up(net->layer_count * sizeof(fdl_part)) +
           fdl_round_up(sizes->widest * sizeof(int32_t)) + fdl_round_up(sizes->widest);
}

size_t fdl_predict_arena_size(const fdl_net *net) {
    fdl_sizes sizes;
    return fdl_measure_net(net, &sizes) == FDL_OK ? arena_size(net, &sizes) : 0;
}

static int check_call(const fdl_net *net, fdl_sizes *sizes, const void *arena, size_t arena_len,
                      const int8_t *x, size_t x_len, int32_t x_exp, size_t outputs_len) {
    int error = fdl_measure_net(net, sizes);
    if (!error)
        error = fdl_check_arena(arena, arena_len, arena_size(net, sizes));
    if (!error)
        error = fdl_check_inputs(net, x, x_len, x_exp, 1);
    if (!error && outputs_len != sizes->outputs)
        error = FDL_E_LENGTH;
    return error;
}

/* The last layer's accumulators, copied to z; returns their exponent. */
static int32_t run_layers(const fdl_net *net, void *arena, size_t widest, const int8_t *x,
                          int32_t x_exp, int32_t *z) {
    fdl_run run = {.kernels = fdl_kernels_here(), .n = 1};
    uint8_t *rest = arena;
    fdl_part *parts = fdl_take(&rest, net->layer_count * sizeof *parts);
    int32_t *acc = fdl_take(&rest, widest * sizeof *acc);
    int8_t *stored = fdl_take(&rest, widest);
    fdl_split_net(net, parts);
    fdl_store_inputs(&parts[0], x, 1, stored);
    parts[0].x_exp = x_exp;
    for (size_t l = 0;; l++) {
        parts[l].x = stored;
        int32_t e = fdl_forward(&run, &parts[l], acc);
        if (l + 1 == net->layer_count) {
            memcpy(z, acc, parts[l].outputs * sizeof *z);
            return e;
        }
        parts[l + 1].x_exp = e + fdl_requantise(&run, &parts[l], acc, &parts[l + 1], stored);
    }
}

int fdl_logits(const fdl_net *net, void *arena, size_t arena_len, const int8_t *x, size_t x_len,
               int32_t x_exp, int32_t *logits, size_t logits_len, int32_t *exponent) {
    fdl_sizes sizes;
    int error = check_call(net, &sizes, arena, arena_len, x, x_len, x_exp, logits_len);
    if (error)
        return error;
    if (logits == NULL || exponent == NULL)
        return FDL_E_NULL;
    *exponent = run_layers(net, arena, sizes.widest, x, x_exp, logits);
    return FDL_OK;
}

int fdl_predict(const fdl_net *net, void *arena, size_t arena_len, const int8_t *x, size_t x_len,
                int32_t x_exp, int32_t *outputs, size_t outputs_len, uint32_t *label) {
    int32_t z_exp;
    if (label == NULL)
        return FDL_E_NULL;
    int error = fdl_logits(net, arena, arena_len, x, x_len, x_exp, outputs, outputs_len, &z_exp);
    if (error)
        return error;
    uint32_t best = 0;
    for (uint32_t j = 1; j < outputs_len; j++)
        if (outputs[j] > outputs[best])
            best = j;
    *label = best;
    fdl_outputs(net->loss, outputs, outputs_len, z_exp);
    return FDL_OK;
}
