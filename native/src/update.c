/* New weights and biases of a layer (NUMERICS section 5, number 4), row by row. */
#include "dot.h"
#include "internal.h"

/* A gradient exists for so many weights at a time: on the stack, in the first-level cache. */
#define PIECE 128

void fdl_update_row_one(int16_t *row, const int8_t *x, size_t in, int8_t d, int32_t shift) {
    if (d == 0 || shift > 14) /* 127 * 127 < 2^14 rounds to 0 */
        return;
    if (shift >= 1)
        fdl_subtract_product(row, x, d, shift, in);
    else
        for (size_t i = 0; i < in; i++)
            row[i] =
                fdl_subtract(row[i], (int16_t)fdl_shift(x[i] * d, shift, INT16_MIN, INT16_MAX));
}

/* The next up to four examples from *b on whose error is not 0, from input `start` on. */
static size_t take_examples(fdl_four_inputs *four, const int8_t *x, size_t in, const int8_t *d,
                            size_t d_stride, size_t n, size_t *b) {
    size_t found = 0;
    for (; *b < n && found < 4; ++*b) {
        if (d[*b * d_stride] == 0)
            continue;
        four->row[found] = x + *b * in;
        four->factor[found++] = d[*b * d_stride];
    }
    for (size_t r = found; r < 4; r++) {
        four->row[r] = x;
        four->factor[r] = 0;
    }
    return found;
}

static void subtract_gradient(int16_t *row, const int32_t *g, size_t count, int32_t shift) {
    if (shift >= 1)
        fdl_subtract_gradient(row, g, fdl_min32(shift, 30), count);
    else
        for (size_t i = 0; i < count; i++)
            row[i] = fdl_subtract(row[i], (int16_t)fdl_shift(g[i], shift, INT16_MIN, INT16_MAX));
}

/* Whether any of n examples has an error at this output: often none has, behind a ReLU. */
static int row_changes(const int8_t *d, size_t d_stride, size_t n) {
    for (size_t b = 0; b < n; b++)
        if (d[b * d_stride] != 0)
            return 1;
    return 0;
}

void fdl_update_row(int16_t *row, const int8_t *x, size_t in, const int8_t *d, size_t d_stride,
                    size_t n, int32_t shift) {
    int32_t g[PIECE];
    fdl_four_inputs four;
    if (!row_changes(d, d_stride, n))
        return;
    for (size_t start = 0; start < in; start += PIECE) {
        size_t count = in - start < PIECE ? in - start : PIECE;
        for (size_t i = 0; i < count; i++)
            g[i] = 0;
        for (size_t b = 0; take_examples(&four, x + start, in, d, d_stride, n, &b) > 0;)
            fdl_add_inputs(g, &four, count);
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
