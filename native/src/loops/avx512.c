/* The inner loops with AVX-512 VNNI: VPDPBUSD makes 64 products of a uint8 and an int8 and 16 sums
 * of 32 bits.
 *
 * Weights are woven, so that the lanes of a vector are 16 rows with two columns each, and sums need
 * never be added across lanes. Where four columns meet in 32 bits they lie in the order 0, 2, 1, 3:
 * that is how the high bytes of two vectors fall together.
 *
 * An int8 becomes a uint8 by adding 128; what a sum has too much then, 128 times the sum of the
 * other factors, is taken away. On the way a sum may wrap around. */
#include "isa.h"

#if FDL_X86
#include FDL_IMMINTRIN

#include "../numbers/fixed.h"

#include <string.h>

#define AVX512 FDL_TARGET("avx512f,avx512bw,avx512vl,avx512vnni")

#define TALL    16    /* rows of woven weights: the lanes of a vector */
#define TILE    16    /* windows whose sums stay in registers */
#define PIECE   448   /* factors of a window that are packed at a time */
#define TURNED  256   /* rows of weights that are turned at a time */
#define GROUPED 16384 /* bytes of windows that are grouped at a time: of the L1 cache */
#define GROUPS  (FDL_WINDOWS / 4)

static inline size_t left_of(size_t len, size_t start) {
    return len > start ? len - start : 0;
}

/* ---- Loads and stores: `left` values remain, past them are zeros and nothing is touched ---- */

static AVX512 INLINE __m512i load(const void *p) {
    return _mm512_loadu_si512(p);
}

static AVX512 INLINE void store(void *p, __m512i v) {
    _mm512_storeu_si512(p, v);
}

static AVX512 INLINE uint64_t first(size_t left) {
    return left >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << left) - 1;
}

static AVX512 INLINE __m512i load_int8(const int8_t *p, size_t left) {
    return left >= 64 ? load(p) : _mm512_maskz_loadu_epi8(first(left), p);
}

static AVX512 INLINE __m512i load_int16(const int16_t *p, size_t left) {
    return left >= 32 ? load(p) : _mm512_maskz_loadu_epi16((uint32_t)first(left), p);
}

static AVX512 INLINE __m512i load_int32(const int32_t *p, size_t left) {
    return left >= 16 ? load(p) : _mm512_maskz_loadu_epi32((uint16_t)first(left), p);
}

static AVX512 INLINE void store_int16(int16_t *p, size_t left, __m512i v) {
    if (left >= 32)
        store(p, v);
    else
        _mm512_mask_storeu_epi16(p, (uint32_t)first(left), v);
}

static AVX512 INLINE void store_int32(int32_t *p, size_t left, __m512i v) {
    if (left >= 16)
        store(p, v);
    else
        _mm512_mask_storeu_epi32(p, (uint16_t)first(left), v);
}

static AVX512 INLINE void add_int32(int32_t *p, size_t left, __m512i v) {
    store_int32(p, left, _mm512_add_epi32(load_int32(p, left), v));
}

static AVX512 INLINE __m128i load_errors(const int8_t *d, size_t rows) {
    return rows >= 16 ? _mm_loadu_si128((const __m128i *)d)
                      : _mm_maskz_loadu_epi8((uint16_t)first(rows), d);
}

/* Four bytes in every lane; eight in every two. */
static AVX512 INLINE __m512i repeat_four(const void *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

static AVX512 INLINE __m512i repeat_eight(const void *p) {
    int64_t eight;
    memcpy(&eight, p, sizeof eight);
    return _mm512_set1_epi64(eight);
}

static AVX512 INLINE __m512i to_uint8(__m512i v) {
    return _mm512_xor_si512(v, _mm512_set1_epi8(-128));
}

/* The int8 weights of four columns: even bytes from the first vector, odd ones from the second. */
static AVX512 INLINE __m512i load_four(const int16_t *w) {
    return _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaa, _mm512_srli_epi16(load(w), 8), load(w + 32));
}

/* The same order in each lane of other bytes. */
static AVX512 INLINE __m512i order_four(__m512i v) {
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8,
                                                                       10, 9, 11, 12, 14, 13, 15)));
}

