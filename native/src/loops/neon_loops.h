/* The inner loops with NEON, around four functions of the file that includes this one:
 *
 * add_products(sum, a, b)    adds 16 products of int8, four to each lane
 * meet_first(pairs, others)  of 8 pairs each, the first 4 of both, so that in add_products() a pair
 *                            meets its other in one lane
 * meet_last(pairs, others)   the last 4
 * meet_itself(four)          the same for four errors that repeat in a vector */
#ifndef FDL_NEON_LOOPS_H
#define FDL_NEON_LOOPS_H

#include "isa.h"
#include "vectors.h"

#include <string.h>

#define PACKED 8192 /* bytes of inputs that are worked on at a time: a part of the L1 cache */

static INLINE int8x16_t load_inputs(const int8_t *x, span s, size_t v) {
    return vandq_s8(vld1q_s8(x + place(s, v)), vld1q_s8(fresh_mask(s, v)));
}

/* The high bytes of LANES stored weights. */
static INLINE int8x16_t load_weights(const int16_t *stored) {
    int8x16_t first = vreinterpretq_s8_s16(vld1q_s16(stored));
    return vuzp2q_s8(first, vreinterpretq_s8_s16(vld1q_s16(stored + 8)));
}

/* ---- dot ---- */

static INLINE void add_four(int32_t *acc, const int32x4_t sum[4], size_t count) {
    int32_t lanes[4];
    int32x4_t total = vpaddq_s32(vpaddq_s32(sum[0], sum[1]), vpaddq_s32(sum[2], sum[3]));
    if (count >= 4) {
        vst1q_s32(acc, vaddq_s32(vld1q_s32(acc), total));
        return;
    }
    vst1q_s32(lanes, total);
    for (size_t r = 0; r < count; r++)
        acc[r] += lanes[r];
}

/* Row o and the next of four (eight for one window) and `count` windows, x[vector][window][LANES];
 * rows that there are not are the last again. */
static INLINE void dot_tile(int32_t *acc, const fdl_block *block, size_t o, const int8_t *x,
                            size_t count, span s) {
    size_t tile = count == 1 ? 8 : 4, rows = smaller(block->rows - o, tile);
    int32x4_t sum[16];
    const int16_t *row[8];
    for (size_t i = 0; i < tile * count; i++)
        sum[i] = vdupq_n_s32(0);
    for (size_t r = 0; r < tile; r++)
        row[r] = block->at + (o + smaller(r, rows - 1)) * block->step;
    for (size_t v = 0; v < vectors_of(s); v++, x += count * LANES)
        for (size_t r = 0; r < tile; r++) {
            int8x16_t weights = load_weights(row[r] + place(s, v));
            for (size_t m = 0; m < count; m++)
                sum[m * tile + r] =
                    add_products(sum[m * tile + r], weights, vld1q_s8(x + m * LANES));
        }
    for (size_t m = 0; m < count; m++)
        for (size_t r = 0; r < tile && r < rows; r += 4)
            add_four(acc + m * block->rows + o + r, sum + m * tile + r, rows - r);
}

static void dot_four(int32_t *acc, const fdl_block *block, const int8_t *x, span s) {
    for (size_t o = 0; o < block->rows; o += 4)
        dot_tile(acc, block, o, x, 4, s);
}

static void dot_one(int32_t *acc, const fdl_block *block, const int8_t *x, span s) {
    for (size_t o = 0; o < block->rows; o += 8)
        dot_tile(acc, block, o, x, 1, s);
}

/* `count` windows from number m on, vector by vector. */
static void pack(const fdl_windows *windows, size_t m, size_t count, span s, int8_t *packed) {
    for (size_t i = 0; i < count; i++)
        for (size_t v = 0; v < vectors_of(s); v++)
            vst1q_s8(packed + (v * count + i) * LANES,
                     load_inputs(windows->x + windows->at[m + i], s, v));
}

static void neon_dot(int32_t *acc, const fdl_windows *windows, const fdl_block *block) {
    int8_t packed[PACKED];
    if (block->len < LANES) {
        fdl_plain.dot(acc, windows, block);
        return;
    }
    for (size_t start = 0; start < block->len; start += PACKED / 4) {
        span s = {start, smaller(start + PACKED / 4, block->len)};
        size_t m = 0;
        for (; m + 4 <= windows->n; m += 4) {
            pack(windows, m, 4, s, packed);
            dot_four(acc + m * block->rows, block, packed, s);
        }
        for (; m < windows->n; m++) {
            pack(windows, m, 1, s, packed);
            dot_one(acc + m * block->rows, block, packed, s);
        }
    }
}

/* ---- Four int8 that meet in one lane ---- */

