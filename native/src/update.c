/* New weights and biases of a layer (NUMERICS section 5, number 4), row by row. */
#include "dot.h"
#include "internal.h"

/* Gradients are made for so many weights at a time: on the stack, and in the first-level cache. */
#define CHUNK 128

void fdl_update_row_one(int16_t *row, const int8_t *x, size_t in, int8_t d, int32_t shift) {
    if (shift >= 1 && shift <= 14)
        fdl_subtract_product(row, x, d, shift, in);
    else if (shift < 1)
        for (size_t i = 0; i < in; i++)
            row[i] = fdl_subtract(row[i], fdl_shift(d * x[i], shift, INT16_MIN, INT16_MAX));
}

static void subtract_gradient(int16_t *row, const int32_t *g, size_t count, int32_t shift) {
    for (size_t i = 0; i < count; i++)
        row[i] = fdl_subtract(row[i], fdl_shift(g[i], shift, INT16_MIN, INT16_MAX));
}

void fdl_update_row(int16_t *row, const int8_t *x, size_t in, const int8_t *d, size_t d_stride,
                    size_t n, int32_t shift) {
    int32_t g[CHUNK];
    for (size_t start = 0; start < in; start += CHUNK) {
        size_t count = in - start < CHUNK ? in - start : CHUNK;
        for (size_t i = 0; i < count; i++)
            g[i] = 0;
        for (size_t b = 0; b < n; b++)
            fdl_add_inputs(g, x + b * in + start, d[b * d_stride], count);
        subtract_gradient(row + start, g, count, shift);
    }
}

void fdl_update_weights(const fdl_part *part, const int8_t *x, const int8_t *d, size_t n,
                        int32_t shift) {
    for (size_t o = 0; o < part->out; o++) {
        int16_t *row = part->weights + o * part->in;
        if (n == 1)
            fdl_update_row_one(row, x, part->in, d[o], shift);
        else
            fdl_update_row(row, x, part->in, d + o, part->out, n, shift);
    }
}

void fdl_update_biases(const fdl_part *part, const int8_t *d, size_t n, int32_t shift) {
    for (size_t o = 0; o < part->out; o++) {
        int32_t sum = 0;
        for (size_t b = 0; b < n; b++)
            sum += d[b * part->out + o];
        int32_t change = fdl_shift(sum, shift, INT32_MIN, INT32_MAX);
        part->biases[o] = fdl_sat32((int64_t)part->biases[o] - change);
    }
}
