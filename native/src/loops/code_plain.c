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

uint64_t fdl_plain_spread(int32_t *block, size_t count, const fdl_unit *unit) {
    return loop_spread(block, count, unit);
}

FDL_NOINLINE static uint32_t level_beyond(const fdl_scalar *by, uint32_t k) {
    uint32_t level = by->level[by->levels] + (k - by->levels) * by->step;
    return level < FDL_MOST_LEVEL ? level : FDL_MOST_LEVEL;
}

static INLINE uint64_t sum_squares(const int32_t *block, size_t length) {
    int64_t squares = 0;
#pragma GCC unroll 4
    for (size_t i = 0; i < length; i++)
        squares += (int64_t)block[i] * block[i];
    return (uint64_t)squares;
}

/* Few values are beyond the levels: a jump, not a choice. */
void fdl_plain_quantise(int32_t *block, size_t length, const fdl_scalar *by, fdl_sums *sums) {
    uint32_t levels = by->levels, offset = by->offset, inverse = by->inverse;
    const uint32_t *level = by->level;
    int64_t products = 0;
    sums->squares += sum_squares(block, length);
    for (int32_t *at = block, *end = block + length; at != end; at++) {
        uint32_t z = fdl_magnitude(*at), k = (uint32_t)((uint64_t)(z + offset) * inverse >> 32);
        uint32_t w = k <= levels ? level[k] : level_beyond(by, k);
        products += (int64_t)(int32_t)z * (int32_t)w;
        int32_t sign = *at >> 31;
        *at = ((int32_t)k ^ sign) - sign;
    }
    sums->products += products;
}

void fdl_plain_gather(int32_t *block, size_t count, fdl_order order, const int32_t *values) {
    uint32_t at = order.at;
#pragma GCC unroll 4
    for (size_t i = 0; i < count; i++) {
        block[i] = values[at];
        at = fdl_next_place(at, order);
    }
}

/* x or, where bit i of the word is set, -x. */
static INLINE int32_t negated(int32_t x, uint32_t word, int32_t i) {
    int32_t sign = (int32_t)(word << (31 - i)) >> 31;
    return (x ^ sign) - sign;
}

/* A sum and a difference, in place. A macro: a function would reach the values by pointers, and
 * where a compiler does not inline it, they would lie in memory. */
#define LEVEL(a, b)                                                                                \
    do {                                                                                           \
        int32_t difference = (a) - (b);                                                            \
        (a) += (b);                                                                                \
        (b) = difference;                                                                          \
    } while (0)

/* Two levels of four values that are `h` apart, then a shift. */
static INLINE void four_values(int32_t *p, size_t h, int32_t shift) {
    int32_t a = p[0], b = p[h], c = p[2 * h], d = p[3 * h];
    LEVEL(a, b);
    LEVEL(c, d);
    LEVEL(a, c);
    LEVEL(b, d);
    p[0] = a >> shift;
    p[h] = b >> shift;
    p[2 * h] = c >> shift;
    p[3 * h] = d >> shift;
}

/* Three levels of eight. Signs are those of bits: before the levels, or after the shift. */
static INLINE void eight_values(int32_t *p, size_t h, uint32_t before, uint32_t after,
                                int32_t shift) {
    int32_t a = negated(p[0], before, 0), b = negated(p[h], before, 1);
    int32_t c = negated(p[2 * h], before, 2), d = negated(p[3 * h], before, 3);
    int32_t e = negated(p[4 * h], before, 4), f = negated(p[5 * h], before, 5);
    int32_t g = negated(p[6 * h], before, 6), k = negated(p[7 * h], before, 7);
    LEVEL(a, b);
    LEVEL(c, d);
    LEVEL(e, f);
    LEVEL(g, k);
    LEVEL(a, c);
    LEVEL(b, d);
    LEVEL(e, g);
    LEVEL(f, k);
    LEVEL(a, e);
    LEVEL(b, f);
    LEVEL(c, g);
    LEVEL(d, k);
    p[0] = negated(a >> shift, after, 0);
    p[h] = negated(b >> shift, after, 1);
    p[2 * h] = negated(c >> shift, after, 2);
    p[3 * h] = negated(d >> shift, after, 3);
    p[4 * h] = negated(e >> shift, after, 4);
    p[5 * h] = negated(f >> shift, after, 5);
    p[6 * h] = negated(g >> shift, after, 6);
    p[7 * h] = negated(k >> shift, after, 7);
}