/* LANES columns of four rows: columns 0 to 3 in to[0], 12 to 15 in to[3]. */
static INLINE void interleave(int8x16_t to[4], const int8x16_t row[4]) {
    int8x16_t low01 = vzip1q_s8(row[0], row[1]), high01 = vzip2q_s8(row[0], row[1]);
    int8x16_t low23 = vzip1q_s8(row[2], row[3]), high23 = vzip2q_s8(row[2], row[3]);
    to[0] = meet_first(low01, low23);
    to[1] = meet_last(low01, low23);
    to[2] = meet_first(high01, high23);
    to[3] = meet_last(high01, high23);
}

static INLINE int8x16_t load_errors(const int32_t *four) {
    return meet_itself(vreinterpretq_s8_s32(vld1q_dup_s32(four)));
}

/* ---- spread, descend_one ---- */

/* A multiple of four live rows, error[i] for each four of them. */
static INLINE void spread_vector(int32_t *acc, const live_rows *live, const int32_t *error, span s,
                                 size_t v) {
    int32x4_t sum[4];
    int8x16_t row[4], columns[4], mask = vld1q_s8(fresh_mask(s, v));
    for (size_t i = 0; i < 4; i++)
        sum[i] = vdupq_n_s32(0);
    for (size_t i = 0; i < live->count; i += 4) {
        int8x16_t errors = load_errors(error + i / 4);
        for (size_t r = 0; r < 4; r++)
            row[r] = vandq_s8(load_weights(live->row[i + r] + place(s, v)), mask);
        interleave(columns, row);
        for (size_t j = 0; j < 4; j++)
            sum[j] = add_products(sum[j], columns[j], errors);
    }
    acc += place(s, v);
    for (size_t j = 0; j < 4; j++)
        vst1q_s32(acc + 4 * j, vaddq_s32(vld1q_s32(acc + 4 * j), sum[j]));
}

static void spread_window(int32_t *acc, const int8_t *d, const fdl_block *block) {
    span s = {0, block->len};
    for (size_t o = 0; o < block->rows; o += ROWS) {
        live_rows live;
        int32_t error[ROWS / 4];
        find_live(&live, d, block, o);
        fill_up(&live, 4);
        memcpy(error, live.error, live.count);
        for (size_t v = 0; v < vectors_of(s); v++)
            spread_vector(acc, &live, error, s, v);
    }
}

static void neon_spread(int32_t *acc, const uint32_t *at, size_t n, const int8_t *d,
                        const fdl_block *block) {
    if (block->len < LANES) {
        fdl_plain.spread(acc, at, n, d, block);
        return;
    }
    for (size_t m = 0; m < n; m++, d += block->rows)
        spread_window(acc + at[m], d, block);
}

/* A row less SQRDMULH(x, error). */
static INLINE void lower_row(int16_t *stored, int16_t error, const int16_t *x, span s) {
    for (size_t v = 0; v < vectors_of(s); v++)
        for (size_t half = 0; half < LANES; half += 8) {
            int16_t *at = stored + place(s, v) + half;
            int16x8_t change = vqrdmulhq_n_s16(vld1q_s16(x + v * LANES + half), error);
            vst1q_s16(at, vqsubq_s16(vld1q_s16(at), change));
        }
}

/* SQRDMULH gives (2 * a * b + 2^15) >> 16: the product is shifted left by 15 - shift before, as far
 * as the inputs have room for it, the rest with the errors. */
static void neon_descend_one(const fdl_block *block, const int8_t *x, const int8_t *d,
                             int32_t shift) {
    int16_t wide[PACKED / 2];
    int16_t up = (int16_t)(15 - shift), x_up = up < 8 ? up : 8;
    if (block->len < LANES) {
        fdl_plain.descend_one(block, x, d, shift);
        return;
    }
    for (size_t start = 0; start < block->len; start += PACKED / 2) {
        span s = {start, smaller(start + PACKED / 2, block->len)};
        for (size_t v = 0; v < vectors_of(s); v++) {
            int8x16_t inputs = load_inputs(x, s, v);
            int16x8_t by = vdupq_n_s16(x_up);
            vst1q_s16(wide + v * LANES, vshlq_s16(vmovl_s8(vget_low_s8(inputs)), by));
            vst1q_s16(wide + v * LANES + 8, vshlq_s16(vmovl_high_s8(inputs), by));
        }
        for (size_t o = 0; o < block->rows; o++)
            if (d[o] != 0)
                lower_row(block->at + o * block->step, (int16_t)(d[o] * (1 << (up - x_up))), wide,
                          s);
    }
}

/* ---- gradient, descend ---- */

/* Up to LANES bytes, and 0 after the end. */
static INLINE int8x16_t load_before(const int8_t *d, const int8_t *end) {
    int8_t bytes[LANES] = {0};
    if (end - d >= LANES)
        return vld1q_s8(d);
    memcpy(bytes, d, (size_t)(end - d));
    return vld1q_s8(bytes);
}