/* gcc copies sums of type __m512i from register to register in a loop. Unsigned: they wrap around. */
typedef uint32_t sums __attribute__((vector_size(64)));

static AVX512 INLINE void add_products(sums *to, __m512i of_uint8, __m512i of_int8) {
    *to = (sums)_mm512_dpbusd_epi32((__m512i)*to, of_uint8, of_int8);
}

/* ---- dot, spread: factors of many windows meet vectors of weights ---- */

/* A piece of the factors of each window, as uint8. */
typedef struct {
    uint8_t of[FDL_WINDOWS][PIECE];
} packed_factors;

static AVX512 void pack(packed_factors *to, const int8_t *from, const uint32_t *at, size_t n,
                        size_t len) {
    for (size_t m = 0; m < n; m++)
        for (size_t i = 0; i < len; i += 64)
            store(to->of[m] + i, order_four(to_uint8(load_int8(from + at[m] + i, len - i))));
}

/* Weights as int8: of each four factors, what they do to 16 sums. */
typedef struct {
    int8_t of[TURNED / 4][64];
} turned_weights;

/* Products of `count` windows with 16 rows, or with 16 columns of turned weights, added to acc +
 * to[m]; with few windows in two sums each, since one would wait for itself. */
static AVX512 INLINE void multiply(int32_t *acc, const uint32_t *to, size_t left,
                                   const uint8_t (*x)[PIECE], const int16_t *woven,
                                   const turned_weights *turned, size_t fours, size_t count) {
    const size_t ways = count > 4 ? 1 : 2;
    sums sum[TILE], too_much[2] = {{0}, {0}};
    for (size_t i = 0; i < count * ways; i++)
        sum[i] = (sums){0};
    if (!turned) /* all before any is stored: rows may be less than a vector, and then overlap */
        for (size_t m = 0; m < count; m++)
            sum[m * ways] = (sums)load_int32(acc + to[m], left);
    for (size_t k = 0; k < fours; k += ways)
        for (size_t way = 0; way < ways; way++) {
            if (way == 1 && k + 1 == fours)
                break;
            __m512i w = turned ? load(turned->of[k + way]) : load_four(woven + 64 * (k + way));
            add_products(&too_much[way], _mm512_set1_epi8(-128), w);
            for (size_t m = 0; m < count; m++)
                add_products(&sum[m * ways + way], repeat_four(x[m] + 4 * (k + way)), w);
        }
    sums less = too_much[0] + too_much[1];
    for (size_t m = 0; m < count; m++) {
        sums total = (ways == 1 ? sum[m] : sum[2 * m] + sum[2 * m + 1]) - less;
        if (turned) /* windows overlap: one after the other */
            add_int32(acc + to[m], left, (__m512i)total);
        else
            store_int32(acc + to[m], left, (__m512i)total);
    }
}

static AVX512 INLINE void multiply_all(int32_t *acc, const uint32_t *to, size_t left,
                                       const packed_factors *x, const int16_t *woven,
                                       const turned_weights *turned, size_t fours, size_t n) {
    size_t m = 0;
    for (; m + 16 <= n; m += 16)
        multiply(acc, to + m, left, x->of + m, woven, turned, fours, 16);
    for (; m + 8 <= n; m += 8)
        multiply(acc, to + m, left, x->of + m, woven, turned, fours, 8);
    for (; m + 2 <= n; m += 2)
        multiply(acc, to + m, left, x->of + m, woven, turned, fours, 2);
    for (; m < n; m++)
        multiply(acc, to + m, left, x->of + m, woven, turned, fours, 1);
}

static AVX512 void multiply_woven(int32_t *acc, const uint32_t *to, size_t left,
                                  const packed_factors *x, const int16_t *w, size_t fours,
                                  size_t n) {
    multiply_all(acc, to, left, x, w, NULL, fours, n);
}

static AVX512 void multiply_turned(int32_t *acc, const uint32_t *to, size_t left,
                                   const packed_factors *x, const turned_weights *w, size_t fours,
                                   size_t n) {
    multiply_all(acc, to, left, x, NULL, w, fours, n);
}

