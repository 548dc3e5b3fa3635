/* The inner loops with AVX2: VPMADDWD makes 16 products of 16 bits and 8 sums of 32. */
#include "isa.h"
#include "vectors.h"

#if FDL_X86
#include FDL_IMMINTRIN
#include <string.h>

#define AVX2 FDL_TARGET("avx2")
#define WIDE 8192 /* inputs of 16 bits that are worked on at a time: half of the L1 cache */

/* ---- Loads ---- */

static AVX2 INLINE __m256i load(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

static AVX2 INLINE void store(void *p, __m256i v) {
    _mm256_storeu_si256((__m256i *)p, v);
}

/* Sums of products. gcc copies sums of type __m256i from register to register in a loop: its
 * additions have another type. */
typedef int32_t sums __attribute__((vector_size(32)));

static AVX2 INLINE void add_products(sums *to, __m256i a, __m256i b) {
    *to += (sums)_mm256_madd_epi16(a, b);
}

static AVX2 INLINE __m256i load_weights(const int16_t *stored) {
    return _mm256_srai_epi16(load(stored), 8);
}

static AVX2 INLINE __m128i fresh(span s, size_t v) {
    return _mm_loadu_si128((const __m128i *)fresh_mask(s, v));
}

/* VPUNPCK and VPACK work on halves of a register: of 16 columns, low has 0-3 and 8-11, high the
 * others. In order: */
static AVX2 INLINE __m256i first_half(sums low, sums high) {
    return _mm256_permute2x128_si256((__m256i)low, (__m256i)high, 0x20);
}

static AVX2 INLINE __m256i second_half(sums low, sums high) {
    return _mm256_permute2x128_si256((__m256i)low, (__m256i)high, 0x31);
}

static AVX2 INLINE __m256i load_inputs(const int8_t *x, span s, size_t v) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(x + place(s, v)));
    return _mm256_cvtepi8_epi16(_mm_and_si128(bytes, fresh(s, v)));
}

/* ---- dot ---- */

/* Sums of 8 vectors: of the first in lane 0, of the last in lane 7. */
static AVX2 INLINE __m256i add_across(const sums v[8]) {
    __m256i pair[4];
    for (size_t i = 0; i < 4; i++)
        pair[i] = _mm256_hadd_epi32((__m256i)v[2 * i], (__m256i)v[2 * i + 1]);
    __m256i low = _mm256_hadd_epi32(pair[0], pair[1]), high = _mm256_hadd_epi32(pair[2], pair[3]);
    return _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20),
                            _mm256_permute2x128_si256(low, high, 0x31));
}

/* 8 / count rows and `count` windows, x[vector][window][LANES]; the sums window by window. Rows
 * that there are not are the last again. */
static AVX2 INLINE __m256i dot_tile(const int16_t *w, size_t step, size_t rows, const int16_t *x,
                                    size_t count, span s) {
    sums sum[8] = {{0}};
    const int16_t *row[8];
    for (size_t r = 0; r < 8 / count; r++)
        row[r] = w + smaller(r, rows - 1) * step;
    for (size_t v = 0; v < vectors_of(s); v++, x += count * LANES)
        for (size_t r = 0; r < 8 / count; r++) {
            __m256i weights = load_weights(row[r] + place(s, v));
            for (size_t m = 0; m < count; m++)
                add_products(&sum[m * (8 / count) + r], weights, load(x + m * LANES));
        }
    return add_across(sum);
}

static AVX2 INLINE void add_sums(int32_t *acc, const int32_t *sum, size_t count) {
    for (size_t i = 0; i < count; i++)
        acc[i] += sum[i];
}

static AVX2 INLINE void dot_windows(int32_t *acc, const fdl_block *block, const int16_t *x,
                                    size_t count, span s) {
    const int16_t *w = block->at;
    size_t tile = 8 / count;
    for (size_t o = 0; o < block->rows; o += tile, w += tile * block->step) {
        size_t rows = smaller(block->rows - o, tile);
        int32_t sum[8];
        store(sum, dot_tile(w, block->step, rows, x, count, s));
        for (size_t m = 0; m < count; m++)
            if (rows == tile) /* a constant: the additions become vectors */
                add_sums(acc + m * block->rows + o, sum + m * tile, tile);
            else
                add_sums(acc + m * block->rows + o, sum + m * tile, rows);
    }
}

