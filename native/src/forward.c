/* The forward pass of a dense layer (NUMERICS section 3). */
#include "dot.h"
#include "internal.h"

/* With the largest sum of products, 65535 * 127 * 128 < 2^30, an accumulator stays in 32 bits. */
#define BIAS_LIMIT ((1 << 30) - 1)

static int32_t starting_value(int32_t bias, int32_t e) {
    return fdl_shift(bias, e + 16, -BIAS_LIMIT, BIAS_LIMIT);
}

/* Four outputs at a time share the reading of x; their rows stay in the cache for all examples. */
static void forward_rows(const fdl_part *part, size_t o, size_t rows, const int8_t *x, size_t n,
                         int32_t e, int32_t *acc) {
    const int16_t *weights = part->weights + o * part->in;
    for (size_t b = 0; b < n; b++, x += part->in) {
        int32_t *sum = acc + b * part->out + o;
        for (size_t r = 0; r < rows; r++)
            sum[r] = starting_value(part->biases[o + r], e);
        if (rows == 4)
            fdl_dot4(sum, weights, x, part->in);
        else
            for (size_t r = 0; r < rows; r++)
                sum[r] += fdl_dot1(weights + r * part->in, x, part->in);
    }
}

void fdl_forward(const fdl_part *part, const int8_t *x, size_t n, int32_t e, int32_t *acc) {
    for (size_t o = 0; o < part->out; o += 4) {
        size_t left = part->out - o;
        forward_rows(part, o, left < 4 ? left : 4, x, n, e, acc);
    }
    if (part->relu)
        for (size_t j = 0; j < n * part->out; j++)
            acc[j] = fdl_max32(acc[j], 0);
}
