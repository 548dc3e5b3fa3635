/* The inner loops with NEON as every aarch64 has it: SMULL, SMLAL and SADALP make 16 products of
 * int8 and 4 sums of 32 bits. Two products, 2 * 127 * 128 < 2^15, fit in 16 bits. */
#include "isa.h"

#if FDL_NEON
#include <arm_neon.h>

/* Lane i gets bytes 2 * i, 2 * i + 1 and the same of the other half. */
static inline int32x4_t add_products(int32x4_t sum, int8x16_t a, int8x16_t b) {
    int16x8_t products = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    return vpadalq_s16(sum, vmlal_high_s8(products, a, b));
}

static inline int8x16_t meet_first(int8x16_t pairs, int8x16_t others) {
    return vcombine_s8(vget_low_s8(pairs), vget_low_s8(others));
}

static inline int8x16_t meet_last(int8x16_t pairs, int8x16_t others) {
    return vcombine_s8(vget_high_s8(pairs), vget_high_s8(others));
}

static inline int8x16_t meet_itself(int8x16_t four) {
    static const uint8_t order[16] = {0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3};
    return vqtbl1q_s8(four, vld1q_u8(order));
}

#include "neon_loops.h"

const fdl_kernels fdl_neon = {.name = "neon", NEON_LOOPS};
#endif