static AVX512 void vnni_dot(int32_t *acc, const fdl_windows *windows, const fdl_block *block) {
    packed_factors x;
    uint32_t to[FDL_WINDOWS];
    count_off(to, windows->n, block->rows);
    for (size_t at = 0; at < block->len; at += PIECE) {
        size_t len = smaller(block->len - at, PIECE);
        pack(&x, windows->x + at, windows->at, windows->n, len);
        for (size_t o = 0; o < block->rows; o += TALL)
            multiply_woven(acc + o, to, block->rows - o, &x,
                           block->at + o * block->step + at * TALL, fours_of(len), windows->n);
    }
}

/* Four vectors of four times four lanes: the first four of all to row[0], the last to row[3]. */
static AVX512 INLINE void turn_lanes(__m512i row[4]) {
    __m512i low01 = _mm512_shuffle_i32x4(row[0], row[1], 0x44);
    __m512i high01 = _mm512_shuffle_i32x4(row[0], row[1], 0xee);
    __m512i low23 = _mm512_shuffle_i32x4(row[2], row[3], 0x44);
    __m512i high23 = _mm512_shuffle_i32x4(row[2], row[3], 0xee);
    row[0] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    row[1] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
    row[2] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    row[3] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
}

/* 16 columns of some rows, or fewer: lanes become columns. */
static AVX512 void turn(turned_weights *to, const int16_t *w, size_t step, size_t rows,
                        size_t columns) {
    const __m512i order =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15));
    for (size_t o = 0; o < rows; o += TALL) {
        __m512i four[4];
        for (size_t k = 0; k < 4; k++)
            four[k] = 4 * k < columns ? _mm512_shuffle_epi8(load_four(w + o * step + 64 * k), order)
                                      : _mm512_setzero_si512();
        turn_lanes(four);
        for (size_t k = 0; k < 4; k++)
            store(to->of[o / 4 + k], four[k]);
    }
}

static AVX512 void vnni_spread(int32_t *acc, const uint32_t *at, size_t n, const int8_t *d,
                               const fdl_block *block) {
    packed_factors errors;
    turned_weights w;
    uint32_t from[FDL_WINDOWS];
    count_off(from, n, block->rows);
    for (size_t o = 0; o < block->rows; o += TURNED) {
        size_t rows = smaller(block->rows - o, TURNED);
        pack(&errors, d + o, from, n, rows);
        for (size_t i = 0; i < block->len; i += 16) {
            turn(&w, block->at + o * block->step + i * TALL, block->step, rows, block->len - i);
            multiply_turned(acc + i, at, block->len - i, &errors, &w, fours_of(rows), n);
        }
    }
}

/* ---- gradient, descend ---- */

/* Errors of 16 rows, four windows in 32 bits, each twice: for two columns. Rows 0, 1, 4, 5 ... are
 * in the first vector, 2, 3, 6, 7 ... in the second; so VPACKSSDW puts them in order. */
typedef struct {
    int32_t of[GROUPS][2][16];
    int32_t start[2][16]; /* of sums */
} grouped_errors;

/* Whether there are any. */
static AVX512 int group_errors(grouped_errors *e, const int8_t *d, size_t n, size_t d_step,
                               size_t rows, int32_t start) {
    __m512i any = _mm512_setzero_si512();
    sums low = (sums)any, high = (sums)any;
    for (size_t m = 0; m < n; m += 4) {
        __m512i four = _mm512_setzero_si512();
        for (size_t i = smaller(n - m, 4); i-- > 0;)
            four = _mm512_or_si512(_mm512_slli_epi32(four, 8),
                                   _mm512_cvtepu8_epi32(load_errors(d + (m + i) * d_step, rows)));
        __m512i first = _mm512_unpacklo_epi32(four, four);
        __m512i second = _mm512_unpackhi_epi32(four, four);
        add_products(&low, _mm512_set1_epi8(-128), first);
        add_products(&high, _mm512_set1_epi8(-128), second);
        store(e->of[m / 4][0], first);
        store(e->of[m / 4][1], second);
        any = _mm512_or_si512(any, four);
    }
    store(e->start[0], _mm512_sub_epi32(_mm512_set1_epi32(start), (__m512i)low));
    store(e->start[1], _mm512_sub_epi32(_mm512_set1_epi32(start), (__m512i)high));
    return _mm512_test_epi32_mask(any, any) != 0;
}

