/* Depthwise convolutions: each channel has a kernel of its own, weights lie [place][channel], so
 * that a place of the kernel meets a pixel of the input, channel by channel. */
#include "layers.h"
#include "../numbers/fixed.h"

#include <string.h>

/* Where place k of the kernel lies in a window. */
static size_t place_of(const fdl_part *part, size_t k) {
    const fdl_layer *v = part->layer;
    return k / v->kernel_width * part->row_step + k % v->kernel_width * v->channels;
}

static const int16_t *weights_at(const fdl_part *part, size_t k) {
    return part->weights + k * part->row_weights;
}

/* to[c] += weight[c] * from[c] */
static void add_products(int32_t *restrict to, const int16_t *weights, const int8_t *from,
                         size_t channels) {
    for (size_t c = 0; c < channels; c++)
        to[c] += (weights[c] >> 8) * from[c];
}

void fdl_depthwise_forward(const fdl_run *run, const fdl_part *part, int32_t *acc) {
    uint32_t at[FDL_WINDOWS];
    size_t channels = part->row_weights, total = fdl_window_count(run, part), count;
    for (size_t first = 0; first < total; first += count) {
        count = fdl_find_windows(part, run->n, first, at);
        for (size_t m = 0; m < count; m++, acc += channels)
            for (size_t k = 0; k < part->weight_rows; k++)
                add_products(acc, weights_at(part, k), part->x + at[m] + place_of(part, k),
                             channels);
    }
}

void fdl_depthwise_backward(const fdl_run *run, const fdl_part *part, const int8_t *d,
                            int32_t *acc) {
    uint32_t at[FDL_WINDOWS];
    size_t channels = part->row_weights, total = fdl_window_count(run, part), count;
    for (size_t first = 0; first < total; first += count) {
        count = fdl_find_windows(part, run->n, first, at);
        for (size_t m = 0; m < count; m++, d += channels)
            for (size_t k = 0; k < part->weight_rows; k++)
                add_products(acc + at[m] + place_of(part, k), weights_at(part, k), d, channels);
    }
}

/* Of channels start to start + len, place k. */
static void sum_gradient(const fdl_run *run, const fdl_part *part, const int8_t *d, size_t k,
                         size_t start, size_t len, int32_t *g) {
    uint32_t at[FDL_WINDOWS];
    size_t channels = part->row_weights, total = fdl_window_count(run, part), count;
    memset(g, 0, len * sizeof *g);
    for (size_t first = 0; first < total; first += count) {
        count = fdl_find_windows(part, run->n, first, at);
        for (size_t m = 0; m < count; m++) {
            const int8_t *x = part->x + at[m] + place_of(part, k) + start;
            const int8_t *errors = d + (first + m) * channels + start;
            for (size_t c = 0; c < len; c++)
                g[c] += x[c] * errors[c];
        }
    }
}

void fdl_depthwise_each_gradient(const fdl_run *run, const fdl_part *part, const int8_t *d,
                                 fdl_use_gradient *use, void *context) {
    int32_t g[FDL_PIECE];
    for (size_t k = 0; k < part->weight_rows; k++)
        for (size_t start = 0; start < part->row_weights; start += FDL_PIECE) {
            size_t left = part->row_weights - start, len = left < FDL_PIECE ? left : FDL_PIECE;
            sum_gradient(run, part, d, k, start, len, g);
            fdl_slice slice = {k * part->row_weights + start, len, k, 1, start, len};
            use(context, &slice, g);
        }
}