static AVX2 void dot_four(int32_t *acc, const fdl_block *block, const int16_t *x, span s) {
    dot_windows(acc, block, x, 4, s);
}

static AVX2 void dot_one(int32_t *acc, const fdl_block *block, const int16_t *x, span s) {
    dot_windows(acc, block, x, 1, s);
}

/* `count` windows from number m on, vector by vector. */
static AVX2 void widen(const fdl_windows *windows, size_t m, size_t count, span s, int16_t *wide) {
    for (size_t i = 0; i < count; i++)
        for (size_t v = 0; v < vectors_of(s); v++)
            store(wide + (v * count + i) * LANES,
                  load_inputs(windows->x + windows->at[m + i], s, v));
}

static AVX2 void avx2_dot(int32_t *acc, const fdl_windows *windows, const fdl_block *block) {
    _Alignas(32) int16_t wide[WIDE];
    if (block->len < LANES) {
        fdl_plain.dot(acc, windows, block);
        return;
    }
    for (size_t start = 0; start < block->len; start += WIDE / 4) {
        span s = {start, smaller(start + WIDE / 4, block->len)};
        size_t m = 0;
        for (; m + 4 <= windows->n; m += 4) {
            widen(windows, m, 4, s, wide);
            dot_four(acc + m * block->rows, block, wide, s);
        }
        for (; m < windows->n; m++) {
            widen(windows, m, 1, s, wide);
            dot_one(acc + m * block->rows, block, wide, s);
        }
    }
}

/* ---- spread, descend_one ---- */

static AVX2 INLINE void add_fresh(int32_t *acc, __m256i v, __m128i mask) {
    v = _mm256_and_si256(v, _mm256_cvtepi8_epi32(mask));
    store(acc, _mm256_add_epi32(load(acc), v));
}

/* An even number of live rows, the errors of each two of them in 32 bits. */
static AVX2 INLINE void spread_vector(int32_t *acc, const live_rows *live, const int32_t *error,
                                      span s, size_t v) {
    size_t at = place(s, v);
    sums low = {0}, high = {0};
    for (size_t i = 0; i < live->count; i += 2) {
        __m256i errors = _mm256_set1_epi32(error[i / 2]);
        __m256i row0 = load_weights(live->row[i] + at), row1 = load_weights(live->row[i + 1] + at);
        add_products(&low, _mm256_unpacklo_epi16(row0, row1), errors);
        add_products(&high, _mm256_unpackhi_epi16(row0, row1), errors);
    }
    add_fresh(acc + at, first_half(low, high), fresh(s, v));
    add_fresh(acc + at + 8, second_half(low, high), _mm_srli_si128(fresh(s, v), 8));
}

static AVX2 void spread_window(int32_t *acc, const int8_t *d, const fdl_block *block) {
    span s = {0, block->len};
    for (size_t o = 0; o < block->rows; o += ROWS) {
        live_rows live;
        int32_t error[ROWS / 2];
        find_live(&live, d, block, o);
        pair_live(&live, error);
        for (size_t v = 0; v < vectors_of(s); v++)
            spread_vector(acc, &live, error, s, v);
    }
}

static AVX2 void avx2_spread(int32_t *acc, const uint32_t *at, size_t n, const int8_t *d,
                             const fdl_block *block) {
    if (block->len < LANES) {
        fdl_plain.spread(acc, at, n, d, block);
        return;
    }
    for (size_t m = 0; m < n; m++, d += block->rows)
        spread_window(acc + at[m], d, block);
}

/* `rows` rows less VPMULHRSW(x, error * 2^up) each. */
static AVX2 INLINE void lower_rows(int16_t *const *row, const int8_t *error, int32_t up,
                                   size_t rows, const int16_t *x, span s) {
    for (size_t v = 0; v < vectors_of(s); v++) {
        __m256i inputs = load(x + v * LANES);
        for (size_t r = 0; r < rows; r++) {
            int16_t *stored = row[r] + place(s, v);
            __m256i factor = _mm256_set1_epi16((int16_t)(error[r] * (1 << up)));
            __m256i change = _mm256_mulhrs_epi16(inputs, factor);
            store(stored, _mm256_subs_epi16(load(stored), change));
        }
    }
}

