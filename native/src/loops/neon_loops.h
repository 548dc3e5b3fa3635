/* The inner loops with NEON, made of the products of the file that includes this one, which ends with
 * their table. */
#ifndef FDL_NEON_LOOPS_H
#define FDL_NEON_LOOPS_H

#include "neon_products.h"
#include "neon_values.h"

#define COLUMNS 8 /* of a gradient, whose sums stay in registers */
#define KEPT    3 /* fours of windows whose errors stay there too */

/* ---- dot, spread ---- */

static void add_some(int32_t *acc, size_t left, int32x4_t first, int32x4_t last) {
    int32_t lanes[8];
    vst1q_s32(lanes, first);
    vst1q_s32(lanes + 4, last);
    for (size_t i = 0; i < left; i++)
        acc[i] += lanes[i];
}

static INLINE void add_lanes(int32_t *acc, size_t left, int32x4_t first, int32x4_t last) {
    if (left < 8) {
        add_some(acc, left, first, last);
        return;
    }
    vst1q_s32(acc, vaddq_s32(vld1q_s32(acc), first));
    vst1q_s32(acc + 4, vaddq_s32(vld1q_s32(acc + 4), last));
}

/* Products of 8 lanes with up to `count` windows, n, added to acc + to[m]. */
static INLINE void multiply(int32_t *acc, const uint32_t *to, size_t left, const int8_t *packed,
                            const int16_t *woven, const int8_t *factors, size_t step, size_t fours,
                            size_t n, size_t count) {
    tile t;
    start_tile(&t, count, 0);
    sum_products(&t, packed, woven, factors, step, fours, count);
    for (size_t m = 0; m < count; m++)
        if (m < n)
            add_lanes(acc + to[m], left, t.of[m][0], t.of[m][1]);
}

static INLINE void multiply_all(int32_t *acc, const uint32_t *to, size_t left, const int8_t *packed,
                                const int16_t *woven, const packed_factors *x, size_t len,
                                size_t n) {
    size_t step = fours_of(n) * GROUP, fours = fours_of(len);
    const int8_t *factors = x->of;
#if MOST >= 12
    for (; n >= 12; n -= 12, to += 12, factors += 3 * GROUP)
        multiply(acc, to, left, packed, woven, factors, step, fours, 12, 12);
#endif
    for (; n > 10 || n == 8; n -= 8, to += 8, factors += 2 * GROUP)
        multiply(acc, to, left, packed, woven, factors, step, fours, 8, 8);
    if (n > 8) {
        multiply(acc, to, left, packed, woven, factors, step, fours, n, 10);
        return;
    }
    for (; n > 2; n -= smaller(n, 4), to += 4, factors += GROUP)
        multiply(acc, to, left, packed, woven, factors, step, fours, n, 4);
    if (n > 0)
        multiply(acc, to, left, packed, woven, factors, step, fours, n, 2);
}

/* With woven weights of 8 rows; with turned ones of 8 columns. */
static void multiply_woven(int32_t *acc, const uint32_t *to, size_t left, const int16_t *woven,
                           const packed_factors *factors, size_t len, size_t n) {
    multiply_all(acc, to, left, NULL, woven, factors, len, n);
}

static void multiply_turned(int32_t *acc, const uint32_t *to, size_t left, const int8_t *turned,
                            const packed_factors *factors, size_t len, size_t n) {
    multiply_all(acc, to, left, turned, NULL, factors, len, n);
}

/* Eight woven rows from row o on. */
static inline int16_t *rows_of(const fdl_block *block, size_t o) {
    return block->at + o / LANES * LANES * block->step + o % LANES * 2;
}

static void neon_dot(int32_t *acc, const fdl_windows *windows, const fdl_block *block) {
    packed_factors x;
    uint32_t to[FDL_WINDOWS];
    if (windows->n == 0)
        return;
    count_off(to, windows->n, block->rows);
    size_t piece = piece_of(windows->n);
    for (size_t at = 0; at < block->len; at += piece) {
        size_t len = smaller(block->len - at, piece);
        pack_windows(&x, windows->x + at, windows->at, windows->n, len);
        for (size_t o = 0; o < block->rows; o += 8) {
            multiply_woven(acc + o, to, block->rows - o, rows_of(block, o) + at * LANES, &x, len,
                           windows->n);
        }
    }
}

