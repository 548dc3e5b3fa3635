/* The inner loops with AVX2: VPMADDWD makes 16 products of 16 bits and 8 sums of 32.
 *
 * Weights are woven, so that the lanes of a vector are 8 rows with two columns each, and sums need
 * never be added across lanes. */
#include "isa.h"

#if FDL_X86
#include FDL_IMMINTRIN
#include "../numbers/fixed.h"

#include <string.h>

#define AVX2             FDL_TARGET("avx2")
#define TALL             8    /* rows of woven weights: the lanes of a vector */
#define TILE             8    /* windows whose sums stay in registers */
#define PIECE            256  /* factors of a window that are packed at a time */
#define TURNED           256  /* rows of weights that are turned at a time */
#define GROUPED          8192 /* values of windows that are paired at a time: of the L1 cache */
#define GRADIENT_COLUMNS 128
#define PAIRS            (FDL_WINDOWS / 2)

static inline size_t twos_of(size_t len) {
    return (len + 1) / 2;
}

/* ---- Loads and stores: `left` values remain, past them are zeros and nothing is touched ---- */

static AVX2 INLINE __m256i load(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

static AVX2 INLINE void store(void *p, __m256i v) {
    _mm256_storeu_si256((__m256i *)p, v);
}

static inline uint64_t load_bits(const int8_t *p, size_t bytes) {
    uint64_t bits = 0;
    for (size_t i = 0; i < bytes; i++)
        bits |= (uint64_t)(uint8_t)p[i] << (8 * i);
    return bits;
}

/* 16 bytes. */
static AVX2 INLINE __m128i load_int8(const int8_t *p, size_t left) {
    if (left >= 16)
        return _mm_loadu_si128((const __m128i *)p);
    if (left < 8)
        return _mm_set_epi64x(0, (int64_t)load_bits(p, left));
    return _mm_set_epi64x((int64_t)load_bits(p + 8, left - 8), (int64_t)load_bits(p, 8));
}

/* The errors of 8 rows. */
static AVX2 INLINE __m128i load_errors(const int8_t *d, size_t rows) {
    return rows >= 8 ? _mm_loadl_epi64((const __m128i *)d) : load_int8(d, rows);
}

/* 8 sums, or `left` of them. */
static AVX2 INLINE void add_int32(int32_t *acc, size_t left, __m256i v) {
    if (left >= 8) {
        store(acc, _mm256_add_epi32(load(acc), v));
        return;
    }
    int32_t lane[8];
    store(lane, v);
    for (size_t i = 0; i < left; i++)
        acc[i] += lane[i];
}

/* Two values of 16 bits in every lane; four in every two. */
static AVX2 INLINE __m256i repeat_two(const int16_t *p) {
    int32_t two;
    memcpy(&two, p, sizeof two);
    return _mm256_set1_epi32(two);
}

static AVX2 INLINE __m256i repeat_four(const int16_t *p) {
    int64_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi64x(four);
}

static AVX2 INLINE __m256i load_weights(const int16_t *stored) {
    return _mm256_srai_epi16(load(stored), 8);
}

/* Sums of products. gcc copies sums of type __m256i from register to register in a loop: its
 * additions have another type. */
typedef int32_t sums __attribute__((vector_size(32)));

static AVX2 INLINE void add_products(sums *to, __m256i a, __m256i b) {
    *to += (sums)_mm256_madd_epi16(a, b);
}

/* VPUNPCK and VPACK work on halves of a register: both first halves, both second ones. */
static AVX2 INLINE __m256i first_halves(__m256i low, __m256i high) {
    return _mm256_permute2x128_si256(low, high, 0x20);
}

static AVX2 INLINE __m256i second_halves(__m256i low, __m256i high) {
    return _mm256_permute2x128_si256(low, high, 0x31);
}

/* ---- dot, spread: factors of many windows meet vectors of weights ---- */

/* A piece of the factors of each window. */
typedef struct {
    int16_t of[FDL_WINDOWS][PIECE];
} packed_factors;

static AVX2 void pack(packed_factors *to, const int8_t *from, const uint32_t *at, size_t n,
                      size_t len) {
    for (size_t m = 0; m < n; m++)
        for (size_t i = 0; i < len; i += 16)
            store(to->of[m] + i, _mm256_cvtepi8_epi16(load_int8(from + at[m] + i, len - i)));
}

/* Weights, two rows in 32 bits: of each two factors, what they do to 8 sums. */
typedef struct {
    int16_t of[TURNED / 2][16];
} turned_weights;

/* Products of `count` windows with 8 rows, or with 8 columns of turned weights, added to acc +
 * to[m]. */
static AVX2 INLINE void multiply(int32_t *acc, const uint32_t *to, size_t left,
                                 const int16_t (*x)[PIECE], const int16_t *w, int is_turned,
                                 size_t twos, size_t count) {
    sums sum[TILE];
    for (size_t m = 0; m < count; m++)
        sum[m] = (sums){0};
    for (size_t k = 0; k < twos; k++) {
        __m256i weights = is_turned ? load(w + 16 * k) : load_weights(w + 16 * k);
        for (size_t m = 0; m < count; m++)
            add_products(&sum[m], weights, repeat_two(x[m] + 2 * k));
    }
    for (size_t m = 0; m < count; m++)
        add_int32(acc + to[m], left, (__m256i)sum[m]);
}

static AVX2 INLINE void multiply_all(int32_t *acc, const uint32_t *to, size_t left,
                                     const packed_factors *x, const int16_t *w, int is_turned,
                                     size_t twos, size_t n) {
    size_t m = 0;
    for (; m + 8 <= n; m += 8)
        multiply(acc, to + m, left, x->of + m, w, is_turned, twos, 8);
    for (; m + 4 <= n; m += 4)
        multiply(acc, to + m, left, x->of + m, w, is_turned, twos, 4);
    for (; m + 2 <= n; m += 2)
        multiply(acc, to + m, left, x->of + m, w, is_turned, twos, 2);
    for (; m < n; m++)
        multiply(acc, to + m, left, x->of + m, w, is_turned, twos, 1);
}

static AVX2 void multiply_woven(int32_t *acc, const uint32_t *to, size_t left,
                                const packed_factors *x, const int16_t *w, size_t twos, size_t n) {
    multiply_all(acc, to, left, x, w, 0, twos, n);
}

static AVX2 void multiply_turned(int32_t *acc, const uint32_t *to, size_t left,
                                 const packed_factors *x, const turned_weights *w, size_t twos,
                                 size_t n) {
    multiply_all(acc, to, left, x, w->of[0], 1, twos, n);
}

static AVX2 void avx2_dot(int32_t *acc, const fdl_windows *windows, const fdl_block *block) {
    packed_factors x;
    uint32_t to[FDL_WINDOWS];
    count_off(to, windows->n, block->rows);
    for (size_t at = 0; at < block->len; at += PIECE) {
        size_t len = smaller(block->len - at, PIECE);
        pack(&x, windows->x + at, windows->at, windows->n, len);
        for (size_t o = 0; o < block->rows; o += TALL)
            multiply_woven(acc + o, to, block->rows - o, &x,
                           block->at + o * block->step + at * TALL, twos_of(len), windows->n);
    }
}

/* Four vectors of four times 64 bits: the first of all to v[0], the last to v[3]. */
static AVX2 INLINE void turn_lanes(__m256i v[4]) {
    __m256i low01 = _mm256_unpacklo_epi64(v[0], v[1]), high01 = _mm256_unpackhi_epi64(v[0], v[1]);
    __m256i low23 = _mm256_unpacklo_epi64(v[2], v[3]), high23 = _mm256_unpackhi_epi64(v[2], v[3]);
    v[0] = first_halves(low01, low23);
    v[1] = first_halves(high01, high23);
    v[2] = second_halves(low01, low23);
    v[3] = second_halves(high01, high23);
}

/* 8 columns of some rows, or fewer: lanes become columns. Of two rows and two columns, which are 64
 * bits, the second and the third value change places. */
static AVX2 void turn(turned_weights *to, const int16_t *w, size_t step, size_t rows,
                      size_t columns) {
    const __m256i order = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
    for (size_t o = 0; o < rows; o += TALL) {
        __m256i two[4];
        for (size_t k = 0; k < 4; k++)
            two[k] = 2 * k < columns
                         ? _mm256_shuffle_epi8(load_weights(w + o * step + 16 * k), order)
                         : _mm256_setzero_si256();
        turn_lanes(two);
        for (size_t k = 0; k < 4; k++)
            store(to->of[o / 2 + k], two[k]);
    }
}

static AVX2 void avx2_spread(int32_t *acc, const uint32_t *at, size_t n, const int8_t *d,
                             const fdl_block *block) {
    packed_factors errors;
    turned_weights w;
    uint32_t from[FDL_WINDOWS];
    count_off(from, n, block->rows);
    for (size_t o = 0; o < block->rows; o += TURNED) {
        size_t rows = smaller(block->rows - o, TURNED);
        pack(&errors, d + o, from, n, rows);
        for (size_t i = 0; i < block->len; i += 8) {
            turn(&w, block->at + o * block->step + i * TALL, block->step, rows, block->len - i);
            multiply_turned(acc + i, at, block->len - i, &errors, &w, twos_of(rows), n);
        }
    }
}

/* ---- gradient, descend ---- */

/* Errors of 8 rows, two windows in 32 bits, each twice: for two columns. Rows 0, 1, 4, 5 are in the
 * first vector, 2, 3, 6, 7 in the second; so VPACKSSDW puts them in order. */
typedef struct {
    int32_t of[PAIRS][2][8];
} paired_errors;

/* Whether there are any. */
static AVX2 int pair_errors(paired_errors *e, const int8_t *d, size_t n, size_t d_step,
                            size_t rows) {
    __m256i any = _mm256_setzero_si256();
    for (size_t m = 0; m < n; m += 2) {
        __m128i even = load_errors(d + m * d_step, rows), odd = _mm_setzero_si128();
        if (m + 1 < n)
            odd = load_errors(d + (m + 1) * d_step, rows);
        __m256i two = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(even, odd));
        store(e->of[m / 2][0], _mm256_unpacklo_epi32(two, two));
        store(e->of[m / 2][1], _mm256_unpackhi_epi32(two, two));
        any = _mm256_or_si256(any, two);
    }
    return !_mm256_testz_si256(any, any);
}