/* The errors of LANES rows from row o on; all of a row or-ed together in `any`. Past the last row
 * come errors of the next window: nobody asks for them. */
static void group_some_errors(window_errors *e, size_t o, const int8_t *d, size_t n, size_t d_step,
                              const int8_t *end, int32_t any[LANES]) {
    memset(any, 0, LANES * sizeof *any);
    for (size_t m = 0; m < n; m += 4) {
        int8x16_t row[4];
        for (size_t i = 0; i < 4; i++)
            row[i] = m + i < n ? load_before(d + (m + i) * d_step, end) : vdupq_n_s8(0);
        int8x16x2_t pair01 = vzipq_s8(row[0], row[1]), pair23 = vzipq_s8(row[2], row[3]);
        for (size_t i = 0; i < 2; i++) {
            int16x8x2_t four =
                vzipq_s16(vreinterpretq_s16_s8(pair01.val[i]), vreinterpretq_s16_s8(pair23.val[i]));
            for (size_t j = 0; j < 2; j++) {
                int32x4_t errors = vreinterpretq_s32_s16(four.val[j]);
                size_t at = 8 * i + 4 * j;
                vst1q_s32(e->of[m / 4] + o + at, errors);
                vst1q_s32(any + at, vorrq_s32(vld1q_s32(any + at), errors));
            }
        }
    }
}

static void group_errors(window_errors *e, const int8_t *d, size_t n, size_t d_step, size_t rows) {
    const int8_t *end = d + (n - 1) * d_step + rows;
    no_errors(e);
    for (size_t o = 0; o < rows; o += LANES) {
        int32_t any[LANES];
        group_some_errors(e, o, d + o, n, d_step, end, any);
        keep_live(e, o, smaller(rows - o, LANES), any);
    }
}

/* Windows four by four: packed[vector][four][4][LANES]. */
static void group_windows(const fdl_windows *windows, span s, int8_t *packed) {
    for (size_t v = 0; v < vectors_of(s); v++)
        for (size_t m = 0; m < windows->n; m += 4, packed += 4 * LANES) {
            int8x16_t row[4], columns[4];
            for (size_t i = 0; i < 4; i++)
                row[i] = m + i < windows->n ? load_inputs(windows->x + windows->at[m + i], s, v)
                                            : vdupq_n_s8(0);
            interleave(columns, row);
            for (size_t i = 0; i < 4; i++)
                vst1q_s8(packed + i * LANES, columns[i]);
        }
}

/* Sums over all windows of four rows and LANES columns, four to a vector. */
typedef struct {
    int32x4_t of[4][4];
} tile;

/* x: one vector of group_windows(). */
static INLINE void sum_tile(tile *t, const int8_t *x, size_t fours, const int32_t *const error[4]) {
    for (size_t r = 0; r < 4; r++)
        for (size_t j = 0; j < 4; j++)
            t->of[r][j] = vdupq_n_s32(0);
    for (size_t i = 0; i < fours; i++, x += 4 * LANES)
        for (size_t r = 0; r < 4; r++) {
            int8x16_t errors = load_errors(error[r] + i * ERROR_STEP);
            for (size_t j = 0; j < 4; j++)
                t->of[r][j] = add_products(t->of[r][j], vld1q_s8(x + j * LANES), errors);
        }
}

static void neon_gradient(int32_t *g, const fdl_windows *windows, const int8_t *d, size_t d_step,
                          size_t rows, size_t len) {
    int8_t packed[FDL_PIECE * FDL_WINDOWS];
    size_t fours = (windows->n + 3) / 4;
    span s = {0, len};
    window_errors e;
    if (len < LANES || rows == 0 || fours == 0) {
        fdl_plain.gradient(g, windows, d, d_step, rows, len);
        return;
    }
    group_errors(&e, d, windows->n, d_step, rows);
    group_windows(windows, s, packed);
    for (size_t v = 0; v < vectors_of(s); v++) {
        const int32_t *const error[4] = {e.of[0], e.of[0] + 1, e.of[0] + 2, e.of[0] + 3};
        tile t;
        sum_tile(&t, packed + v * fours * 4 * LANES, fours, error);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < 4; j++) {
                int32_t *to = g + r * FDL_PIECE + place(s, v) + 4 * j;
                vst1q_s32(to, vaddq_s32(vld1q_s32(to), t.of[r][j]));
            }
    }
}

/* Eight weights less eight gradients, shifted to the right. */
static INLINE void lower(int16_t *stored, int32x4_t first, int32x4_t last, int32_t shift) {
    int32x4_t by = vdupq_n_s32(-shift);
    int16x8_t change = vqmovn_high_s32(vqmovn_s32(vrshlq_s32(first, by)), vrshlq_s32(last, by));
    vst1q_s16(stored, vqsubq_s16(vld1q_s16(stored), change));
}

