/* The inner loops with NEON as every aarch64 has it: SMULL, SMLAL and SADALP make 16 products of
 * int8 and 4 sums of 32 bits. Two products, 2 * 127 * 128 < 2^15, fit in 16 bits. */
#include "isa.h"

#if FDL_NEON
#include <arm_neon.h>

/* Of four lanes the first two factors, then the last two: what meets them is repeated likewise. */
#define GROUP 64
#define MOST  10 /* windows whose sums stay in registers */

static INLINE int8x16_t join_columns(int8x16_t first, int8x16_t last) {
    return vuzp2q_s8(first, last);
}

static INLINE int8x16_t order_columns(int8x16_t x) {
    return x;
}

static INLINE int8x16_t turn_lanes(int8x16_t lanes) {
    static const uint8_t order[16] = {0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15};
    return vqtbl1q_s8(lanes, vld1q_u8(order));
}

static INLINE int8x16_t meet_first(int8x16_t pairs, int8x16_t others) {
    return vcombine_s8(vget_low_s8(pairs), vget_low_s8(others));
}

static INLINE int8x16_t meet_last(int8x16_t pairs, int8x16_t others) {
    return vcombine_s8(vget_high_s8(pairs), vget_high_s8(others));
}

static INLINE void store_factors(int8_t *to, int8x16_t four) {
    const uint8x16_t first = {0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3};
    for (size_t m = 0; m < 4; m++)
        vst1q_s8(to + 16 * m, vqtbl1q_s8(four, vaddq_u8(first, vdupq_n_u8((uint8_t)(4 * m)))));
}

/* In assembly, since gcc multiplies so far ahead that sums leave their registers. Four sums take
 * turns, so that none waits for itself. */
static INLINE void add_products(int32x4_t first[2], int32x4_t second[2], const int8x16_t lanes[2],
                                const int8_t *factors, size_t m) {
    int8x16_t x = vld1q_s8(factors + 16 * m), y = vld1q_s8(factors + 16 * m + 16);
    int32x4_t sum0 = first[0], sum1 = first[1], sum2 = second[0], sum3 = second[1];
    int16x8_t products0, products1, products2, products3;
    __asm__("smull %4.8h, %8.8b, %10.8b\n\t"
            "smull %5.8h, %9.8b, %10.8b\n\t"
            "smull %6.8h, %8.8b, %11.8b\n\t"
            "smull %7.8h, %9.8b, %11.8b\n\t"
            "smlal2 %4.8h, %8.16b, %10.16b\n\t"
            "smlal2 %5.8h, %9.16b, %10.16b\n\t"
            "smlal2 %6.8h, %8.16b, %11.16b\n\t"
            "smlal2 %7.8h, %9.16b, %11.16b\n\t"
            "sadalp %0.4s, %4.8h\n\t"
            "sadalp %1.4s, %5.8h\n\t"
            "sadalp %2.4s, %6.8h\n\t"
            "sadalp %3.4s, %7.8h"
            : "+w"(sum0), "+w"(sum1), "+w"(sum2), "+w"(sum3), "=&w"(products0), "=&w"(products1),
              "=&w"(products2), "=&w"(products3)
            : "w"(lanes[0]), "w"(lanes[1]), "w"(x), "w"(y));
    first[0] = sum0;
    first[1] = sum1;
    second[0] = sum2;
    second[1] = sum3;
}

#include "neon_loops.h"

const fdl_kernels fdl_neon = {
    .name = "neon",
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
#endif