/* Windows as pairs: of 16 columns, pair after pair, [column][window]. */
static AVX2 void pair_windows(int16_t (*to)[32], const fdl_windows *windows, size_t at,
                              size_t len) {
    for (size_t c = 0; c < len; c += 16)
        for (size_t m = 0; m < windows->n; m += 2, to++) {
            const int8_t *x = windows->x + at + c;
            __m128i even = load_int8(x + windows->at[m], len - c), odd = _mm_setzero_si128();
            if (m + 1 < windows->n)
                odd = load_int8(x + windows->at[m + 1], len - c);
            store(to[0], _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(even, odd)));
            store(to[0] + 16, _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(even, odd)));
        }
}

/* Sums over all windows of 8 rows and two columns, as paired_errors has the rows. */
typedef struct {
    sums low, high;
} tile;

/* `count` tiles from column c on, which does not cross a multiple of 16. */
static AVX2 INLINE void sum_tiles(tile *t, int32_t start, const paired_errors *e,
                                  const int16_t (*x)[32], size_t c, size_t pairs, size_t count) {
    const int16_t *at = x[c / 16 * pairs] + c % 16 * 2;
    for (size_t j = 0; j < count; j++)
        t[j].low = t[j].high = (sums)_mm256_set1_epi32(start);
    for (size_t p = 0; p < pairs; p++, at += 32) {
        __m256i low = load(e->of[p][0]), high = load(e->of[p][1]);
        for (size_t j = 0; j < count; j++) {
            __m256i four = repeat_four(at + 4 * j);
            add_products(&t[j].low, four, low);
            add_products(&t[j].high, four, high);
        }
    }
}

