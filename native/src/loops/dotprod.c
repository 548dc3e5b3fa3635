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

/* Of four lanes four factors each, of weights in the order 0, 2, 1, 3: that is how the high bytes
 * of two vectors fall together. */
#define GROUP 16
#define MOST  12 /* windows whose sums stay in registers */

static INLINE int8x16_t join_columns(int8x16_t first, int8x16_t last) {
    return vtrn2q_s8(first, last);
}

static INLINE int8x16_t order_columns(int8x16_t x) {
    static const uint8_t order[16] = {0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15};
    return vqtbl1q_s8(x, vld1q_u8(order));
}

static INLINE int8x16_t turn_lanes(int8x16_t lanes) {
    static const uint8_t order[16] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
    return vqtbl1q_s8(lanes, vld1q_u8(order));
}

static INLINE int8x16_t meet_first(int8x16_t pairs, int8x16_t others) {
    return vreinterpretq_s8_s16(
        vzip1q_s16(vreinterpretq_s16_s8(pairs), vreinterpretq_s16_s8(others)));
}

static INLINE int8x16_t meet_last(int8x16_t pairs, int8x16_t others) {
    return vreinterpretq_s8_s16(
        vzip2q_s16(vreinterpretq_s16_s8(pairs), vreinterpretq_s16_s8(others)));
}

static INLINE void store_factors(int8_t *to, int8x16_t four) {
    vst1q_s8(to, four);
}

/* (vdotq_laneq_s32: clang 14 has it only when all of the build is for such a processor.) */
#define SDOT(m) __asm__("sdot %0.4s, %1.16b, %2.4b[" #m "]" : "+w"(sum) : "w"(lanes), "w"(x))

static INLINE int32x4_t add_four(int32x4_t sum, int8x16_t lanes, int8x16_t x, size_t m) {
    switch (m) {
    case 0:
        SDOT(0);
        break;
    case 1:
        SDOT(1);
        break;
    case 2:
        SDOT(2);
        break;
    default:
        SDOT(3);
        break;
    }
    return sum;
}

static INLINE void add_products(int32x4_t first[2], int32x4_t second[2], const int8x16_t lanes[2],
                                const int8_t *factors, size_t m) {
    int8x16_t x = vld1q_s8(factors);
    for (size_t v = 0; v < 2; v++) {
        first[v] = add_four(first[v], lanes[v], x, m);
        second[v] = add_four(second[v], lanes[v], x, m + 1);
    }
}

#include "neon_loops.h"

const fdl_kernels fdl_dotprod = {
    .name = "dotprod",
    .tall = LANES,
    .columns = 256,
    .dot = neon_dot,
    .spread = neon_spread,
    .gradient = neon_gradient,
    .apply = neon_apply,
    .descend = neon_descend,
    .descend_one = neon_descend_one,
    .magnitude = neon_magnitude,
    .mask = neon_mask,
    .scale = neon_scale,
    .add_up = neon_add_up,
    .shift = fdl_shift_all,
    .subtract = fdl_subtract_all,
    .has_lowest = neon_has_lowest,
    .softmax = fdl_softmax,
    .narrow = neon_narrow,
#if !FDL_WITHOUT_CODEC
    .words = fdl_plain_words,
    .measure = fdl_plain_measure,
    .gather = fdl_plain_gather,
    .to_spread = fdl_plain_spread,
    .rotate = fdl_plain_rotate,
    .rotate_back = fdl_plain_rotate_back,
    .quantise = fdl_plain_quantise,
    .scatter = fdl_plain_scatter,
#endif
};

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
