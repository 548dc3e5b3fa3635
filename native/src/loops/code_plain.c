/* The inner loops of the codec in plain C: four values at a time, so that what a Hadamard
 * transform adds stays in registers for two of its levels. */
#include "code_loops.h"
#include "../without.h"

#if !FDL_WITHOUT_CODEC

void fdl_plain_words(uint32_t *to, size_t count, uint32_t first, uint32_t stream,
                     const uint32_t seed[2]) {
    loop_words(to, count, first, stream, seed);
}

void fdl_plain_measure(fdl_measured *measured, const int32_t *values, size_t count, int32_t down) {
    loop_measure(measured, values, count, down);
}

void fdl_plain_spread(int32_t *block, size_t count, const fdl_unit *unit) {
    loop_spread(block, count, unit);
}

void fdl_plain_quantise(int32_t *block, size_t length, const fdl_scalar *by, fdl_sums *sums) {
    loop_quantise(block, length, by, sums);
}

void fdl_plain_gather(int32_t *block, size_t count, fdl_order order, const int32_t *values) {
    uint32_t at = order.at;
    for (size_t i = 0; i < count; i++) {
        block[i] = values[at];
        at = fdl_next_place(at, order);
    }
}

/* Four sums and differences, in place; a macro: a function would reach the values by pointers. */
#define HADAMARD_FOUR(a, b, c, d)                                                                  \
    do {                                                                                           \
        int32_t s = (a) + (b), t = (a) - (b), u = (c) + (d), w = (c) - (d);                        \
        (a) = s + u;                                                                               \
        (b) = t + w;                                                                               \
        (c) = s - u;                                                                               \
        (d) = t - w;                                                                               \
    } while (0)

/* x or, where bit i of the word is set, -x. */
static inline int32_t negated(int32_t x, uint32_t word, int32_t i) {
    int32_t sign = (int32_t)(word << (31 - i)) >> 31;
    return (x ^ sign) - sign;
}

static void negate(int32_t *v, size_t length, const uint32_t *signs) {
    for (const int32_t *end = v + length; v != end; signs++)
        for (uint32_t word = *signs, i = 0; i < 32 && v != end; i += 4, word >>= 4, v += 4) {
            v[0] = negated(v[0], word, 0);
            v[1] = negated(v[1], word, 1);
            v[2] = negated(v[2], word, 2);
            v[3] = negated(v[3], word, 3);
        }
}

/* Two levels: values that are `h` apart. */
static void two_levels(int32_t *v, size_t length, size_t h) {
    for (size_t j = 0; j < h; j++)
        for (int32_t *p = v + j, *end = v + length; p < end; p += 4 * h) {
            int32_t a = p[0], b = p[h], c = p[2 * h], d = p[3 * h];
            HADAMARD_FOUR(a, b, c, d);
            p[0] = a;
            p[h] = b;
            p[2 * h] = c;
            p[3 * h] = d;
        }
}

/* The last one. */
static void one_level(int32_t *v, size_t h) {
    for (int32_t *p = v, *end = v + h; p != end; p++) {
        int32_t a = p[0], b = p[h];
        p[0] = a + b;
        p[h] = a - b;
    }
}

static void hadamard(int32_t *v, size_t length, int32_t shift) {
    size_t h = 1;
    for (; 4 * h <= length; h *= 4)
        two_levels(v, length, h);
    if (h < length)
        one_level(v, h);
    int32_t half = 1 << (shift - 1);
    for (size_t i = 0; i < length; i++)
        v[i] = (v[i] + half) >> shift;
}

void fdl_plain_rotate(int32_t *block, size_t length, const uint32_t *signs, int32_t shift) {
    negate(block, length, signs);
    hadamard(block, length, shift);
}

void fdl_plain_rotate_back(int32_t *block, size_t length, const uint32_t *signs, int32_t shift) {
    hadamard(block, length, shift);
    negate(block, length, signs);
}

void fdl_plain_scatter(int32_t *estimate, fdl_order order, const int32_t *block, size_t count,
                       fdl_gain gain) {
    uint32_t at = order.at;
    for (size_t i = 0; i < count; i++) {
        estimate[at] = gained((int64_t)block[i] * gain.mantissa, gain.shift);
        at = fdl_next_place(at, order);
    }
}

#endif