/* Windows four by four, as uint8: of 64 columns, group after group, [four columns % 4][four columns
 * / 4][column][window]. */
typedef struct {
    uint8_t of[GROUPED / 256][4][64];
} grouped_windows;

static AVX512 INLINE void group_columns(uint8_t (*to)[64], const __m512i x[4]) {
    __m512i low01 = _mm512_unpacklo_epi8(x[0], x[1]), high01 = _mm512_unpackhi_epi8(x[0], x[1]);
    __m512i low23 = _mm512_unpacklo_epi8(x[2], x[3]), high23 = _mm512_unpackhi_epi8(x[2], x[3]);
    store(to[0], to_uint8(_mm512_unpacklo_epi16(low01, low23)));
    store(to[1], to_uint8(_mm512_unpackhi_epi16(low01, low23)));
    store(to[2], to_uint8(_mm512_unpacklo_epi16(high01, high23)));
    store(to[3], to_uint8(_mm512_unpackhi_epi16(high01, high23)));
}

static AVX512 void group_windows(grouped_windows *to, const fdl_windows *windows, size_t at,
                                 size_t len) {
    size_t group = 0;
    for (size_t c = 0; c < len; c += 64)
        for (size_t m = 0; m < windows->n; m += 4) {
            __m512i x[4];
            for (size_t i = 0; i < 4; i++)
                x[i] = m + i < windows->n
                           ? load_int8(windows->x + windows->at[m + i] + at + c, len - c)
                           : _mm512_setzero_si512();
            group_columns(to->of[group++], x);
        }
}

/* Sums over all windows of 16 rows and four columns: of the first two columns in [0] and [1], of
 * the last in [2] and [3]. */
typedef struct {
    sums of[4];
} tile;

/* `count` tiles from column c on, which does not cross a multiple of 16. */
static AVX512 INLINE void sum_tiles(tile *t, const grouped_errors *e, const grouped_windows *x,
                                    size_t c, size_t groups, size_t count) {
    const uint8_t *at = x->of[c / 64 * groups][c % 16 / 4] + c % 64 / 16 * 16;
    for (size_t j = 0; j < count; j++)
        for (size_t i = 0; i < 4; i++)
            t[j].of[i] = (sums)load(e->start[i % 2]);
    for (size_t g = 0; g < groups; g++, at += sizeof x->of[0]) {
        __m512i low = load(e->of[g][0]), high = load(e->of[g][1]);
        for (size_t j = 0; j < count; j++)
            for (size_t i = 0; i < 4; i += 2) {
                __m512i two = repeat_eight(at + j * sizeof x->of[0][0] + 4 * i);
                add_products(&t[j].of[i], two, low);
                add_products(&t[j].of[i + 1], two, high);
            }
    }
}

/* 32 sums as 32 weights lie. */
static AVX512 INLINE void add_in_order(int32_t *to, sums low, sums high) {
    const __m512i half = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i other = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    add_int32(to, 16, _mm512_permutex2var_epi64((__m512i)low, half, (__m512i)high));
    add_int32(to + 16, 16, _mm512_permutex2var_epi64((__m512i)low, other, (__m512i)high));
}

static AVX512 void vnni_gradient(int32_t *g, const fdl_windows *windows, const int8_t *d,
                                 size_t d_step, size_t rows, size_t len) {
    grouped_windows x;
    grouped_errors e;
    tile t[4];
    if (!group_errors(&e, d, windows->n, d_step, rows, 0))
        return;
    group_windows(&x, windows, 0, len);
    for (size_t c = 0; c < len; c += 16) {
        size_t count = smaller(fours_of(len - c), 4);
        sum_tiles(t, &e, &x, c, fours_of(windows->n), 4);
        for (size_t i = 0; i < 2 * count; i++)
            add_in_order(g + c * TALL + 32 * i, t[i / 2].of[i % 2 * 2], t[i / 2].of[i % 2 * 2 + 1]);
    }
}

