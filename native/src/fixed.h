/* Fixed-point words that everything here is made of: shifts that round, limits, bit lengths. */
#ifndef FDL_FIXED_H
#define FDL_FIXED_H

#include <stdint.h>

/* C11 leaves to the compiler three things that the arithmetic stands on; every target agrees. */
_Static_assert((-3 >> 1) == -2, "a right shift of a negative number must be arithmetic");
_Static_assert((int16_t)0xffff == -1, "narrowing must wrap around");
_Static_assert(sizeof(int) == 4, "an int must have 32 bits");

static inline int32_t fdl_min32(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static inline int32_t fdl_max32(int32_t a, int32_t b) {
    return a > b ? a : b;
}

static inline int32_t fdl_clamp32(int32_t x, int32_t low, int32_t high) {
    return fdl_min32(fdl_max32(x, low), high);
}

static inline int64_t fdl_clamp64(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

static inline int32_t fdl_sat16(int32_t x) {
    return fdl_clamp32(x, INT16_MIN, INT16_MAX);
}

static inline int32_t fdl_sat32(int64_t x) {
    return (int32_t)fdl_clamp64(x, INT32_MIN, INT32_MAX);
}

/* |x| of any int32, -2^31 too. */
static inline uint32_t fdl_magnitude(int32_t x) {
    return x < 0 ? 0u - (uint32_t)x : (uint32_t)x;
}

static inline int32_t fdl_bit_length(uint64_t x) {
    int32_t bits = 0;
    for (; x != 0; x >>= 1)
        bits++;
    return bits;
}

/* How far accumulators of this magnitude are shifted to fit in int8. */
static inline int32_t fdl_int8_shift(uint32_t magnitude) {
    return fdl_max32(0, fdl_bit_length(magnitude) - 7);
}

/* rshift() of NUMERICS section 1, then the limits. x and the limits fit in 32 bits, so that a
 * shift by 31 to the left of what is not zero is past any limit, and by 33 to the right gives 0. */
static inline int32_t fdl_shift(int64_t x, int32_t shift, int32_t low, int32_t high) {
    if (shift > 0) {
        int32_t s = fdl_min32(shift, 33);
        x = (x + ((int64_t)1 << (s - 1))) >> s;
    } else {
        x *= (int64_t)1 << fdl_min32(-shift, 31);
    }
    return (int32_t)fdl_clamp64(x, low, high);
}

#endif