static AVX2 void lower_live(const live_rows *live, int32_t up, const int16_t *x, span s) {
    size_t i = 0;
    for (; i + 4 <= live->count; i += 4)
        lower_rows(live->row + i, live->error + i, up, 4, x, s);
    for (; i < live->count; i++)
        lower_rows(live->row + i, live->error + i, up, 1, x, s);
}

/* VPMULHRSW gives (a * b + 2^14) >> 15: the product is shifted left by 15 - shift before, as far
 * as the inputs have room for it, the rest with the errors. */
static AVX2 void avx2_descend_one(const fdl_block *block, const int8_t *x, const int8_t *d,
                                  int32_t shift) {
    _Alignas(32) int16_t wide[WIDE];
    int32_t up = 15 - shift, x_up = up < 8 ? up : 8;
    if (block->len < LANES) {
        fdl_plain.descend_one(block, x, d, shift);
        return;
    }
    for (size_t start = 0; start < block->len; start += WIDE) {
        span s = {start, smaller(start + WIDE, block->len)};
        for (size_t v = 0; v < vectors_of(s); v++)
            store(wide + v * LANES,
                  _mm256_sll_epi16(load_inputs(x, s, v), _mm_cvtsi32_si128(x_up)));
        for (size_t o = 0; o < block->rows; o += ROWS) {
            live_rows live;
            find_live(&live, d, block, o);
            lower_live(&live, up - x_up, wide, s);
        }
    }
}

/* ---- gradient, descend ---- */

/* LANES errors, or with fewer before the end 0 after them. */
static AVX2 INLINE __m256i load_errors(const int8_t *d, const int8_t *end) {
    int8_t bytes[LANES] = {0};
    if (end - d >= LANES)
        return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)d));
    memcpy(bytes, d, (size_t)(end - d));
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)bytes));
}

/* LANES rows from row o on; all their pairs or-ed together. Past the last row come errors of the
 * next window: nobody asks for them. */
static AVX2 void pair_some_errors(window_errors *e, size_t o, const int8_t *d, size_t n,
                                  size_t d_step, const int8_t *end, int32_t any[LANES]) {
    __m256i any_first = _mm256_setzero_si256(), any_second = any_first;
    for (size_t m = 0; m < n; m += 2) {
        __m256i even = load_errors(d + m * d_step, end), odd = _mm256_setzero_si256();
        if (m + 1 < n)
            odd = load_errors(d + (m + 1) * d_step, end);
        sums low = (sums)_mm256_unpacklo_epi16(even, odd);
        sums high = (sums)_mm256_unpackhi_epi16(even, odd);
        store(e->of[m / 2] + o, first_half(low, high));
        store(e->of[m / 2] + o + 8, second_half(low, high));
        any_first = _mm256_or_si256(any_first, first_half(low, high));
        any_second = _mm256_or_si256(any_second, second_half(low, high));
    }
    store(any, any_first);
    store(any + 8, any_second);
}

static AVX2 void pair_errors(window_errors *e, const int8_t *d, size_t n, size_t d_step,
                             size_t rows) {
    const int8_t *end = d + (n - 1) * d_step + rows;
    no_errors(e);
    for (size_t o = 0; o < rows; o += LANES) {
        int32_t any[LANES];
        pair_some_errors(e, o, d + o, n, d_step, end, any);
        keep_live(e, o, smaller(rows - o, LANES), any);
    }
}

/* Windows as pairs, too: wide[vector][pair][2][LANES]. */
static AVX2 void pair_windows(const fdl_windows *windows, span s, int16_t *wide) {
    for (size_t v = 0; v < vectors_of(s); v++)
        for (size_t m = 0; m < windows->n; m += 2, wide += 2 * LANES) {
            const int8_t *x = windows->x;
            __m256i even = load_inputs(x + windows->at[m], s, v), odd = _mm256_setzero_si256();
            if (m + 1 < windows->n)
                odd = load_inputs(x + windows->at[m + 1], s, v);
            store(wide, _mm256_unpacklo_epi16(even, odd));
            store(wide + LANES, _mm256_unpackhi_epi16(even, odd));
        }
}

/* Sums over all windows of four rows and LANES columns. */
typedef struct {
    sums low[4], high[4];
} tile;