static AVX512 void vnni_apply(int16_t *stored, const int32_t *g, size_t len, int32_t shift) {
    __m512i half = _mm512_set1_epi32(1 << (shift - 1)), by = _mm512_set1_epi32(shift);
    for (size_t i = 0; i < len; i += 16) {
        __m512i v = _mm512_srav_epi32(_mm512_add_epi32(load_int32(g + i, len - i), half), by);
        __m512i change = _mm512_castsi256_si512(_mm512_cvtsepi32_epi16(v));
        size_t left = smaller(len - i, 16);
        store_int16(stored + i, left, _mm512_subs_epi16(load_int16(stored + i, left), change));
    }
}

/* `count` times four columns of 16 rows less their gradients. VPSRAVD is one step where VPSRAD, with
 * the same shift for all lanes, is two. */
static AVX512 INLINE void lower_tiles(int16_t *w, const grouped_errors *e, const grouped_windows *x,
                                      size_t c, size_t groups, __m512i shift, size_t count) {
    tile t[4];
    sum_tiles(t, e, x, c, groups, count);
    for (size_t i = 0; i < 2 * count; i++) {
        const sums *sum = t[i / 2].of + i % 2 * 2;
        __m512i change = _mm512_packs_epi32(_mm512_srav_epi32((__m512i)sum[0], shift),
                                            _mm512_srav_epi32((__m512i)sum[1], shift));
        int16_t *at = w + c * TALL + 32 * i;
        store(at, _mm512_subs_epi16(load(at), change));
    }
}

/* Not inlined, so that all of its sums stay in registers. */
static AVX512 FDL_NOINLINE void lower_rows(int16_t *w, const grouped_errors *e,
                                           const grouped_windows *x, size_t groups, size_t len,
                                           int32_t shift) {
    __m512i by = _mm512_set1_epi32(shift);
    size_t c = 0;
    for (; c + 12 < len; c += 16)
        lower_tiles(w, e, x, c, groups, by, 4);
    for (; c < len; c += 4)
        lower_tiles(w, e, x, c, groups, by, 1);
}

/* Weights change from the last rows to the first: the way forwards, which goes up, left the last
 * ones in the L1 cache, and will find the first ones there. */
static inline size_t last_block(size_t rows) {
    return (rows - 1) / TALL * TALL;
}

static AVX512 void vnni_descend(const fdl_block *block, const fdl_windows *windows, const int8_t *d,
                                int32_t shift) {
    grouped_windows x;
    grouped_errors e;
    size_t groups = fours_of(windows->n);
    if (groups == 0)
        return;
    size_t piece = GROUPED / (4 * groups) / 64 * 64;
    for (size_t at = 0; at < block->len; at += piece) {
        size_t len = smaller(block->len - at, piece);
        group_windows(&x, windows, at, len);
        for (size_t o = last_block(block->rows); o < block->rows; o -= TALL) {
            size_t rows = smaller(block->rows - o, TALL);
            if (group_errors(&e, d + o, windows->n, block->rows, rows, 1 << (shift - 1)))
                lower_rows(block->at + o * block->step + at * TALL, &e, &x, groups, len, shift);
        }
    }
}

/* ---- descend_one ---- */

/* 16 rows less VPMULHRSW(x, factor), the factors of each row twice. */
static AVX512 INLINE void lower_by_products(int16_t *w, __m512i factors, const int16_t *x,
                                            size_t len) {
    for (size_t i = 0; i < len; i += 2) {
        __m512i change = _mm512_mulhrs_epi16(repeat_four(x + i), factors);
        store(w + i * TALL, _mm512_subs_epi16(load(w + i * TALL), change));
    }
}

/* VPMULHRSW gives (a * b + 2^14) >> 15: the product is shifted left by 15 - shift before, as far
 * as the inputs have room for it, the rest with the errors. */
