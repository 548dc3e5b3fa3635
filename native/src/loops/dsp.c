/* The inner loops with the DSP extension of ARMv7E-M and ARMv8-M (Cortex-M4, M7, M33, M55): two
 * products of 16 bits an instruction, two saturating subtractions, bytes extended two at a time.
 *
 * Inputs are extended once for all rows, a piece at a time, on the stack. These processors load a
 * word from any address, but two words in one instruction only from a multiple of four: rows of
 * weights that all lie so have loops of their own. */
#include "isa.h"

#if FDL_DSP
#include "../without.h"
#include "../numbers/fixed.h"

#include <arm_acle.h>
#include <string.h>

#define PIECE FDL_PIECE

static INLINE uint32_t load(const void *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static INLINE void store(void *p, uint32_t word) {
    memcpy(p, &word, sizeof word);
}

/* The next two words, and the pointer past them. `aligned` is a constant where this is inlined. */
static INLINE void take_two(const void **p, int aligned, uint32_t *first, uint32_t *second) {
    if (aligned) {
        const uint64_t *both = *p;
        __asm__("ldrd %0, %1, [%2], #8" : "=&r"(*first), "=&r"(*second), "+r"(*p) : "m"(*both));
        return;
    }
    *first = load(*p);
    *second = load((const char *)*p + 4);
    *p = (const char *)*p + 8;
}

/* Two words from a multiple of four. */
static INLINE void load_two(const void *p, uint32_t *first, uint32_t *second) {
    const uint64_t *both = p;
    __asm__("ldrd %0, %1, [%2]" : "=&r"(*first), "=r"(*second) : "r"(p), "m"(*both));
}

static INLINE void put_two(void **p, int aligned, uint32_t first, uint32_t second) {
    if (aligned) {
        uint64_t *both = *p;
        __asm__("strd %2, %3, [%1], #8" : "=m"(*both), "+r"(*p) : "r"(first), "r"(second));
        return;
    }
    store(*p, first);
    store((char *)*p + 4, second);
    *p = (char *)*p + 8;
}

static int is_aligned(const fdl_block *block) {
    return FDL_WITHOUT_ODD_ROWS || ((uintptr_t)block->at | (2 * block->step)) % 4 == 0;
}

/* Bytes 1 and 3 of a word, extended to two int16: of two stored weights, the int8 that multiply. */
static INLINE uint32_t odd_bytes(uint32_t word) {
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

/* Bytes 0 and 2. */
static INLINE uint32_t even_bytes(uint32_t word) {
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
}

/* sum + both products of 16 bits */
static INLINE int32_t add_two(int32_t sum, uint32_t a, uint32_t b) {
    return __smlad((int16x2_t)a, (int16x2_t)b, sum);
}

/* The low halves of two words; the high halves. */
static INLINE uint32_t low_halves(uint32_t first, uint32_t second) {
    return (first & 0xffffu) | second << 16;
}

static INLINE uint32_t high_halves(uint32_t first, uint32_t second) {
    uint32_t pair;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(second), "r"(first));
    return pair;
}

/* ---- dot ---- */

/* len values as pairs of int16, with zeros up to a multiple of four. */
static void extend_pairs(const int8_t *x, size_t len, uint32_t *pairs) {
    for (; len >= 4; len -= 4, x += 4, pairs += 2) {
        uint32_t word = load(x), even = even_bytes(word), odd = odd_bytes(word);
        pairs[0] = low_halves(even, odd);
        pairs[1] = high_halves(even, odd);
    }
    if (len > 0) {
        pairs[0] = low_halves((uint32_t)x[0], len > 1 ? (uint32_t)x[1] : 0);
        pairs[1] = len > 2 ? (uint32_t)x[2] & 0xffffu : 0;
    }
}

/* The next four columns of a row. */
static INLINE int32_t add_columns(int32_t sum, const int16_t **w, int aligned, uint32_t x,
                                  uint32_t y) {
    uint32_t first, second;
    const void *at = *w;
    take_two(&at, aligned, &first, &second);
    *w = at;
    return add_two(add_two(sum, odd_bytes(first), x), odd_bytes(second), y);
}

static INLINE void dot_rows(int32_t *acc, const uint32_t *pairs, const int16_t *w, size_t step,
                            size_t len, int aligned) {
    const int16_t *w0 = w, *w1 = w + step, *w2 = w1 + step, *w3 = w2 + step;
    const uint32_t *end = pairs + len / 4 * 2;
    int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
    while (pairs != end) {
        uint32_t x, y;
        const void *at = pairs;
        take_two(&at, 1, &x, &y);
        pairs = at;
        a0 = add_columns(a0, &w0, aligned, x, y);
        a1 = add_columns(a1, &w1, aligned, x, y);
        a2 = add_columns(a2, &w2, aligned, x, y);
        a3 = add_columns(a3, &w3, aligned, x, y);
    }
    for (size_t i = 0; i < len % 4; i++) {
        int32_t v = ((const int16_t *)pairs)[i];
        a0 += (w0[i] >> 8) * v;
        a1 += (w1[i] >> 8) * v;
        a2 += (w2[i] >> 8) * v;
        a3 += (w3[i] >> 8) * v;
    }
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
}

static FDL_NOINLINE void dot_four(int32_t *acc, const uint32_t *pairs, const int16_t *w,
                                  size_t step, size_t len) {
    dot_rows(acc, pairs, w, step, len, 0);
}

static FDL_NOINLINE void dot_four_aligned(int32_t *acc, const uint32_t *pairs, const int16_t *w,
                                          size_t step, size_t len) {
    dot_rows(acc, pairs, w, step, len, 1);
}

static int32_t dot_one(int32_t sum, const uint32_t *pairs, const int16_t *w, size_t len) {
    for (const uint32_t *end = pairs + len / 4 * 2; pairs != end; pairs += 2)
        sum = add_columns(sum, &w, 0, pairs[0], pairs[1]);
    for (size_t i = 0; i < len % 4; i++)
        sum += (w[i] >> 8) * ((const int16_t *)pairs)[i];
    return sum;
}

static void dot_piece(int32_t *acc, const int8_t *x, const int16_t *w, const fdl_block *block,
                      size_t len) {
    uint32_t pairs[PIECE / 2];
    size_t o = 0;
    int aligned = is_aligned(block);
    extend_pairs(x, len, pairs);
    for (; o + 4 <= block->rows; o += 4, w += 4 * block->step)
        if (aligned)
            dot_four_aligned(acc + o, pairs, w, block->step, len);
        else
            dot_four(acc + o, pairs, w, block->step, len);
    for (; o < block->rows; o++, w += block->step)
        acc[o] = dot_one(acc[o], pairs, w, len);
}

static void dsp_dot(int32_t *acc, const fdl_windows *windows, const fdl_block *block) {
    for (size_t m = 0; m < windows->n; m++, acc += block->rows) {
        const int8_t *x = windows->x + windows->at[m];
        for (size_t start = 0; start < block->len; start += PIECE)
            dot_piece(acc, x + start, block->at + start, block, smaller(block->len - start, PIECE));
    }
}

/* ---- spread ---- */

/* Four columns, all rows: their sums stay in registers. */
static INLINE void spread_columns(int32_t *acc, const int8_t *d, const int16_t *w, size_t rows,
                                  size_t step, int aligned) {
    int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
    for (const int8_t *end = d + rows; d != end; w += step) {
        int32_t factor = *d++;
        uint32_t first, second;
        const void *at = w;
        if (aligned)
            load_two(at, &first, &second);
        else
            take_two(&at, 0, &first, &second);
        first = odd_bytes(first);
        second = odd_bytes(second);
        a0 = __smlabb((int32_t)first, factor, a0);
        a1 = __smlatb((int32_t)first, factor, a1);
        a2 = __smlabb((int32_t)second, factor, a2);
        a3 = __smlatb((int32_t)second, factor, a3);
    }
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
}

/* A function of its own, so that all it needs stays in registers. */
static FDL_NOINLINE void spread_window(int32_t *acc, const int8_t *d, const fdl_block *block) {
    size_t i = 0;
    int aligned = is_aligned(block);
    for (; i + 4 <= block->len; i += 4)
        if (aligned)
            spread_columns(acc + i, d, block->at + i, block->rows, block->step, 1);
        else
            spread_columns(acc + i, d, block->at + i, block->rows, block->step, 0);
    for (; i < block->len; i++)
        for (size_t o = 0; o < block->rows; o++)
            acc[i] += d[o] * (block->at[o * block->step + i] >> 8);
}

static void dsp_spread(int32_t *acc, const uint32_t *at, size_t n, const int8_t *d,
                       const fdl_block *block) {
    for (size_t m = 0; m < n; m++, d += block->rows)
        spread_window(acc + at[m], d, block);
}

#if FDL_HAS_GRADIENT
/* ---- gradient, apply, descend ---- */

/* g[i] += d * x[i] */
static void add_scaled(int32_t *g, const int8_t *x, int32_t d, size_t len) {
    for (; len >= 4; len -= 4, x += 4, g += 4) {
        uint32_t word = load(x), even = even_bytes(word), odd = odd_bytes(word);
        g[0] = __smlabb((int32_t)even, d, g[0]);
        g[1] = __smlabb((int32_t)odd, d, g[1]);
        g[2] = __smlatb((int32_t)even, d, g[2]);
        g[3] = __smlatb((int32_t)odd, d, g[3]);
    }
    for (size_t i = 0; i < len; i++)
        g[i] += d * x[i];
}

static void dsp_gradient(int32_t *g, const fdl_windows *windows, const int8_t *d, size_t d_step,
                         size_t rows, size_t len) {
    for (size_t m = 0; m < windows->n; m++, d += d_step)
        for (size_t r = 0; r < rows; r++)
            if (d[r] != 0)
                add_scaled(g + r * FDL_PIECE, windows->x + windows->at[m], d[r], len);
}

static void dsp_apply(int16_t *stored, const int32_t *g, size_t len, int32_t shift) {
    int32_t half = 1 << (shift - 1);
    for (size_t i = 0; i < len; i++)
        stored[i] = (int16_t)fdl_sat16(stored[i] - fdl_sat16((g[i] + half) >> shift));
}

static void dsp_descend(const fdl_block *block, const fdl_windows *windows, const int8_t *d,
                        int32_t shift) {
    int32_t g[FDL_PIECE];
    for (size_t o = 0; o < block->rows; o++)
        for (size_t start = 0; start < block->len; start += PIECE) {
            fdl_windows piece = {windows->x + start, windows->at, windows->n};
            size_t len = smaller(block->len - start, PIECE);
            for (size_t i = 0; i < len; i++)
                g[i] = 0;
            dsp_gradient(g, &piece, d + o, block->rows, 1, len);
            dsp_apply(block->at + o * block->step + start, g, len, shift);
        }
}

#endif

/* ---- descend_one ---- */

static void extend_words(const int8_t *x, size_t len, int32_t *words) {
    for (; len >= 4; len -= 4, x += 4, words += 4) {
        uint32_t word = load(x);
        words[0] = (int8_t)word;
        words[1] = (int8_t)(word >> 8);
        words[2] = (int8_t)(word >> 16);
        words[3] = (int8_t)(word >> 24);
    }
    for (size_t i = 0; i < len; i++)
        words[i] = x[i];
}

/* High halves of the next two products, rounded. */
static INLINE uint32_t two_products(const void **x, int32_t factor, int32_t half) {
    uint32_t first, second;
    take_two(x, 1, &first, &second);
    return high_halves((uint32_t)((int32_t)first * factor + half),
                       (uint32_t)((int32_t)second * factor + half));
}

/* The next four weights less x * factor * 2^-16. */
static INLINE void lower_four(void **w, int aligned, const void **x, int32_t factor, int32_t half) {
    uint32_t first, second;
    const void *at = *w;
    if (aligned)
        load_two(at, &first, &second);
    else
        take_two(&at, 0, &first, &second);
    first = (uint32_t)__qsub16((int16x2_t)first, (int16x2_t)two_products(x, factor, half));
    second = (uint32_t)__qsub16((int16x2_t)second, (int16x2_t)two_products(x, factor, half));
    put_two(w, aligned, first, second);
}

static INLINE void lower_columns(int16_t *w, const int32_t *x, int32_t factor, size_t len,
                                 int aligned) {
    int32_t half = fdl_opaque(0x8000);
    const void *from = x, *end = x + len / 8 * 8;
    void *to = w;
    while (from != end) {
        lower_four(&to, aligned, &from, factor, half);
        lower_four(&to, aligned, &from, factor, half);
    }
    w = to;
    x = from;
    for (size_t i = 0; i < len % 8; i++)
        w[i] = (int16_t)fdl_sat16(w[i] - ((x[i] * factor + half) >> 16));
}

static FDL_NOINLINE void lower_row(int16_t *w, const int32_t *x, int32_t factor, size_t len) {
    lower_columns(w, x, factor, len, 0);
}

static FDL_NOINLINE void lower_row_aligned(int16_t *w, const int32_t *x, int32_t factor,
                                           size_t len) {
    lower_columns(w, x, factor, len, 1);
}

static void dsp_descend_one(const fdl_block *block, const int8_t *x, const int8_t *d,
                            int32_t shift) {
    int32_t words[PIECE];
    int aligned = is_aligned(block);
    for (size_t start = 0; start < block->len; start += PIECE) {
        int16_t *w = block->at + start;
        size_t len = smaller(block->len - start, PIECE);
        extend_words(x + start, len, words);
        for (size_t o = 0; o < block->rows; o++, w += block->step) {
            int32_t factor = d[o] * (1 << (16 - shift));
            if (factor != 0 && aligned)
                lower_row_aligned(w, words, factor, len);
            else if (factor != 0)
                lower_row(w, words, factor, len);
        }
    }
}

/* ---- Values that lie in a row ---- */

static uint32_t dsp_magnitude(const int32_t *acc, size_t count, uint32_t relu) {
    uint32_t all = 0;
    if (relu)
        for (size_t j = 0; j < count; j++)
            all |= (uint32_t)(acc[j] & ~(acc[j] >> 31));
    else
        for (size_t j = 0; j < count; j++)
            all |= fdl_magnitude(acc[j]);
    return all;
}

static void dsp_narrow(const int32_t *acc, size_t count, int32_t shift, int32_t low, int8_t *q) {
    int32_t half = (1 << shift) >> 1;
    if (low == 0)
        for (size_t j = 0; j < count; j++)
            q[j] = (int8_t)__builtin_arm_usat((acc[j] + half) >> shift, 7);
    else
        for (size_t j = 0; j < count; j++)
            q[j] = (int8_t)fdl_max32(fdl_sat8((acc[j] + half) >> shift), low);
}

const fdl_kernels fdl_dsp = {
    .name = "dsp",
    .dot = dsp_dot,
    .spread = dsp_spread,
#if FDL_HAS_GRADIENT
    .gradient = dsp_gradient,
    .apply = dsp_apply,
    .descend = dsp_descend,
#endif
    .descend_one = dsp_descend_one,
    .magnitude = dsp_magnitude,
    .mask = fdl_plain_mask,
    .scale = fdl_plain_scale,
    .add_up = fdl_plain_add_up,
    .shift = fdl_shift_all,
    .subtract = fdl_subtract_all,
    .has_lowest = fdl_plain_has_lowest,
    .softmax = fdl_softmax,
    .narrow = dsp_narrow,
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