/* x: one vector of pair_windows(). */
static AVX2 INLINE void sum_tile(tile *t, int32_t start, const int16_t *x, size_t pairs,
                                 const int32_t *const error[4]) {
    for (size_t r = 0; r < 4; r++)
        t->low[r] = t->high[r] = (sums)_mm256_set1_epi32(start);
    for (size_t p = 0; p < pairs; p++, x += 2 * LANES) {
        __m256i low = load(x), high = load(x + LANES);
        for (size_t r = 0; r < 4; r++) {
            __m256i errors = _mm256_set1_epi32(error[r][p * ERROR_STEP]);
            add_products(&t->low[r], low, errors);
            add_products(&t->high[r], high, errors);
        }
    }
}

static AVX2 void avx2_gradient(int32_t *g, const fdl_windows *windows, const int8_t *d,
                               size_t d_step, size_t rows, size_t len) {
    _Alignas(32) int16_t wide[FDL_PIECE * FDL_WINDOWS];
    size_t pairs = (windows->n + 1) / 2;
    span s = {0, len};
    window_errors e;
    if (len < LANES || rows == 0 || pairs == 0) {
        fdl_plain.gradient(g, windows, d, d_step, rows, len);
        return;
    }
    pair_errors(&e, d, windows->n, d_step, rows);
    pair_windows(windows, s, wide);
    for (size_t v = 0; v < vectors_of(s); v++) {
        const int32_t *const error[4] = {e.of[0], e.of[0] + 1, e.of[0] + 2, e.of[0] + 3};
        tile t;
        sum_tile(&t, 0, wide + v * pairs * 2 * LANES, pairs, error);
        for (size_t r = 0; r < rows; r++) {
            int32_t *to = g + r * FDL_PIECE + place(s, v);
            store(to, _mm256_add_epi32(load(to), first_half(t.low[r], t.high[r])));
            store(to + 8, _mm256_add_epi32(load(to + 8), second_half(t.low[r], t.high[r])));
        }
    }
}

static AVX2 INLINE __m256i shift_right(sums v, int32_t shift) {
    return _mm256_sra_epi32((__m256i)v, _mm_cvtsi32_si128(shift));
}

static AVX2 void avx2_apply(int16_t *stored, const int32_t *g, size_t len, int32_t shift) {
    sums half = (sums)_mm256_set1_epi32(1 << (shift - 1));
    size_t i = 0;
    for (; i + LANES <= len; i += LANES) {
        __m256i first = shift_right((sums)load(g + i) + half, shift);
        __m256i second = shift_right((sums)load(g + i + 8) + half, shift);
        __m256i change = _mm256_permute4x64_epi64(_mm256_packs_epi32(first, second), 0xd8);
        store(stored + i, _mm256_subs_epi16(load(stored + i), change));
    }
    fdl_plain.apply(stored + i, g + i, len - i, shift);
}

static AVX2 void descend_four(const four_rows *four, const int16_t *wide, size_t pairs, span s,
                              int32_t shift) {
    for (size_t v = 0; v < vectors_of(s); v++) {
        tile t;
        sum_tile(&t, 1 << (shift - 1), wide + v * pairs * 2 * LANES, pairs, four->error);
        for (size_t r = 0; r < 4; r++) {
            int16_t *stored = four->row[r] + place(s, v);
            __m256i low = shift_right(t.low[r], shift), high = shift_right(t.high[r], shift);
            store(stored, _mm256_subs_epi16(load(stored), _mm256_packs_epi32(low, high)));
        }
    }
}

static AVX2 void avx2_descend(const fdl_block *block, const fdl_windows *windows, const int8_t *d,
                              int32_t shift) {
    _Alignas(32) int16_t wide[WIDE];
    size_t pairs = (windows->n + 1) / 2;
    if (block->len < LANES || pairs == 0) {
        fdl_plain.descend(block, windows, d, shift);
        return;
    }
    size_t piece = WIDE / (2 * pairs) / LANES * LANES;
    for (size_t o = 0; o < block->rows; o += ROWS) {
        int16_t *w = block->at + o * block->step;
        window_errors e;
        pair_errors(&e, d + o, windows->n, block->rows, smaller(block->rows - o, ROWS));
        for (size_t start = 0; start < block->len; start += piece) {
            span s = {start, smaller(start + piece, block->len)};
            pair_windows(windows, s, wide);
            for (size_t i = 0; i < e.count; i += 4) {
                four_rows four = take_four(&e, i, w, block->step);
                descend_four(&four, wide, pairs, s, shift);
            }
        }
    }
}