static AVX512 void vnni_descend_one(const fdl_block *block, const int8_t *x, const int8_t *d,
                                    int32_t shift) {
    int16_t wide[4 * PIECE];
    int32_t up = 15 - shift, x_up = up < 8 ? up : 8;
    for (size_t at = 0; at < block->len; at += 4 * PIECE) {
        size_t len = smaller(block->len - at, 4 * PIECE);
        for (size_t i = 0; i < len; i += 32) {
            __m512i v = _mm512_cvtepi8_epi16(
                _mm512_castsi512_si256(load_int8(x + at + i, smaller(len - i, 32))));
            store(wide + i, _mm512_sll_epi16(v, _mm_cvtsi32_si128(x_up)));
        }
        for (size_t o = last_block(block->rows); o < block->rows; o -= TALL) {
            __m512i e = _mm512_cvtepu8_epi32(load_errors(d + o, block->rows - o));
            if (_mm512_test_epi32_mask(e, e) == 0)
                continue;
            e = _mm512_or_si512(_mm512_slli_epi32(e, 24), _mm512_slli_epi32(e, 8));
            lower_by_products(block->at + o * block->step + at * TALL,
                              _mm512_sra_epi16(e, _mm_cvtsi32_si128(8 - up + x_up)), wide, len);
        }
    }
}

/* ---- Values that lie in a row ---- */

static AVX512 uint32_t vnni_magnitude(const int32_t *acc, size_t count, uint32_t relu) {
    __m512i all = _mm512_setzero_si512();
    for (size_t j = 0; j < count; j += 16) {
        __m512i v = load_int32(acc + j, count - j);
        v = relu ? _mm512_max_epi32(v, _mm512_setzero_si512()) : _mm512_abs_epi32(v);
        all = _mm512_or_si512(all, v);
    }
    return (uint32_t)_mm512_reduce_or_epi32(all);
}

static AVX512 uint32_t vnni_mask(int32_t *acc, const int8_t *h, size_t count) {
    __m512i all = _mm512_setzero_si512();
    for (size_t j = 0; j < count; j += 16) {
        size_t left = smaller(count - j, 16);
        uint16_t passes = _mm_cmpgt_epi8_mask(load_errors(h + j, left), _mm_setzero_si128());
        __m512i v = _mm512_maskz_mov_epi32(passes, load_int32(acc + j, left));
        store_int32(acc + j, left, v);
        all = _mm512_or_si512(all, _mm512_abs_epi32(v));
    }
    return (uint32_t)_mm512_reduce_or_epi32(all);
}

static AVX512 uint32_t vnni_scale(int32_t *acc, size_t count, int32_t mantissa) {
    __m512i all = _mm512_setzero_si512(), by = _mm512_set1_epi32(mantissa);
    for (size_t j = 0; j < count; j += 16) {
        __m512i v = _mm512_mullo_epi32(load_int32(acc + j, count - j), by);
        v = _mm512_srai_epi32(_mm512_add_epi32(v, _mm512_set1_epi32(64)), 7);
        v = _mm512_maskz_mov_epi32((uint16_t)first(smaller(count - j, 16)), v);
        store_int32(acc + j, count - j, v);
        all = _mm512_or_si512(all, _mm512_abs_epi32(v));
    }
    return (uint32_t)_mm512_reduce_or_epi32(all);
}

static AVX512 void vnni_add_up(int32_t *to, const int8_t *x, size_t n, size_t count) {
    for (size_t c = 0; c < count; c += 16) {
        __m512i sum = _mm512_setzero_si512();
        for (size_t m = 0; m < n; m++)
            sum = _mm512_add_epi32(sum,
                                   _mm512_cvtepi8_epi32(load_errors(x + m * count + c, count - c)));
        store_int32(to + c, count - c, sum);
    }
}

/* To the right by 1 to 31: the last bit that is shifted out rounds. */
static AVX512 INLINE __m512i shift_right(__m512i v, int32_t shift) {
    __m512i last = _mm512_srav_epi32(v, _mm512_set1_epi32(shift - 1));
    return _mm512_add_epi32(_mm512_srav_epi32(v, _mm512_set1_epi32(shift)),
                            _mm512_and_si512(last, _mm512_set1_epi32(1)));
}

