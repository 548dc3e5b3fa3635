/* Products of matrices with NEON, around functions of the file that includes this one.
 *
 * All products are of lanes with factors. Forwards a lane is a row of weights and its factors are
 * the inputs of a window; backwards a lane is a column, its factors are a window's errors; of the
 * gradient a lane is a row's errors in all windows, its factors are the inputs of a column there:
 * where this file says window, it is a column then.
 *
 * Four factors of 16 lanes lie together, packed in 64 bytes, four vectors; so do four factors of
 * four windows, in GROUP bytes. The file that includes this one says how:
 *
 * GROUP, MOST                     bytes; windows whose sums stay in registers, an even number
 * join_columns(first, last)       four lanes: the int8 of woven weights, of two and two columns
 * order_columns(x)                factors in the order that join_columns() leaves them in
 * turn_lanes(lanes)               of join_columns(): its columns are lanes, its rows factors, in the
 *                                 same order
 * meet_first(pairs, others)       four lanes: two factors of 8 lanes, and two others
 * meet_last(pairs, others)        the other four lanes
 * store_factors(to, four)         four factors of each of four windows to GROUP bytes
 * add_products(first, second, lanes, group, m)   of 8 lanes with windows m and m + 1 of four */
#ifndef FDL_NEON_PRODUCTS_H
#define FDL_NEON_PRODUCTS_H

#include "../numbers/fixed.h"
#include "isa.h"

#include <string.h>

#define LANES      16          /* rows of woven weights */
#define FOUR_WOVEN (4 * LANES) /* weights of four columns */
#define PACKED     16384       /* bytes of factors that are worked on at a time: half of L1 */
#define LONGEST    640         /* factors of a lane, at most */

/* Factors that are packed at a time, of n windows. */
static inline size_t piece_of(size_t n) {
    return smaller(PACKED / (fours_of(n) * GROUP) * 4 / LANES * LANES, LONGEST);
}

/* ---- Loads: `left` values remain, past them are zeros and nothing is touched ---- */

static int8x16_t load_rest(const int8_t *x, size_t left) {
    int8_t bytes[LANES] = {0};
    memcpy(bytes, x, left);
    return vld1q_s8(bytes);
}

static INLINE int8x16_t load_int8(const int8_t *x, size_t left) {
    return left >= LANES ? vld1q_s8(x) : load_rest(x, left);
}

/* Of a run of `len` values those from i on; of a long run its end, moved to the front. */
static INLINE int8x16_t load_part(const int8_t *run, size_t i, size_t len) {
    const uint8x16_t order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    if (i + LANES <= len || len < LANES)
        return load_int8(run + i, len - i);
    uint8x16_t from = vaddq_u8(order, vdupq_n_u8((uint8_t)(i + LANES - len)));
    return vqtbl1q_s8(vld1q_s8(run + len - LANES), from);
}

/* ---- Products ---- */

/* Of 16 lanes, four factors each. */
typedef struct {
    int8_t of[LONGEST / 4][4 * LANES];
} packed_lanes;

typedef struct {
    int8_t of[PACKED];
} packed_factors;

/* Sums of 8 lanes and some windows. */
typedef struct {
    int32x4_t of[MOST][2];
} tile;

static INLINE void start_tile(tile *t, size_t count, int32_t start) {
    for (size_t m = 0; m < count; m++)
        t->of[m][0] = t->of[m][1] = vdupq_n_s32(start);
}

/* Four factors of 8 lanes and of `count` windows, an even number. */
static INLINE void sum_four(tile *t, const int8x16_t lanes[2], const int8_t *factors,
                            size_t count) {
    for (size_t m = 0; m < count; m += 2)
        add_products(t->of[m], t->of[m + 1], lanes, factors + m / 4 * GROUP, m % 4);
}

static INLINE void load_lanes(int8x16_t lanes[2], const int8_t *packed) {
    lanes[0] = vld1q_s8(packed);
    lanes[1] = vld1q_s8(packed + 16);
}

/* Four factors of four lanes. */
static INLINE int8x16_t load_weights(const int16_t *woven) {
    return join_columns(vreinterpretq_s8_s16(vld1q_s16(woven)),
                        vreinterpretq_s8_s16(vld1q_s16(woven + 2 * LANES)));
}

/* The inner loop: lanes are packed, or woven weights; `step` bytes lie between four factors and the
 * next. */
static INLINE void sum_products(tile *t, const int8_t *packed, const int16_t *woven,
                                const int8_t *factors, size_t step, size_t fours, size_t count) {
    for (; fours > 0; fours--, factors += step) {
        int8x16_t lanes[2];
        if (packed) {
            load_lanes(lanes, packed);
            packed += 4 * LANES;
        } else {
            lanes[0] = load_weights(woven);
            lanes[1] = load_weights(woven + 8);
            woven += FOUR_WOVEN;
        }
        sum_four(t, lanes, factors, count);
    }
}

/* ---- Packing ---- */

