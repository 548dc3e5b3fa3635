/* The inner loops with SDOT, the dot products of ARMv8.2: 16 products of int8 and 4 sums an
 * instruction. */
#include "isa.h"

#if FDL_NEON

/* Of the whole file, so that no function of it is for another processor than the intrinsics it
 * calls; gcc does not inline those. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#elif !defined(__ARM_FEATURE_DOTPROD)
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#include <arm_neon.h>

/* Lane i gets bytes 4 * i to 4 * i + 3. (vdotq_s32: clang 14 has it only when all of the build is
 * for such a processor.) */
static inline int32x4_t add_products(int32x4_t sum, int8x16_t a, int8x16_t b) {
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
    return sum;
}

static inline int8x16_t meet_first(int8x16_t pairs, int8x16_t others) {
    return vreinterpretq_s8_s16(
        vzip1q_s16(vreinterpretq_s16_s8(pairs), vreinterpretq_s16_s8(others)));
}

static inline int8x16_t meet_last(int8x16_t pairs, int8x16_t others) {
    return vreinterpretq_s8_s16(
        vzip2q_s16(vreinterpretq_s16_s8(pairs), vreinterpretq_s16_s8(others)));
}

static inline int8x16_t meet_itself(int8x16_t four) {
    return four;
}

#include "neon_loops.h"

const fdl_kernels fdl_dotprod = {.name = "dotprod", NEON_LOOPS};

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