/* To the left by 0 to 31; past the limit what fdl_shift_left() says. */
static AVX512 INLINE __m512i shift_left(__m512i v, int32_t shift, int32_t limit) {
    __m512i most = _mm512_set1_epi32(limit >> shift), high = _mm512_set1_epi32(limit);
    __m512i low = _mm512_set1_epi32(limit == INT32_MAX ? INT32_MIN : -limit);
    __m512i shifted = _mm512_sllv_epi32(v, _mm512_set1_epi32(shift));
    shifted = _mm512_mask_mov_epi32(shifted, _mm512_cmpgt_epi32_mask(v, most), high);
    most = _mm512_sub_epi32(_mm512_setzero_si512(), most);
    return _mm512_mask_mov_epi32(shifted, _mm512_cmpgt_epi32_mask(most, v), low);
}

static AVX512 INLINE __m512i shifted(__m512i v, int32_t shift, int32_t limit) {
    __m512i high = _mm512_set1_epi32(limit), low = _mm512_set1_epi32(-limit);
    if (shift > 31)
        return _mm512_setzero_si512();
    if (shift > 0)
        return _mm512_min_epi32(_mm512_max_epi32(shift_right(v, shift), low), high);
    return shift_left(v, fdl_min32(-shift, 31), limit);
}

static AVX512 void vnni_shift(int32_t *to, const int32_t *from, size_t count, int32_t shift,
                              int32_t limit) {
    for (size_t j = 0; j < count; j += 16)
        store_int32(to + j, count - j, shifted(load_int32(from + j, count - j), shift, limit));
}

/* As fdl_subtract(), in 16 lanes. */
static AVX512 void vnni_subtract(int32_t *biases, int32_t *change, size_t count, int32_t shift) {
    for (size_t j = 0; j < count; j += 16) {
        __m512i a = load_int32(biases + j, count - j);
        __m512i b = shifted(load_int32(change + j, count - j), shift, INT32_MAX);
        __m512i wrapped = _mm512_sub_epi32(a, b);
        __m512i over = _mm512_and_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(a, wrapped));
        __m512i limit = _mm512_xor_si512(_mm512_srai_epi32(a, 31), _mm512_set1_epi32(INT32_MAX));
        __mmask16 is_over = _mm512_cmplt_epi32_mask(over, _mm512_setzero_si512());
        store_int32(biases + j, count - j, _mm512_mask_mov_epi32(wrapped, is_over, limit));
    }
}

static AVX512 int vnni_has_lowest(const int8_t *x, size_t count) {
    uint64_t found = 0;
    for (size_t i = 0; i < count; i += 64)
        found |= _mm512_cmpeq_epi8_mask(load_int8(x + i, count - i), _mm512_set1_epi8(-128));
    return found != 0;
}

/* p of NUMERICS section 4, of 16 differences. */
static AVX512 INLINE __m512i exp_q15(__m512i d, __m512i before, __m512i after) {
    d = _mm512_min_epu32(_mm512_srlv_epi32(d, before), _mm512_set1_epi32(0x1ffff));
    d = _mm512_srlv_epi32(_mm512_mullo_epi32(d, _mm512_set1_epi32(5909)), after);
    d = _mm512_min_epu32(d, _mm512_set1_epi32(1023));
    __m512i place = _mm512_and_si512(d, _mm512_set1_epi32(63));
    __m512i p = _mm512_permutex2var_epi16(load(fdl_exp2), place, load(fdl_exp2 + 32));
    return _mm512_srlv_epi32(_mm512_and_si512(p, _mm512_set1_epi32(0xffff)),
                             _mm512_srli_epi32(d, 6));
}

#define NO_LABEL INT32_MAX
#define VECTORS  16 /* of classes that are worked on at a time: as many as one example may have */

