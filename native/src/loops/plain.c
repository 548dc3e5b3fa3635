/* The inner loops in plain C, for processors without vectors: a few rows at a time, so that an input
 * is loaded once, and nothing is done for an input of 0: many are, behind a ReLU. */
#include "kernels.h"
#include "../without.h"
#include "../numbers/fixed.h"

#include <string.h>

/* The int8 weights of a row: every second byte. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define HIGH_BYTE 0
#else
#define HIGH_BYTE 1
#endif

static inline const int8_t *high_bytes(const int16_t *stored) {
    return (const int8_t *)stored + HIGH_BYTE;
}

/* Input i times four weights. A macro: a function would reach the four sums by pointers, and
 * where a compiler does not inline it, they would lie in memory. */
#define COLUMN(i)                                                                                  \
    do {                                                                                           \
        int32_t v = x[i];                                                                          \
        if (v != 0) {                                                                              \
            a0 += w0[2 * (i)] * v;                                                                 \
            a1 += w1[2 * (i)] * v;                                                                 \
            a2 += w2[2 * (i)] * v;                                                                 \
            a3 += w3[2 * (i)] * v;                                                                 \
        }                                                                                          \
    } while (0)

/* A function of its own, and one input at a time, so that all it needs stays in registers. */
FDL_NOINLINE static void dot_four(int32_t *acc, const int8_t *x, const int16_t *w, size_t step,
                                  size_t len) {
    const int8_t *w0 = high_bytes(w), *w1 = high_bytes(w + step);
    const int8_t *w2 = high_bytes(w + 2 * step), *w3 = high_bytes(w + 3 * step);
    int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
    for (const int8_t *end = x + len / 4 * 4; x != end; x += 4) {
        COLUMN(0);
        COLUMN(1);
        COLUMN(2);
        COLUMN(3);
        w0 += 8;
        w1 += 8;
        w2 += 8;
        w3 += 8;
    }
    for (size_t i = 0; i < len % 4; i++)
        COLUMN(i);
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
}

static int32_t dot_one(int32_t acc, const int8_t *x, const int16_t *w, size_t len) {
    const int8_t *high = high_bytes(w);
    for (size_t i = 0; i < len; i++)
        acc += high[2 * i] * x[i];
    return acc;
}

static void plain_dot(int32_t *acc, const fdl_windows *windows, const fdl_block *block) {
    for (size_t m = 0; m < windows->n; m++, acc += block->rows) {
        const int8_t *x = windows->x + windows->at[m];
        const int16_t *w = block->at;
        size_t o = 0;
        for (; o + 4 <= block->rows; o += 4, w += 4 * block->step)
            dot_four(acc + o, x, w, block->step, block->len);
        for (; o < block->rows; o++, w += block->step)
            acc[o] = dot_one(acc[o], x, w, block->len);
    }
}

/* Four rows at a time, so that an accumulator is loaded and stored once for them. */
static void spread_four(int32_t *acc, const int8_t *d, const int16_t *w, size_t step, size_t len) {
    const int8_t *w0 = high_bytes(w), *w1 = high_bytes(w + step);
    const int8_t *w2 = high_bytes(w + 2 * step), *w3 = high_bytes(w + 3 * step);
    int32_t d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];
    for (size_t i = 0; i < 2 * len; i += 2)
        *acc++ += d0 * w0[i] + d1 * w1[i] + d2 * w2[i] + d3 * w3[i];
}

static void spread_one(int32_t *acc, int32_t d, const int16_t *w, size_t len) {
    const int8_t *high = high_bytes(w);
    for (size_t i = 0; i < len; i++)
        acc[i] += d * high[2 * i];
}

/* A function of its own, so that all it needs stays in registers. */
FDL_NOINLINE static void spread_window(int32_t *acc, const int8_t *d, const fdl_block *block) {
    const int16_t *w = block->at;
    size_t o = 0;
    for (; o + 4 <= block->rows; o += 4, w += 4 * block->step)
        if (d[o] | d[o + 1] | d[o + 2] | d[o + 3])
            spread_four(acc, d + o, w, block->step, block->len);
    for (; o < block->rows; o++, w += block->step)
        spread_one(acc, d[o], w, block->len);
}

static void plain_spread(int32_t *acc, const uint32_t *at, size_t n, const int8_t *d,
                         const fdl_block *block) {
    for (size_t m = 0; m < n; m++, d += block->rows)
        spread_window(acc + at[m], d, block);
}

#if FDL_HAS_GRADIENT
static void plain_gradient(int32_t *g, const fdl_windows *windows, const int8_t *d, size_t d_step,
                           size_t rows, size_t len) {
    for (size_t m = 0; m < windows->n; m++, d += d_step) {
        const int8_t *x = windows->x + windows->at[m];
        for (size_t r = 0; r < rows; r++) {
            int32_t *to = g + r * FDL_PIECE;
            int32_t factor = d[r];
            if (factor == 0)
                continue;
            for (size_t i = 0; i < len; i++)
                to[i] += factor * x[i];
        }
    }
}

static void plain_apply(int16_t *stored, const int32_t *g, size_t len, int32_t shift) {
    int32_t half = 1 << (shift - 1);
    for (size_t i = 0; i < len; i++)
        stored[i] = (int16_t)fdl_sat16(stored[i] - fdl_sat16((g[i] + half) >> shift));
}

