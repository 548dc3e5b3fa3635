/* Loops of the codec that compilers turn into vectors by themselves: plain C, compiled for each
 * processor that has a table. */
#ifndef FDL_CODE_LOOPS_H
#define FDL_CODE_LOOPS_H

#include "code.h"
#include "isa.h"

static INLINE void loop_words(uint32_t *to, size_t count, uint32_t first, uint32_t stream,
                              const uint32_t seed[2]) {
    uint32_t low = seed[0], high = seed[1] ^ stream << 28;
    for (uint32_t i = 0; i < count; i++)
        to[i] = fdl_mix(fdl_mix((first + i) ^ low) ^ high);
}

static INLINE void loop_measure(fdl_measured *measured, const int32_t *values, size_t count,
                                int32_t down) {
    uint64_t squares = measured->squares;
    uint32_t magnitude = measured->magnitude;
    if (down == 0)
#pragma GCC unroll 4
        for (size_t i = 0; i < count; i++) {
            squares += (uint64_t)((int64_t)values[i] * values[i]);
            magnitude |= fdl_magnitude(values[i]);
        }
    else
        for (size_t i = 0; i < count; i++) {
            int32_t x = (values[i] >> down) + (values[i] >> (down - 1) & 1);
            squares += (uint64_t)((int64_t)x * x);
            magnitude |= fdl_magnitude(values[i]);
        }
    *measured = (fdl_measured){squares, magnitude};
}

/* One instruction on Cortex-M4, which compilers do not find. */
static INLINE int32_t high_word(int32_t x, int32_t factor) {
#if FDL_DSP
    int32_t high;
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(x), "r"(factor));
    return high;
#else
    return (int32_t)(((int64_t)x * factor + 0x80000000) >> 32);
#endif
}

static INLINE uint64_t loop_spread(int32_t *block, size_t count, const fdl_unit *unit) {
    int32_t down = unit->down, up = unit->up, factor = unit->factor;
    int64_t squares = 0;
    if (down > 0)
        for (size_t i = 0; i < count; i++)
            block[i] = (block[i] >> down) + (block[i] >> (down - 1) & 1);
#pragma GCC unroll 4
    for (size_t i = 0; i < count; i++) {
        int32_t y = high_word((int32_t)((uint32_t)block[i] << up), factor);
        squares += (int64_t)y * y;
        block[i] = y;
    }
    return (uint64_t)squares;
}

static INLINE void loop_quantise(int32_t *block, size_t length, const fdl_scalar *by,
                                 fdl_sums *sums) {
    uint64_t squares = 0, products = 0;
    uint32_t levels = by->levels, step = by->step, offset = by->offset, inverse = by->inverse;
    const uint32_t *level = by->level;
    for (size_t i = 0; i < length; i++) {
        uint32_t z = fdl_magnitude(block[i]);
        uint32_t k = (uint32_t)((uint64_t)(z + offset) * inverse >> 32);
        uint32_t known = k < levels ? k : levels, w = level[known] + (k - known) * step;
        w = w < FDL_MOST_LEVEL ? w : FDL_MOST_LEVEL;
        squares += (uint64_t)z * z;
        products += (uint64_t)z * w;
        block[i] = block[i] < 0 ? -(int32_t)k : (int32_t)k;
    }
    sums->squares += squares;
    sums->products += (int64_t)products;
}

/* sat32(rshift(product, shift)) of a product below 2^53. */
static INLINE int32_t gained(int64_t product, int32_t shift) {
    if (shift > 0)
        return fdl_sat32((product + ((int64_t)1 << (shift - 1))) >> shift);
    int64_t most = INT32_MAX >> -shift;
    if (product >= -most && product <= most)
        return (int32_t)product * (1 << -shift);
    return product < 0 ? INT32_MIN : INT32_MAX;
}

/* A gain as a shift to the left and a factor of 31 bits, of which the high word of the product is
 * what is wanted: if `up` leaves a value room in 32 bits. */
static INLINE int32_t is_high_word(const int32_t *block, size_t count, fdl_gain gain, int32_t *up,
                                   int32_t *factor) {
    int32_t magnitude = 0, of_factor = fdl_min32(5, 32 - gain.shift);
    for (size_t i = 0; i < count; i++)
        magnitude |= block[i] ^ block[i] >> 31;
    if (of_factor < 0 || gain.shift <= 0)
        return 0;
    *up = 32 - gain.shift - of_factor;
    *factor = gain.mantissa << of_factor;
    return magnitude <= INT32_MAX >> *up;
}

static INLINE void loop_gain(int32_t *to, const int32_t *block, size_t count, fdl_gain gain) {
    int32_t up, factor;
    if (is_high_word(block, count, gain, &up, &factor))
        for (size_t i = 0; i < count; i++)
            to[i] = high_word(block[i] * (1 << up), factor);
    else
        for (size_t i = 0; i < count; i++)
            to[i] = gained((int64_t)block[i] * gain.mantissa, gain.shift);
}

#endif
