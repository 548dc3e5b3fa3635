/* The inner loops with NEON over values that lie in a row, 16 at a time; a rest is left to plain C. */
#ifndef FDL_NEON_VALUES_H
#define FDL_NEON_VALUES_H

#include "../numbers/fixed.h"
#include "isa.h"

/* The bits of |v|, added to those of all. */
static INLINE void add_magnitude(int32x4_t *all, int32x4_t v) {
    *all = vorrq_s32(*all, vabsq_s32(v));
}

static INLINE uint32_t or_lanes(int32x4_t all) {
    int32_t lanes[4];
    vst1q_s32(lanes, all);
    return (uint32_t)(lanes[0] | lanes[1] | lanes[2] | lanes[3]);
}

static uint32_t neon_magnitude(const int32_t *acc, size_t count, uint32_t relu) {
    int32x4_t all = vdupq_n_s32(0), low = vdupq_n_s32(relu ? 0 : INT32_MIN);
    size_t j = 0;
    for (; j + 16 <= count; j += 16)
        for (size_t i = 0; i < 16; i += 4)
            add_magnitude(&all, vmaxq_s32(vld1q_s32(acc + j + i), low));
    return or_lanes(all) | fdl_plain.magnitude(acc + j, count - j, relu);
}

static uint32_t neon_mask(int32_t *acc, const int8_t *h, size_t count) {
    int32x4_t all = vdupq_n_s32(0);
    size_t j = 0;
    for (; j + 16 <= count; j += 16) {
        int8x16_t passes = vreinterpretq_s8_u8(vcgtzq_s8(vld1q_s8(h + j)));
        int16x8_t half[2] = {vmovl_s8(vget_low_s8(passes)), vmovl_high_s8(passes)};
        for (size_t i = 0; i < 2; i++) {
            int32_t *at = acc + j + 8 * i;
            int32x4_t first = vandq_s32(vld1q_s32(at), vmovl_s16(vget_low_s16(half[i])));
            int32x4_t last = vandq_s32(vld1q_s32(at + 4), vmovl_high_s16(half[i]));
            vst1q_s32(at, first);
            vst1q_s32(at + 4, last);
            add_magnitude(&all, first);
            add_magnitude(&all, last);
        }
    }
    return or_lanes(all) | fdl_plain.mask(acc + j, h + j, count - j);
}

static uint32_t neon_scale(int32_t *acc, size_t count, int32_t mantissa) {
    int32x4_t all = vdupq_n_s32(0);
    size_t j = 0;
    for (; j + 4 <= count; j += 4) {
        int32x4_t v = vrshrq_n_s32(vmulq_n_s32(vld1q_s32(acc + j), mantissa), 7);
        vst1q_s32(acc + j, v);
        add_magnitude(&all, v);
    }
    return or_lanes(all) | fdl_plain.scale(acc + j, count - j, mantissa);
}

/* 8 sums; those of the end may be made twice. */
static void neon_add_up(int32_t *sums, const int8_t *x, size_t n, size_t count) {
    if (count < 8) {
        fdl_plain.add_up(sums, x, n, count);
        return;
    }
    for (size_t start = 0; start < count; start += 8) {
        size_t c = smaller(start, count - 8);
        int32x4_t first = vdupq_n_s32(0), last = first;
        for (size_t m = 0; m < n; m++) {
            int16x8_t v = vmovl_s8(vld1_s8(x + m * count + c));
            first = vaddw_s16(first, vget_low_s16(v));
            last = vaddw_high_s16(last, v);
        }
        vst1q_s32(sums + c, first);
        vst1q_s32(sums + c + 4, last);
    }
}

static int neon_has_lowest(const int8_t *x, size_t count) {
    int8x16_t lowest = vdupq_n_s8(0);
    size_t i = 0;
    for (; i + 64 <= count; i += 64)
        for (size_t j = 0; j < 64; j += 16)
            lowest = vminq_s8(lowest, vld1q_s8(x + i + j));
    return vminvq_s8(lowest) == -128 || fdl_plain.has_lowest(x + i, count - i);
}

static void neon_narrow(const int32_t *acc, size_t count, int32_t shift, int32_t low, int8_t *q) {
    int32x4_t by = vdupq_n_s32(-shift);
    int8x16_t lowest = vdupq_n_s8((int8_t)low);
    size_t j = 0;
    for (; j + 16 <= count; j += 16) {
        int16x4_t half[4];
        for (size_t i = 0; i < 4; i++)
            half[i] = vqmovn_s32(vrshlq_s32(vld1q_s32(acc + j + 4 * i), by));
        int8x8_t first = vqmovn_s16(vcombine_s16(half[0], half[1]));
        int8x16_t all = vqmovn_high_s16(first, vcombine_s16(half[2], half[3]));
        vst1q_s8(q + j, vmaxq_s8(all, lowest));
    }
    fdl_plain.narrow(acc + j, count - j, shift, low, q + j);
}

#endif