static void plain_descend(const fdl_block *block, const fdl_windows *windows, const int8_t *d,
                          int32_t shift) {
    int32_t g[FDL_PIECE];
    for (size_t o = 0; o < block->rows; o++)
        for (size_t start = 0; start < block->len; start += FDL_PIECE) {
            fdl_windows piece = {windows->x + start, windows->at, windows->n};
            size_t len = smaller(block->len - start, FDL_PIECE);
            for (size_t i = 0; i < len; i++)
                g[i] = 0;
            plain_gradient(g, &piece, d + o, block->rows, 1, len);
            plain_apply(block->at + o * block->step + start, g, len, shift);
        }
}
#endif

/* x * factor * 2^-16, rounded, away from a weight. */
static inline void lower(int16_t *stored, int32_t x, int32_t factor, int32_t half) {
    if (x != 0)
        *stored = (int16_t)fdl_sat16(*stored - ((x * factor + half) >> 16));
}

static void lower_row(int16_t *w, const int8_t *x, int32_t factor, size_t len) {
    int32_t half = fdl_opaque(0x8000);
    for (const int8_t *end = x + len / 4 * 4; x != end; x += 4, w += 4) {
        lower(&w[0], x[0], factor, half);
        lower(&w[1], x[1], factor, half);
        lower(&w[2], x[2], factor, half);
        lower(&w[3], x[3], factor, half);
    }
    for (size_t i = 0; i < len % 4; i++)
        lower(&w[i], x[i], factor, half);
}

/* x * (d * 2^(16 - shift)) has at most 14 + 15 bits; the shift by 16 is free on many processors. */
static void plain_descend_one(const fdl_block *block, const int8_t *x, const int8_t *d,
                              int32_t shift) {
    int16_t *w = block->at;
    for (size_t o = 0; o < block->rows; o++, w += block->step)
        if (d[o] != 0)
            lower_row(w, x, d[o] * (1 << (16 - shift)), block->len);
}

static uint32_t plain_magnitude(const int32_t *acc, size_t count, uint32_t relu) {
    uint32_t all = 0;
    if (relu)
        for (size_t j = 0; j < count; j++)
            all |= (uint32_t)(acc[j] & ~(acc[j] >> 31));
    else
        for (size_t j = 0; j < count; j++)
            all |= fdl_magnitude(acc[j]);
    return all;
}

/* A choice, not a jump: which errors a ReLU lets pass is not to be foreseen. */
uint32_t fdl_plain_mask(int32_t *acc, const int8_t *h, size_t count) {
    uint32_t all = 0;
    for (size_t j = 0; j < count; j++) {
        acc[j] = h[j] > 0 ? acc[j] : 0;
        all |= fdl_magnitude(acc[j]);
    }
    return all;
}

uint32_t fdl_plain_scale(int32_t *acc, size_t count, int32_t mantissa) {
    uint32_t all = 0;
    for (size_t j = 0; j < count; j++) {
        acc[j] = (acc[j] * mantissa + 64) >> 7;
        all |= fdl_magnitude(acc[j]);
    }
    return all;
}

void fdl_plain_add_up(int32_t *sums, const int8_t *x, size_t n, size_t count) {
    for (size_t c = 0; c < count; c++)
        sums[c] = x[c];
    while (--n > 0) {
        x += count;
        for (size_t c = 0; c < count; c++)
            sums[c] += x[c];
    }
}

/* Whether one of four bytes is 0x80: none of x ^ 0x80 is 0 (Lamport 1975). */
static uint32_t one_is_lowest(const int8_t *x) {
    uint32_t word;
    memcpy(&word, x, sizeof word);
    word ^= 0x80808080u;
    return (word - 0x01010101u) & ~word & 0x80808080u;
}

int fdl_plain_has_lowest(const int8_t *x, size_t count) {
    uint32_t found = 0;
    size_t i = 0;
    for (; i + 4 <= count; i += 4)
        found |= one_is_lowest(x + i);
    for (; i < count; i++)
        found |= x[i] == -128;
    return found != 0;
}

static void plain_narrow(const int32_t *acc, size_t count, int32_t shift, int32_t low, int8_t *q) {
    int32_t half = (1 << shift) >> 1;
    for (size_t j = 0; j < count; j++)
        q[j] = (int8_t)fdl_max32(fdl_sat8((acc[j] + half) >> shift), low);
}

const fdl_kernels fdl_plain = {
    .name = "plain",
    .dot = plain_dot,
    .spread = plain_spread,
#if FDL_HAS_GRADIENT
    .gradient = plain_gradient,
    .apply = plain_apply,
    .descend = plain_descend,
#endif
    .descend_one = plain_descend_one,
    .magnitude = plain_magnitude,
    .mask = fdl_plain_mask,
    .scale = fdl_plain_scale,
    .add_up = fdl_plain_add_up,
    .shift = fdl_shift_all,
    .subtract = fdl_subtract_all,
    .has_lowest = fdl_plain_has_lowest,
    .softmax = fdl_softmax,
    .narrow = plain_narrow,
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