static void neon_spread(int32_t *acc, const uint32_t *at, size_t n, const int8_t *d,
                        const fdl_block *block) {
    packed_factors errors;
    packed_lanes w;
    uint32_t from[FDL_WINDOWS];
    if (n == 0)
        return;
    count_off(from, n, block->rows);
    size_t piece = piece_of(n);
    for (size_t o = 0; o < block->rows; o += piece) {
        size_t rows = smaller(block->rows - o, piece);
        pack_windows(&errors, d + o, from, n, rows);
        for (size_t i = 0; i < block->len; i += 8) {
            size_t left = block->len - i;
            if (i % LANES == 0)
                turn_weights(&w, block->at + o * block->step + i * LANES, block->step, rows, left);
            multiply_turned(acc + i, at, left, w.of[0] + i % LANES * 4, &errors, rows, n);
        }
    }
}

/* ---- gradient, descend ---- */

/* Sums of 8 rows and `count` woven columns; LD2 and ST2 part the columns. */
static INLINE void add_tile(int32_t *g, const tile *t, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int32_t *to = g + i / 2 * 2 * LANES + i % 2 * 8;
        int32x4x2_t two = vld2q_s32(to);
        two.val[0] = vaddq_s32(two.val[0], t->of[i / 2 * 2][i % 2]);
        two.val[1] = vaddq_s32(two.val[1], t->of[i / 2 * 2 + 1][i % 2]);
        vst2q_s32(to, two);
    }
}