static void neon_apply(int16_t *stored, const int32_t *g, size_t len, int32_t shift) {
    size_t i = 0;
    for (; i + 8 <= len; i += 8)
        lower(stored + i, vld1q_s32(g + i), vld1q_s32(g + i + 4), shift);
    fdl_plain.apply(stored + i, g + i, len - i, shift);
}

static void descend_four(const four_rows *four, const int8_t *packed, size_t fours, span s,
                         int32_t shift) {
    for (size_t v = 0; v < vectors_of(s); v++) {
        tile t;
        sum_tile(&t, packed + v * fours * 4 * LANES, fours, four->error);
        for (size_t r = 0; r < 4; r++) {
            int16_t *stored = four->row[r] + place(s, v);
            lower(stored, t.of[r][0], t.of[r][1], shift);
            lower(stored + 8, t.of[r][2], t.of[r][3], shift);
        }
    }
}

static void neon_descend(const fdl_block *block, const fdl_windows *windows, const int8_t *d,
                         int32_t shift) {
    int8_t packed[PACKED];
    size_t fours = (windows->n + 3) / 4;
    if (block->len < LANES || fours == 0) {
        fdl_plain.descend(block, windows, d, shift);
        return;
    }
    size_t piece = PACKED / (4 * fours) / LANES * LANES;
    for (size_t o = 0; o < block->rows; o += ROWS) {
        int16_t *w = block->at + o * block->step;
        window_errors e;
        group_errors(&e, d + o, windows->n, block->rows, smaller(block->rows - o, ROWS));
        for (size_t start = 0; start < block->len; start += piece) {
            span s = {start, smaller(start + piece, block->len)};
            group_windows(windows, s, packed);
            for (size_t i = 0; i < e.count; i += 4) {
                four_rows four = take_four(&e, i, w, block->step);
                descend_four(&four, packed, fours, s, shift);
            }
        }
    }
}

/* ---- Values that lie in a row ---- */

static uint32_t neon_magnitude(const int32_t *acc, size_t count, uint32_t relu) {
    int32x4_t all = vdupq_n_s32(0);
    int32_t lanes[4];
    size_t j = 0;
    for (; j + 4 <= count; j += 4) {
        int32x4_t v = vld1q_s32(acc + j);
        all = vorrq_s32(all, relu ? vmaxq_s32(v, vdupq_n_s32(0)) : vabsq_s32(v));
    }
    vst1q_s32(lanes, all);
    return (uint32_t)(lanes[0] | lanes[1] | lanes[2] | lanes[3]) |
           fdl_plain.magnitude(acc + j, count - j, relu);
}

static uint32_t neon_mask(int32_t *acc, const int8_t *h, size_t count) {
    size_t j = 0;
    for (; j + 8 <= count; j += 8) {
        int16x8_t passes = vmovl_s8(vreinterpret_s8_u8(vcgtz_s8(vld1_s8(h + j))));
        int32x4_t first = vmovl_s16(vget_low_s16(passes)), last = vmovl_high_s16(passes);
        vst1q_s32(acc + j, vandq_s32(vld1q_s32(acc + j), first));
        vst1q_s32(acc + j + 4, vandq_s32(vld1q_s32(acc + j + 4), last));
    }
    return neon_magnitude(acc, j, 0) | fdl_plain.mask(acc + j, h + j, count - j);
}

static void neon_narrow(const int32_t *acc, size_t count, int32_t shift, int32_t low, int8_t *q) {
    int32x4_t by = vdupq_n_s32(-shift);
    int8x8_t lowest = vdup_n_s8((int8_t)low);
    size_t j = 0;
    for (; j + 8 <= count; j += 8) {
        int16x4_t first = vqmovn_s32(vrshlq_s32(vld1q_s32(acc + j), by));
        int16x8_t both = vqmovn_high_s32(first, vrshlq_s32(vld1q_s32(acc + j + 4), by));
        vst1_s8(q + j, vmax_s8(vqmovn_s16(both), lowest));
    }
    fdl_plain.narrow(acc + j, count - j, shift, low, q + j);
}

#define NEON_LOOPS                                                                                 \
    .dot = neon_dot, .spread = neon_spread, .gradient = neon_gradient, .apply = neon_apply,        \
    .descend = neon_descend, .descend_one = neon_descend_one, .magnitude = neon_magnitude,         \
    .mask = neon_mask, .scale = fdl_plain_scale, .add_up = fdl_plain_add_up,                       \
    .has_lowest = fdl_plain_has_lowest, .shift = fdl_shift_all, .softmax = fdl_softmax,            \
    .narrow = neon_narrow

#endif