/* ---- Values that lie in a row ---- */

static AVX2 uint32_t avx2_magnitude(const int32_t *acc, size_t count, uint32_t relu) {
    __m256i all = _mm256_setzero_si256();
    uint32_t lanes[8];
    size_t j = 0;
    for (; j + 8 <= count; j += 8) {
        __m256i v = load(acc + j);
        v = relu ? _mm256_max_epi32(v, _mm256_setzero_si256()) : _mm256_abs_epi32(v);
        all = _mm256_or_si256(all, v);
    }
    store(lanes, all);
    uint32_t rest = fdl_plain.magnitude(acc + j, count - j, relu);
    for (size_t i = 0; i < 8; i++)
        rest |= lanes[i];
    return rest;
}

static AVX2 uint32_t avx2_mask(int32_t *acc, const int8_t *h, size_t count) {
    size_t j = 0;
    for (; j + 8 <= count; j += 8) {
        __m256i passes =
            _mm256_cmpgt_epi32(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(h + j))),
                               _mm256_setzero_si256());
        store(acc + j, _mm256_and_si256(load(acc + j), passes));
    }
    return avx2_magnitude(acc, j, 0) | fdl_plain.mask(acc + j, h + j, count - j);
}

static AVX2 uint32_t avx2_scale(int32_t *acc, size_t count, int32_t mantissa) {
    size_t j = 0;
    for (; j + 8 <= count; j += 8) {
        __m256i v = _mm256_mullo_epi32(load(acc + j), _mm256_set1_epi32(mantissa));
        store(acc + j, _mm256_srai_epi32(_mm256_add_epi32(v, _mm256_set1_epi32(64)), 7));
    }
    return avx2_magnitude(acc, j, 0) | fdl_plain_scale(acc + j, count - j, mantissa);
}

static AVX2 void avx2_add_up(int32_t *to, const int8_t *x, size_t n, size_t count) {
    size_t c = 0;
    for (; c + 8 <= count; c += 8) {
        __m256i sum = _mm256_setzero_si256();
        for (size_t m = 0; m < n; m++) {
            __m128i bytes = _mm_loadl_epi64((const __m128i *)(x + m * count + c));
            sum = _mm256_add_epi32(sum, _mm256_cvtepi8_epi32(bytes));
        }
        store(to + c, sum);
    }
    for (; c < count; c++) {
        to[c] = 0;
        for (size_t m = 0; m < n; m++)
            to[c] += x[m * count + c];
    }
}

static AVX2 int avx2_has_lowest(const int8_t *x, size_t count) {
    __m256i found = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 32 <= count; i += 32)
        found = _mm256_or_si256(found, _mm256_cmpeq_epi8(load(x + i), _mm256_set1_epi8(-128)));
    return _mm256_movemask_epi8(found) != 0 || fdl_plain_has_lowest(x + i, count - i);
}

static AVX2 void avx2_narrow(const int32_t *acc, size_t count, int32_t shift, int32_t low,
                             int8_t *q) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i half = _mm256_set1_epi32((1 << shift) >> 1), lowest = _mm256_set1_epi8((int8_t)low);
    __m128i by = _mm_cvtsi32_si128(shift);
    size_t j = 0;
    for (; j + 32 <= count; j += 32) {
        __m256i v[4];
        for (size_t i = 0; i < 4; i++)
            v[i] = _mm256_sra_epi32(_mm256_add_epi32(load(acc + j + 8 * i), half), by);
        __m256i bytes =
            _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
        bytes = _mm256_max_epi8(bytes, lowest);
        store(q + j, _mm256_permutevar8x32_epi32(bytes, order));
    }
    fdl_plain.narrow(acc + j, count - j, shift, low, q + j);
}

const fdl_kernels fdl_avx2 = {
    .name = "avx2",
    .dot = avx2_dot,
    .spread = avx2_spread,
    .gradient = avx2_gradient,
    .apply = avx2_apply,
    .descend = avx2_descend,
    .descend_one = avx2_descend_one,
    .magnitude = avx2_magnitude,
    .mask = avx2_mask,
    .scale = avx2_scale,
    .add_up = avx2_add_up,
    .shift = fdl_shift_all,
    .has_lowest = avx2_has_lowest,
    .softmax = fdl_softmax,
    .narrow = avx2_narrow,
};
#endif