static AVX2 void avx2_gradient(int32_t *g, const fdl_windows *windows, const int8_t *d,
                               size_t d_step, size_t rows, size_t len) {
    int16_t x[GRADIENT_COLUMNS / 16 * PAIRS][32];
    paired_errors e;
    tile t[4];
    if (!pair_errors(&e, d, windows->n, d_step, rows))
        return;
    pair_windows(x, windows, 0, len);
    for (size_t c = 0; c < len; c += 8) {
        sum_tiles(t, 0, &e, (const int16_t (*)[32])x, c, twos_of(windows->n), 4);
        for (size_t j = 0; j < smaller(twos_of(len - c), 4); j++) {
            int32_t *to = g + c * TALL + 16 * j;
            add_int32(to, 8, first_halves((__m256i)t[j].low, (__m256i)t[j].high));
            add_int32(to + 8, 8, second_halves((__m256i)t[j].low, (__m256i)t[j].high));
        }
    }
}

static AVX2 void avx2_apply(int16_t *stored, const int32_t *g, size_t len, int32_t shift) {
    __m256i half = _mm256_set1_epi32(1 << (shift - 1)), by = _mm256_set1_epi32(shift);
    size_t i = 0;
    for (; i + 16 <= len; i += 16) {
        __m256i low = _mm256_srav_epi32(_mm256_add_epi32(load(g + i), half), by);
        __m256i high = _mm256_srav_epi32(_mm256_add_epi32(load(g + i + 8), half), by);
        __m256i change = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
        store(stored + i, _mm256_subs_epi16(load(stored + i), change));
    }
    fdl_plain.apply(stored + i, g + i, len - i, shift);
}

/* `count` times two columns of 8 rows less their gradients. VPSRAVD is one step where VPSRAD, with
 * the same shift for all lanes, is two. */
