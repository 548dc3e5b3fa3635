/* Fixed-point words that everything here is made of: shifts that round, limits, bit lengths. */
#ifndef FDL_FIXED_H
#define FDL_FIXED_H

#include <stddef.h>
#include <stdint.h>

#ifdef __GNUC__
#define FDL_NOINLINE __attribute__((noinline))
#else
#define FDL_NOINLINE
#endif

/* A constant that the compiler keeps in a register: what is multiplied and added to it is then one
 * instruction on Cortex-M, not two. */
static inline int32_t fdl_opaque(int32_t x) {
#ifdef __GNUC__
    __asm__("" : "+r"(x));
#endif
    return x;
}

/* C11 leaves to the compiler three things that the arithmetic stands on; every target agrees. */
_Static_assert((-3 >> 1) == -2, "a right shift of a negative number must be arithmetic");
_Static_assert((int16_t)0xffff == -1, "narrowing must wrap around");
_Static_assert(sizeof(int) == 4, "an int must have 32 bits");

/* Of two lengths: what is left of a run, and a piece of it. */
static inline size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

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

/* One instruction on Cortex-M3 and up, which compilers do not find. (The __ssat of gcc 12's
 * arm_acle.h, a macro around this builtin, does not pass -Wconversion.) */
static inline int32_t fdl_sat16(int32_t x) {
#ifdef __ARM_FEATURE_SAT
    return (int32_t)__builtin_arm_ssat(x, 16);
#else
    return fdl_clamp32(x, INT16_MIN, INT16_MAX);
#endif
}

static inline int32_t fdl_sat8(int32_t x) {
#ifdef __ARM_FEATURE_SAT
    return (int32_t)__builtin_arm_ssat(x, 8);
#else
    return fdl_clamp32(x, INT8_MIN, INT8_MAX);
#endif
}

static inline int32_t fdl_sat32(int64_t x) {
    return (int32_t)fdl_clamp64(x, INT32_MIN, INT32_MAX);
}

/* |x| of any int32, -2^31 too. */
static inline uint32_t fdl_magnitude(int32_t x) {
    uint32_t sign = (uint32_t)(x >> 31);
    return ((uint32_t)x ^ sign) - sign;
}

static inline int32_t fdl_bit_length(uint32_t x) {
#ifdef __GNUC__
    return x == 0 ? 0 : 32 - __builtin_clz(x);
#else
    int32_t bits = 0;
    for (; x != 0; x >>= 1)
        bits++;
    return bits;
#endif
}

/* How far accumulators of this magnitude are shifted to fit in int8. */
static inline int32_t fdl_int8_shift(uint32_t magnitude) {
    return fdl_max32(0, fdl_bit_length(magnitude) - 7);
}

/* rshift() of NUMERICS section 1 to the right, 1 <= shift <= 31, without a 33rd bit: the last bit
 * that is shifted out rounds. */
static inline int32_t fdl_shift_right(int32_t x, int32_t shift) {
    return shift == 1 ? (x >> 1) + (x & 1) : ((x >> (shift - 1)) + 1) >> 1;
}

/* To the left, 0 <= shift <= 31, then the limit in both directions; a limit of INT32_MAX is sat32.
 * What lies within limit >> shift stays within the limit. */
static inline int32_t fdl_shift_left(int32_t x, int32_t shift, int32_t limit) {
    int32_t most = limit >> shift;
    if ((uint32_t)x + (uint32_t)most <= 2 * (uint32_t)most)
        return (int32_t)((uint32_t)x << shift);
    return x >= 0 ? limit : limit == INT32_MAX ? INT32_MIN : -limit;
}

/* rshift() in either direction, then the limit in both directions, or sat32. */
static inline int32_t fdl_shift(int32_t x, int32_t shift, int32_t limit) {
    if (shift > 31)
        return 0;
    if (shift > 0)
        return fdl_clamp32(fdl_shift_right(x, shift), -limit, limit);
    return fdl_shift_left(x, fdl_min32(-shift, 31), limit);
}

/* sat32(a - b): it overflows if a and b differ in sign, and so do a and the result; then it is the
 * limit on a's side. */
static inline int32_t fdl_subtract(int32_t a, int32_t b) {
#ifdef __ARM_FEATURE_DSP
    return __builtin_arm_qsub(a, b);
#else
    int32_t wrapped = (int32_t)((uint32_t)a - (uint32_t)b);
    return ((a ^ b) & (a ^ wrapped)) < 0 ? (a >> 31) ^ INT32_MAX : wrapped;
#endif
}

#endif
