/* One layer of any kind, forwards and backwards. */
#include "layers.h"
#include "../numbers/fixed.h"

#include <string.h>

int32_t fdl_forward(const fdl_run *run, const fdl_part *part, int32_t *acc) {
    int32_t e = part->x_exp + part->layer->w_exp;
    if (fdl_has_weights(part))
        fdl_fill_biases(run, part, e, acc);
    switch (part->layer->kind) {
#if !FDL_WITHOUT_DEPTHWISE
    case FDL_DEPTHWISE:
        fdl_depthwise_forward(run, part, acc);
        break;
#endif
#if !FDL_WITHOUT_POOLS
    case FDL_MAX_POOL:
        fdl_max_pool_forward(run, part, acc);
        break;
    case FDL_AVERAGE_POOL:
        e += fdl_average_pool_forward(run, part, acc);
        break;
#endif
    default:
        fdl_conv_forward(run, part, acc);
        break;
    }
    return e;
}

int32_t fdl_requantise(const fdl_run *run, const fdl_part *part, const int32_t *acc,
                       const fdl_part *next, int8_t *q) {
    size_t count = fdl_examples(run) * part->outputs;
    uint32_t relu = part->layer->relu;
    int32_t shift = fdl_int8_shift(run->kernels->magnitude(acc, count, relu));
    int32_t low = relu ? 0 : -127;
    if (!fdl_is_padded(next)) {
        run->kernels->narrow(acc, count, shift, low, q);
        return shift;
    }
    memset(q, 0, run->n * next->stored);
    for (size_t b = 0; b < run->n; b++, q += next->stored)
        for (size_t y = 0; y < next->rows; y++, acc += next->row_len)
            run->kernels->narrow(acc, next->row_len, shift, low,
                                 q + next->origin + y * next->row_step);
    return shift;
}

int32_t fdl_backward(const fdl_run *run, const fdl_part *part, const int8_t *d, int32_t *acc) {
#if !FDL_WITHOUT_POOLS
    if (part->layer->kind == FDL_AVERAGE_POOL)
        return fdl_average_pool_backward(run, part, d, acc);
#endif
    memset(acc, 0, fdl_examples(run) * part->stored * sizeof *acc);
    switch (part->layer->kind) {
#if !FDL_WITHOUT_DEPTHWISE
    case FDL_DEPTHWISE:
        fdl_depthwise_backward(run, part, d, acc);
        break;
#endif
#if !FDL_WITHOUT_POOLS
    case FDL_MAX_POOL:
        fdl_max_pool_backward(run, part, d, acc);
        break;
#endif
    default:
        fdl_conv_backward(run, part, d, acc);
        break;
    }
    return part->layer->w_exp;
}

#if FDL_HAS_GRADIENT
void fdl_each_gradient(const fdl_run *run, const fdl_part *part, const int8_t *d,
                       fdl_use_gradient *use, void *context) {
#if !FDL_WITHOUT_DEPTHWISE
    if (part->layer->kind == FDL_DEPTHWISE) {
        fdl_depthwise_each_gradient(run, part, d, use, context);
        return;
    }
#endif
    fdl_conv_each_gradient(run, part, d, use, context);
}
#endif