/* One example, d in vectors of 16 classes; no label is NO_LABEL. */
static AVX512 void softmax_one(int32_t *z, size_t classes, __m512i *d, fdl_exp_steps by,
                               int32_t label) {
    const __m512i place = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i before = _mm512_set1_epi32(by.before), after = _mm512_set1_epi32(by.after);
    __m512i highest = d[0], sum = _mm512_setzero_si512();
    for (size_t i = 1; 16 * i < classes; i++)
        highest = _mm512_max_epi32(highest, d[i]);
    highest = _mm512_set1_epi32(_mm512_reduce_max_epi32(highest));
    for (size_t i = 0; 16 * i < classes; i++) {
        uint64_t there = first(classes - 16 * i);
        d[i] = exp_q15(_mm512_sub_epi32(highest, d[i]), before, after);
        sum = _mm512_mask_add_epi32(sum, (uint16_t)there, sum, d[i]);
    }
    uint32_t reciprocal = 0x7fffffffu / (uint32_t)_mm512_reduce_add_epi32(sum);
    for (size_t i = 0; 16 * i < classes; i++) {
        d[i] = _mm512_mullo_epi32(d[i], _mm512_set1_epi32((int32_t)reciprocal));
        d[i] = _mm512_srli_epi32(d[i], 16);
        __mmask16 here = _mm512_cmpeq_epi32_mask(place, _mm512_set1_epi32(label - 16 * (int32_t)i));
        d[i] = _mm512_mask_sub_epi32(d[i], here, d[i], _mm512_set1_epi32(32768));
        store_int32(z + 16 * i, classes - 16 * i, d[i]);
    }
}

/* Some examples are loaded before any is stored: a load must wait for a store that it overlaps, be
 * it in lanes that are masked. */
static AVX512 void vnni_softmax(int32_t *z, size_t n, size_t classes, fdl_exp_steps by,
                                const uint8_t *labels) {
    __m512i d[VECTORS], lowest = _mm512_set1_epi32(INT32_MIN);
    size_t vectors = (classes + 15) / 16, count;
    for (; n > 0; n -= count, z += count * classes) {
        count = smaller(n, VECTORS / vectors);
        for (size_t b = 0; b < count; b++)
            for (size_t i = 0; i < vectors; i++)
                d[b * vectors + i] = _mm512_mask_loadu_epi32(
                    lowest, (uint16_t)first(classes - 16 * i), z + b * classes + 16 * i);
        for (size_t b = 0; b < count; b++)
            softmax_one(z + b * classes, classes, d + b * vectors, by,
                        labels != NULL ? *labels++ : NO_LABEL);
    }
}

/* 64 values at a time: VPACK joins them in fewer steps than VPMOV makes of 16. */
static AVX512 void vnni_narrow(const int32_t *acc, size_t count, int32_t shift, int32_t low,
                               int8_t *q) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i half = _mm512_set1_epi32((1 << shift) >> 1), by = _mm512_set1_epi32(shift);
    __m512i lowest = _mm512_set1_epi8((int8_t)low);
    for (size_t j = 0; j < count; j += 64) {
        __m512i v[4];
        for (size_t i = 0; i < 4; i++) {
            v[i] = load_int32(acc + j + 16 * i, left_of(count - j, 16 * i));
            v[i] = _mm512_srav_epi32(_mm512_add_epi32(v[i], half), by);
        }
        v[0] = _mm512_packs_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
        v[0] = _mm512_permutexvar_epi32(order, _mm512_max_epi8(v[0], lowest));
        if (count - j >= 64)
            store(q + j, v[0]);
        else
            _mm512_mask_storeu_epi8(q + j, first(count - j), v[0]);
    }
}

const fdl_kernels fdl_avx512vnni = {
    .name = "avx512vnni",
    .tall = TALL,
    .columns = 128,
    .dot = vnni_dot,
    .spread = vnni_spread,
    .gradient = vnni_gradient,
    .apply = vnni_apply,
    .descend = vnni_descend,
    .descend_one = vnni_descend_one,
    .magnitude = vnni_magnitude,
    .mask = vnni_mask,
    .scale = vnni_scale,
    .add_up = vnni_add_up,
    .shift = vnni_shift,
    .subtract = vnni_subtract,
    .has_lowest = vnni_has_lowest,
    .softmax = vnni_softmax,
    .narrow = vnni_narrow,
#if !FDL_WITHOUT_CODEC
    .words = fdl_avx512_words,
    .measure = fdl_avx512_measure,
    .gather = fdl_avx512_gather,
    .to_spread = fdl_avx512_spread,
    .rotate = fdl_avx512_rotate,
    .rotate_back = fdl_avx512_rotate_back,
    .quantise = fdl_avx512_quantise,
    .scatter = fdl_avx512_scatter,
    .costs = fdl_avx512_costs,
    .paths = fdl_avx512_paths,
    .paths_32 = fdl_avx512_paths_32,
#endif
};
#endif