/* All values of a whole block; the compiler knows `h` and the shift. */
static INLINE void pass_of_four(int32_t *v, size_t h, int32_t shift) {
    for (int32_t *start = v; start != v + FDL_BLOCK; start += 4 * h)
        for (int32_t *p = start; p != start + h; p++)
            four_values(p, h, shift);
}

static INLINE void pass_of_eight(int32_t *v, size_t h) {
    for (int32_t *start = v; start != v + FDL_BLOCK; start += 8 * h)
        for (int32_t *p = start; p != start + h; p++)
            eight_values(p, h, 0, 0, 0);
}

#define WHOLE_SHIFT 5

/* What rounds all results: the first value is a part of each with the sign plus. */
static INLINE int32_t half_of(int32_t shift) {
    return 1 << (shift - 1);
}

static void rotate_whole(int32_t *v, const uint32_t *signs) {
    v[0] += negated(half_of(WHOLE_SHIFT), signs[0], 0);
    for (int32_t *p = v; p != v + FDL_BLOCK; signs++)
        for (uint32_t word = *signs, i = 0; i < 4; i++, word >>= 8, p += 8)
            eight_values(p, 1, word, 0, 0);
    pass_of_eight(v, 8);
    pass_of_four(v, 64, 0);
    pass_of_four(v, 256, WHOLE_SHIFT);
}

static void rotate_whole_back(int32_t *v, const uint32_t *signs) {
    v[0] += half_of(WHOLE_SHIFT);
    pass_of_four(v, 256, 0);
    pass_of_four(v, 64, 0);
    pass_of_eight(v, 8);
    for (int32_t *p = v; p != v + FDL_BLOCK; signs++)
        for (uint32_t word = *signs, i = 0; i < 4; i++, word >>= 8, p += 8)
            eight_values(p, 1, 0, word, WHOLE_SHIFT);
}

/* ---- Of blocks of any length, which are few ---- */

static void negate(int32_t *v, size_t length, const uint32_t *signs) {
    for (size_t i = 0; i < length; i++)
        v[i] = negated(v[i], signs[i / 32] >> i % 32, 0);
}

static void hadamard(int32_t *v, size_t length, int32_t shift) {
    v[0] += half_of(shift);
    for (size_t h = 1; h < length; h *= 2)
        for (size_t start = 0; start < length; start += 2 * h)
            for (int32_t *p = v + start; p != v + start + h; p++)
                LEVEL(p[0], p[h]);
    for (size_t i = 0; i < length; i++)
        v[i] >>= shift;
}

void fdl_plain_rotate(int32_t *block, size_t length, const uint32_t *signs, int32_t shift) {
    if (length == FDL_BLOCK && shift == WHOLE_SHIFT) {
        rotate_whole(block, signs);
        return;
    }
    negate(block, length, signs);
    hadamard(block, length, shift);
}

void fdl_plain_rotate_back(int32_t *block, size_t length, const uint32_t *signs, int32_t shift) {
    if (length == FDL_BLOCK && shift == WHOLE_SHIFT) {
        rotate_whole_back(block, signs);
        return;
    }
    hadamard(block, length, shift);
    negate(block, length, signs);
}

void fdl_plain_scatter(int32_t *estimate, fdl_order order, const int32_t *block, size_t count,
                       fdl_gain gain) {
    int32_t up, factor, fits = is_high_word(block, count, gain, &up, &factor);
    uint32_t at = order.at;
    if (fits)
        for (size_t i = 0; i < count; i++) {
            estimate[at] = high_word(block[i] * (1 << up), factor);
            at = fdl_next_place(at, order);
        }
    else
        for (size_t i = 0; i < count; i++) {
            estimate[at] = gained((int64_t)block[i] * gain.mantissa, gain.shift);
            at = fdl_next_place(at, order);
        }
}

#endif