static AVX2 INLINE void lower_tiles(int16_t *w, const paired_errors *e, const int16_t (*x)[32],
                                    size_t c, size_t pairs, int32_t shift, size_t count) {
    tile t[4];
    __m256i by = _mm256_set1_epi32(shift);
    sum_tiles(t, 1 << (shift - 1), e, x, c, pairs, count);
    for (size_t j = 0; j < count; j++) {
        __m256i change = _mm256_packs_epi32(_mm256_srav_epi32((__m256i)t[j].low, by),
                                            _mm256_srav_epi32((__m256i)t[j].high, by));
        int16_t *at = w + c * TALL + 16 * j;
        store(at, _mm256_subs_epi16(load(at), change));
    }
}

/* Not inlined, so that all of its sums stay in registers. */
static AVX2 FDL_NOINLINE void lower_rows(int16_t *w, const paired_errors *e, const int16_t (*x)[32],
                                         size_t pairs, size_t len, int32_t shift) {
    size_t c = 0;
    for (; c + 6 < len; c += 8)
        lower_tiles(w, e, x, c, pairs, shift, 4);
    for (; c < len; c += 2)
        lower_tiles(w, e, x, c, pairs, shift, 1);
}

static AVX2 void avx2_descend(const fdl_block *block, const fdl_windows *windows, const int8_t *d,
                              int32_t shift) {
    int16_t x[GROUPED / 32][32];
    paired_errors e;
    size_t pairs = twos_of(windows->n);
    if (pairs == 0)
        return;
    size_t piece = GROUPED / (2 * pairs) / 16 * 16;
    for (size_t at = 0; at < block->len; at += piece) {
        size_t len = smaller(block->len - at, piece);
        pair_windows(x, windows, at, len);
        for (size_t o = 0; o < block->rows; o += TALL)
            if (pair_errors(&e, d + o, windows->n, block->rows, block->rows - o))
                lower_rows(block->at + o * block->step + at * TALL, &e, (const int16_t (*)[32])x,
                           pairs, len, shift);
    }
}

/* ---- descend_one ---- */

/* 8 rows less VPMULHRSW(x, factor), the factors of each row twice. */
static AVX2 INLINE void lower_by_products(int16_t *w, __m256i factors, const int16_t *x,
                                          size_t len) {
    for (size_t i = 0; i < len; i += 2) {
        __m256i change = _mm256_mulhrs_epi16(repeat_two(x + i), factors);
        store(w + i * TALL, _mm256_subs_epi16(load(w + i * TALL), change));
    }
}

/* VPMULHRSW gives (a * b + 2^14) >> 15: the product is shifted left by 15 - shift before, as far
 * as the inputs have room for it, the rest with the errors. */
static AVX2 void avx2_descend_one(const fdl_block *block, const int8_t *x, const int8_t *d,
                                  int32_t shift) {
    int16_t wide[4 * PIECE];
    int32_t up = 15 - shift, x_up = up < 8 ? up : 8;
    for (size_t at = 0; at < block->len; at += 4 * PIECE) {
        size_t len = smaller(block->len - at, 4 * PIECE);
        for (size_t i = 0; i < len; i += 16) {
            __m256i v = _mm256_cvtepi8_epi16(load_int8(x + at + i, len - i));
            store(wide + i, _mm256_sll_epi16(v, _mm_cvtsi32_si128(x_up)));
        }
        for (size_t o = 0; o < block->rows; o += TALL) {
            __m128i errors = load_errors(d + o, block->rows - o);
            __m256i e = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(errors, errors));
            if (!_mm256_testz_si256(e, e))
                lower_by_products(block->at + o * block->step + at * TALL,
                                  _mm256_sll_epi16(e, _mm_cvtsi32_si128(up - x_up)), wide, len);
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
    return avx2_magnitude(acc, j, 0) | fdl_plain.scale(acc + j, count - j, mantissa);
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
    return _mm256_movemask_epi8(found) != 0 || fdl_plain.has_lowest(x + i, count - i);
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
    .tall = TALL,
    .columns = GRADIENT_COLUMNS,
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
    .subtract = fdl_subtract_all,
    .has_lowest = avx2_has_lowest,
    .softmax = fdl_softmax,
    .narrow = avx2_narrow,
#if !FDL_WITHOUT_CODEC
    .words = fdl_avx2_words,
    .measure = fdl_avx2_measure,
    .gather = fdl_avx2_gather,
    .to_spread = fdl_avx2_spread,
    .rotate = fdl_avx2_rotate,
    .rotate_back = fdl_avx2_rotate_back,
    .quantise = fdl_avx2_quantise,
    .scatter = fdl_avx2_scatter,
    .costs = fdl_avx2_costs,
    .paths = fdl_avx2_paths,
    .paths_32 = fdl_avx2_paths_32,
#endif
};
#endif