/* LANES factors of each of four windows, as store_factors() wants them. */
static INLINE void join_windows(int8x16_t four[4], const int8x16_t x[4]) {
    int32x4_t a = vreinterpretq_s32_s8(x[0]), b = vreinterpretq_s32_s8(x[1]);
    int32x4_t c = vreinterpretq_s32_s8(x[2]), d = vreinterpretq_s32_s8(x[3]);
    int64x2_t low01 = vreinterpretq_s64_s32(vzip1q_s32(a, b));
    int64x2_t high01 = vreinterpretq_s64_s32(vzip2q_s32(a, b));
    int64x2_t low23 = vreinterpretq_s64_s32(vzip1q_s32(c, d));
    int64x2_t high23 = vreinterpretq_s64_s32(vzip2q_s32(c, d));
    four[0] = vreinterpretq_s8_s64(vzip1q_s64(low01, low23));
    four[1] = vreinterpretq_s8_s64(vzip2q_s64(low01, low23));
    four[2] = vreinterpretq_s8_s64(vzip1q_s64(high01, high23));
    four[3] = vreinterpretq_s8_s64(vzip2q_s64(high01, high23));
}

/* `len` values of each window: [four factors][four windows][GROUP], with room for whole vectors. */
static void pack_windows(packed_factors *to, const int8_t *from, const uint32_t *at, size_t n,
                         size_t len) {
    for (size_t m = 0; m < n; m += 4) {
        int8_t *next = to->of + m / 4 * GROUP;
        const int8_t *window[4];
        for (size_t w = 0; w < 4; w++)
            window[w] = from + at[smaller(m + w, n - 1)];
        for (size_t i = 0; i < len; i += LANES) {
            int8x16_t x[4], four[4];
            for (size_t w = 0; w < 4; w++)
                x[w] = order_columns(load_part(window[w], i, len));
            join_windows(four, x);
            for (size_t k = 0; k < 4; k++, next += fours_of(n) * GROUP)
                store_factors(next, four[k]);
        }
    }
}

/* 16 columns, or fewer, of some rows: four rows to each lane. */
static void turn_weights(packed_lanes *to, const int16_t *woven, size_t step, size_t rows,
                         size_t columns) {
    for (size_t o = 0; o < rows; o += LANES)
        for (size_t k = 0; k < 4; k++)
            for (size_t v = 0; v < 4; v++) {
                const int16_t *at = woven + o * step + k * FOUR_WOVEN + 8 * v;
                int8x16_t four = 4 * k < columns ? load_weights(at) : vdupq_n_s8(0);
                vst1q_s8(to->of[o / 4 + v] + 16 * k, turn_lanes(four));
            }
}

/* 16 lanes of four windows: lanes 0 to 3 in to[0], 12 to 15 in to[3]. */
static INLINE void interleave(int8x16_t to[4], const int8x16_t x[4]) {
    int8x16_t low01 = vzip1q_s8(x[0], x[1]), high01 = vzip2q_s8(x[0], x[1]);
    int8x16_t low23 = vzip1q_s8(x[2], x[3]), high23 = vzip2q_s8(x[2], x[3]);
    to[0] = meet_first(low01, low23);
    to[1] = meet_last(low01, low23);
    to[2] = meet_first(high01, high23);
    to[3] = meet_last(high01, high23);
}

/* The same, each lane's four side by side. */
static INLINE void interleave_bytes(int8x16_t to[4], const int8x16_t x[4]) {
    int16x8_t low01 = vreinterpretq_s16_s8(vzip1q_s8(x[0], x[1]));
    int16x8_t high01 = vreinterpretq_s16_s8(vzip2q_s8(x[0], x[1]));
    int16x8_t low23 = vreinterpretq_s16_s8(vzip1q_s8(x[2], x[3]));
    int16x8_t high23 = vreinterpretq_s16_s8(vzip2q_s8(x[2], x[3]));
    to[0] = vreinterpretq_s8_s16(vzip1q_s16(low01, low23));
    to[1] = vreinterpretq_s8_s16(vzip2q_s16(low01, low23));
    to[2] = vreinterpretq_s8_s16(vzip1q_s16(high01, high23));
    to[3] = vreinterpretq_s8_s16(vzip2q_s16(high01, high23));
}

/* The errors of 16 rows, or fewer. */
static void pack_errors(packed_lanes *to, const int8_t *d, size_t n, size_t d_step, size_t rows) {
    for (size_t m = 0; m < n; m += 4) {
        int8x16_t x[4], four[4];
        for (size_t i = 0; i < 4; i++)
            x[i] = m + i < n ? load_int8(d + (m + i) * d_step, rows) : vdupq_n_s8(0);
        interleave(four, x);
        for (size_t v = 0; v < 4; v++)
            vst1q_s8(to->of[m / 4] + 16 * v, four[v]);
    }
}

/* Bytes from four windows of packed columns to the next. */
static inline size_t columns_step(size_t len) {
    return (len + LANES - 1) / LANES * 4 * GROUP;
}

/* Columns at to at + len of all windows: [four windows][four columns][GROUP]. What comes after the
 * last window meets errors of 0. */
static void pack_columns(packed_factors *to, const fdl_windows *windows, size_t at, size_t len) {
    int8_t *next = to->of;
    for (size_t m = 0; m < windows->n; m += 4) {
        const int8_t *window[4];
        for (size_t w = 0; w < 4; w++)
            window[w] = windows->x + windows->at[smaller(m + w, windows->n - 1)] + at;
        for (size_t c = 0; c < len; c += LANES) {
            int8x16_t x[4], four[4];
            for (size_t w = 0; w < 4; w++)
                x[w] = load_part(window[w], c, len);
            interleave_bytes(four, x);
            for (size_t i = 0; i < 4; i++, next += GROUP)
                store_factors(next, four[i]);
        }
    }
}

#endif
