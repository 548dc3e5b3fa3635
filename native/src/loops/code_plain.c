/* The inner loops of the codec in plain C: four values at a time, so that what a Hadamard
 * transform adds stays in registers for two of its levels. */
#include "code.h"
#include "../without.h"
#include "../numbers/fixed.h"

#if !FDL_WITHOUT_CODEC

void fdl_plain_words(uint32_t *to, size_t count, uint32_t first, uint32_t stream,
                     const uint32_t seed[2]) {
    for (size_t i = 0; i < count; i++)
        to[i] = fdl_word(first + (uint32_t)i, stream, seed);
}

/* rshift(), 0 <= shift <= 31. */
static inline int32_t shift_down(int32_t x, int32_t shift) {
    return shift == 0 ? x : fdl_shift_right(x, shift);
}

void fdl_plain_measure(fdl_measured *measured, const int32_t *values, size_t count, int32_t down) {
    uint64_t squares = measured->squares;
    uint32_t magnitude = measured->magnitude;
    for (size_t i = 0; i < count; i++) {
        int64_t x = shift_down(values[i], down);
        squares += (uint64_t)(x * x);
        magnitude |= fdl_magnitude(values[i]);
    }
    *measured = (fdl_measured){squares, magnitude};
}

void fdl_plain_gather(int32_t *block, size_t count, fdl_order order, const int32_t *values) {
    uint32_t at = order.at;
    for (size_t i = 0; i < count; i++) {
        block[i] = values[at];
        at = fdl_next_place(at, order);
    }
}

void fdl_plain_spread(int32_t *block, size_t count, const fdl_unit *unit) {
    int32_t down = unit->down, up = unit->up, factor = unit->factor;
    for (size_t i = 0; i < count; i++) {
        int64_t x = shift_down(block[i], down) * (1 << up);
        block[i] = (int32_t)((x * factor + 0x80000000) >> 32);
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

void fdl_plain_quantise(int32_t *block, size_t length, const fdl_scalar *by, fdl_sums *sums) {
    uint64_t squares = sums->squares;
    int64_t products = sums->products;
    uint32_t levels = by->levels;
    for (size_t i = 0; i < length; i++) {
        int32_t z = (int32_t)fdl_rotated_magnitude(block[i]);
        int32_t k = (int32_t)((((uint64_t)z + by->offset) * by->inverse) >> 32);
        uint32_t over = (uint32_t)k > levels ? (uint32_t)k - levels : 0;
        int32_t level = (int32_t)(by->level[(uint32_t)k - over] + over * by->step);
        squares += (uint64_t)((int64_t)z * z);
        products += (int64_t)z * fdl_min32(level, FDL_MOST_LEVEL);
        block[i] = block[i] < 0 ? -k : k;
    }
    *sums = (fdl_sums){squares, products};
}

/* sat32(rshift(product, shift)) of a product below 2^53. */
static inline int32_t gained(int64_t product, int32_t shift) {
    if (shift > 0)
        return fdl_sat32((product + ((int64_t)1 << (shift - 1))) >> shift);
    int64_t most = INT32_MAX >> -shift;
    if (product >= -most && product <= most)
        return (int32_t)product * (1 << -shift);
    return product < 0 ? INT32_MIN : INT32_MAX;
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