static void neon_gradient(int32_t *g, const fdl_windows *windows, const int8_t *d, size_t d_step,
                          size_t rows, size_t len) {
    packed_factors x;
    packed_lanes errors;
    if (windows->n == 0)
        return;
    pack_errors(&errors, d, windows->n, d_step, rows);
    size_t piece = piece_of(windows->n);
    for (size_t at = 0; at < len; at += piece) {
        size_t some = smaller(len - at, piece);
        pack_columns(&x, windows, at, some);
        for (size_t c = 0; c < some; c += COLUMNS)
            for (size_t o = 0; o < LANES && o < rows; o += 8) {
                tile t;
                start_tile(&t, COLUMNS, 0);
                sum_products(&t, errors.of[0] + 4 * o, NULL, x.of + c / 4 * GROUP,
                             columns_step(some), fours_of(windows->n), COLUMNS);
                add_tile(g + (at + c) * LANES + 2 * o, &t,
                         smaller(fours_of(some - c) * 4, COLUMNS));
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

/* 8 rows of `count` columns less their gradients, to which half of what is shifted out was added: so
 * shifted that the high half of 32 bits is left of them, which SQSHL limits. */
static INLINE void lower_tile(int16_t *woven, const tile *t, int32x4_t up, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int16_t *at = woven + i / 2 * 2 * LANES + i % 2 * 8;
        int32x4_t even = vqshlq_s32(t->of[i / 2 * 2][i % 2], up);
        int32x4_t odd = vqshlq_s32(t->of[i / 2 * 2 + 1][i % 2], up);
        int16x8_t change = vtrn2q_s16(vreinterpretq_s16_s32(even), vreinterpretq_s16_s32(odd));
        vst1q_s16(at, vqsubq_s16(vld1q_s16(at), change));
    }
}

/* `count` columns of 8 rows less the gradient of all windows; with few of these their errors, `kept`,
 * stay in registers. */
static INLINE void lower_columns(int16_t *woven, int8x16_t kept[KEPT][2], const int8_t *errors,
                                 const int8_t *x, size_t step, int32_t shift, size_t fours,
                                 size_t count) {
    tile t;
    start_tile(&t, COLUMNS, 1 << (shift - 1));
    if (fours > KEPT)
        sum_products(&t, errors, NULL, x, step, fours, COLUMNS);
    for (size_t k = 0; k < KEPT && fours <= KEPT; k++)
        if (k < fours)
            sum_four(&t, kept[k], x + k * step, COLUMNS);
    lower_tile(woven, &t, vdupq_n_s32(16 - shift), count);
}

static INLINE void lower_rows(int16_t *woven, const int8_t *errors, const int8_t *x, size_t len,
                              int32_t shift, size_t fours) {
    int8x16_t kept[KEPT][2];
    size_t step = columns_step(len);
    for (size_t k = 0; k < KEPT; k++) /* what is past the last four is not used */
        load_lanes(kept[k], errors + k * 4 * LANES);
    for (; len >= COLUMNS; len -= COLUMNS, x += COLUMNS / 4 * GROUP, woven += COLUMNS * LANES)
        lower_columns(woven, kept, errors, x, step, shift, fours, COLUMNS);
    if (len > 0)
        lower_columns(woven, kept, errors, x, step, shift, fours, fours_of(len) * 4);
}

/* Not inlined, so that a loop needs few registers for addresses. */
static FDL_NOINLINE void lower_some(int16_t *woven, const int8_t *errors, const int8_t *x,
                                    size_t len, int32_t shift, size_t fours) {
    if (fours == 1)
        lower_rows(woven, errors, x, len, shift, 1);
    else if (fours == 2)
        lower_rows(woven, errors, x, len, shift, 2);
    else if (fours == 3)
        lower_rows(woven, errors, x, len, shift, 3);
    else
        lower_rows(woven, errors, x, len, shift, fours);
}

static void neon_descend(const fdl_block *block, const fdl_windows *windows, const int8_t *d,
                         int32_t shift) {
    packed_factors x;
    packed_lanes errors;
    if (windows->n == 0)
        return;
    size_t piece = piece_of(windows->n);
    for (size_t at = 0; at < block->len; at += piece) {
        size_t len = smaller(block->len - at, piece);
        pack_columns(&x, windows, at, len);
        for (size_t o = 0; o < block->rows; o += 8) {
            if (o % LANES == 0)
                pack_errors(&errors, d + o, windows->n, block->rows, block->rows - o);
            lower_some(rows_of(block, o) + at * LANES, errors.of[0] + o % LANES * 4, x.of, len,
                       shift, fours_of(windows->n));
        }
    }
}

/* ---- descend_one ---- */

/* 16 rows less SQRDMULH(x, error * 2^up). */
static void lower_by_products(int16_t *woven, int8x16_t errors, int16_t up, const int16_t *x,
                              size_t len) {
    int16x8_t first = vshlq_s16(vmovl_s8(vget_low_s8(errors)), vdupq_n_s16(up));
    int16x8_t last = vshlq_s16(vmovl_high_s8(errors), vdupq_n_s16(up));
    const int16x8_t by[4] = {vzip1q_s16(first, first), vzip2q_s16(first, first),
                             vzip1q_s16(last, last), vzip2q_s16(last, last)};
    for (size_t i = 0; i < len; i += 2, woven += 2 * LANES) {
        int32_t two;
        memcpy(&two, x + i, sizeof two);
        int16x8_t columns = vreinterpretq_s16_s32(vdupq_n_s32(two));
        for (size_t v = 0; v < 4; v++) {
            int16x8_t change = vqrdmulhq_s16(columns, by[v]);
            vst1q_s16(woven + 8 * v, vqsubq_s16(vld1q_s16(woven + 8 * v), change));
        }
    }
}

/* SQRDMULH gives (2 * a * b + 2^15) >> 16: the product is shifted left by 15 - shift before, as far
 * as the inputs have room for it, the rest with the errors. */
static void neon_descend_one(const fdl_block *block, const int8_t *x, const int8_t *d,
                             int32_t shift) {
    int16_t wide[2 * LONGEST];
    int16_t up = (int16_t)(15 - shift), x_up = up < 8 ? up : 8;
    for (size_t at = 0; at < block->len; at += 2 * LONGEST) {
        size_t len = smaller(block->len - at, 2 * LONGEST);
        for (size_t i = 0; i < len; i += LANES) {
            int8x16_t inputs = load_int8(x + at + i, len - i);
            int16x8_t by = vdupq_n_s16(x_up);
            vst1q_s16(wide + i, vshlq_s16(vmovl_s8(vget_low_s8(inputs)), by));
            vst1q_s16(wide + i + 8, vshlq_s16(vmovl_high_s8(inputs), by));
        }
        for (size_t o = 0; o < block->rows; o += LANES) {
            int8x16_t errors = load_int8(d + o, block->rows - o);
            if (vmaxvq_u8(vreinterpretq_u8_s8(errors)) == 0)
                continue;
            lower_by_products(block->at + o * block->step + at * LANES, errors,
                              (int16_t)(up - x_up), wide, len);
        }
    }
}

#endif
