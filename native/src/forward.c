/* The forward pass of a dense layer (NUMERICS section 3). */
#include "dot.h"
#include "internal.h"

/* With the largest sum of products, 65535 * 127 * 128 < 2^30, an accumulator stays in 32 bits. */
#define BIAS_LIMIT ((1 << 30) - 1)

/* Up to four outputs of all examples: their weights stay in the first-level cache. Where there are
 * fewer, the last one is computed again and dropped. */
static void forward_rows(const fdl_part *part, size_t o, size_t rows, const int8_t *x, size_t n,
                         int32_t e, int32_t *acc) {
    const int16_t *row[4];
    int32_t bias[4];
    for (size_t r = 0; r < 4; r++) {
        size_t output = o + (r < rows ? r : rows - 1);
        row[r] = part->weights + output * part->in;
        bias[r] = fdl_shift(part->biases[output], e + 16, -BIAS_LIMIT, BIAS_LIMIT);
    }
    for (size_t b = 0; b < n; b++) {
        int32_t sum[4] = {bias[0], bias[1], bias[2], bias[3]};
        fdl_dot4(sum, row, x + b * part->in, part->in);
        for (size_t r = 0; r < rows; r++)
            acc[b * part->out + o + r] = part->relu ? fdl_max32(sum[r], 0) : sum[r];
    }
}

void fdl_forward(const fdl_part *part, const int8_t *x, size_t n, int32_t e, int32_t *acc) {
    for (size_t o = 0; o < part->out; o += 4) {
        size_t left = part->out - o;
        forward_rows(part, o, left < 4 ? left : 4, x, n, e, acc);
    }
}
