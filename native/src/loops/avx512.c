/* The inner loops with AVX-512 VNNI: VPDPBUSD makes 64 products of a uint8 and an int8 and 16 sums
 * of 32 bits.
 *
 * An int8 becomes a uint8 by adding 128; what a sum has too much then, 128 times the sum of the
 * other factors, is taken away before. On the way a sum may wrap around. */
#include "isa.h"

#if FDL_X86
#include FDL_IMMINTRIN

#include "../numbers/fixed.h"
#include "vectors.h"

#define AVX512  FDL_TARGET("avx512f,avx512bw,avx512vl,avx512vnni")
#define COLUMNS 64  /* that are worked on at a time */
#define PIECE   256 /* columns whose inputs or weights are rearranged at a time */
#define FOURS   (FDL_WINDOWS / 4)

/* ---- Loads and stores: `left` values remain, past them are zeros and nothing is touched ---- */

static AVX512 INLINE uint64_t first(size_t left) {
    return left >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << left) - 1;
}

static AVX512 INLINE __m512i load_int8(const int8_t *p, size_t left) {
    return left >= 64 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi8(first(left), p);
}

static AVX512 INLINE __m512i load_int16(const int16_t *p, size_t left) {
    return left >= 32 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi16((uint32_t)first(left), p);
}

static AVX512 INLINE __m512i load_int32(const int32_t *p, size_t left) {
    return left >= 16 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32((uint16_t)first(left), p);
}

static AVX512 INLINE void store_int16(int16_t *p, size_t left, __m512i v) {
    if (left >= 32)
        _mm512_storeu_si512(p, v);
    else
        _mm512_mask_storeu_epi16(p, (uint32_t)first(left), v);
}

static AVX512 INLINE void add_int32(int32_t *p, size_t left, __m512i v) {
    v = _mm512_add_epi32(load_int32(p, left), v);
    if (left >= 16)
        _mm512_storeu_si512(p, v);
    else
        _mm512_mask_storeu_epi32(p, (uint16_t)first(left), v);
}

static inline size_t left_of(size_t len, size_t start) {
    return len > start ? len - start : 0;
}

/* ---- Woven columns: of 64, eight of the first half, then eight of the second, and so on. That is
 * how VPACKUSWB joins halves, and how VPUNPCK takes columns apart that VPACKSSDW joins. ---- */

static AVX512 INLINE __m512i weave(__m512i v) {
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), v);
}

static AVX512 INLINE __m512i to_uint8(__m512i v) {
    return _mm512_xor_si512(v, _mm512_set1_epi8(-128));
}

/* High bytes + 128. */
static AVX512 INLINE __m512i load_weights(const int16_t *stored, size_t left) {
    __m512i low = _mm512_srli_epi16(load_int16(stored, left), 8);
    __m512i high = _mm512_srli_epi16(load_int16(stored + 32, left_of(left, 32)), 8);
    return to_uint8(_mm512_packus_epi16(low, high));
}

/* gcc copies sums of type __m512i from register to register in a loop. */
typedef int32_t sums __attribute__((vector_size(64)));

static AVX512 INLINE void add_products(sums *to, __m512i of_uint8, __m512i of_int8) {
    *to = (sums)_mm512_dpbusd_epi32((__m512i)*to, of_uint8, of_int8);
}

/* ---- dot of one window ---- */

/* Sums of 8 vectors: of the first in lane 0, of the last in lane 7. */
static AVX512 INLINE __m256i add_across(const sums v[8]) {
    __m256i half[8];
    for (size_t i = 0; i < 8; i++)
        half[i] = _mm256_add_epi32(_mm512_castsi512_si256((__m512i)v[i]),
                                   _mm512_extracti64x4_epi64((__m512i)v[i], 1));
    for (size_t count = 4; count >= 2; count /= 2)
        for (size_t i = 0; i < count; i++)
            half[i] = _mm256_hadd_epi32(half[2 * i], half[2 * i + 1]);
    return _mm256_add_epi32(_mm256_permute2x128_si256(half[0], half[1], 0x20),
                            _mm256_permute2x128_si256(half[0], half[1], 0x31));
}

/* Up to 8 rows; x is woven. */
static AVX512 void dot_rows(int32_t *acc, const int16_t *w, size_t step, size_t rows,
                            const int8_t *x, __m512i start, size_t len) {
    sums sum[8];
    const int16_t *row[8];
    int32_t total[8];
    for (size_t r = 0; r < 8; r++) {
        sum[r] = (sums)start;
        row[r] = w + smaller(r, rows - 1) * step;
    }
    for (size_t i = 0; i < len; i += COLUMNS)
        for (size_t r = 0; r < 8; r++)
            add_products(&sum[r], load_weights(row[r] + i, len - i), _mm512_loadu_si512(x + i));
    _mm256_storeu_si256((__m256i *)total, add_across(sum));
    for (size_t r = 0; r < rows; r++)
        acc[r] += total[r];
}

static AVX512 void dot_one(int32_t *acc, const int8_t *x, const fdl_block *block) {
    int8_t woven[8 * PIECE];
    for (size_t at = 0; at < block->len; at += sizeof woven) {
        size_t len = smaller(block->len - at, sizeof woven), step = block->step;
        __m512i start = _mm512_setzero_si512();
        for (size_t i = 0; i < len; i += COLUMNS) {
            __m512i v = weave(load_int8(x + at + i, len - i));
            start = _mm512_dpbusd_epi32(start, _mm512_set1_epi8(-128), v);
            _mm512_storeu_si512(woven + i, v);
        }
        start = _mm512_sub_epi32(_mm512_setzero_si512(), start);
        for (size_t o = 0; o < block->rows; o += 8)
            dot_rows(acc + o, block->at + o * step + at, step, smaller(block->rows - o, 8), woven,
                     start, len);
    }
}

/* ---- dot of many windows: rows become lanes ---- */

/* A piece of 32 rows: [four columns][row], uint8. */
typedef struct {
    uint32_t of[PIECE / 4][2][16];
} turned_rows;

/* A piece of the windows, four columns in 32 bits, and what sums begin with. */
typedef struct {
    int32_t of[FDL_WINDOWS][PIECE / 4];
    int32_t start[FDL_WINDOWS];
} packed_windows;

/* Four rows: of 16 columns of 32 bits, column 4 * i + j comes to lanes 4 * i to 4 * i + 3 of
 * row[j]. */
static AVX512 INLINE void turn_four(__m512i row[4]) {
    __m512i low01 = _mm512_unpacklo_epi32(row[0], row[1]);
    __m512i high01 = _mm512_unpackhi_epi32(row[0], row[1]);
    __m512i low23 = _mm512_unpacklo_epi32(row[2], row[3]);
    __m512i high23 = _mm512_unpackhi_epi32(row[2], row[3]);
    row[0] = _mm512_unpacklo_epi64(low01, low23);
    row[1] = _mm512_unpackhi_epi64(low01, low23);
    row[2] = _mm512_unpacklo_epi64(high01, high23);
    row[3] = _mm512_unpackhi_epi64(high01, high23);
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

/* COLUMNS columns of 16 rows, or fewer with the last again. */
static AVX512 INLINE void turn_columns(uint32_t (*to)[2][16], const int16_t *w, size_t step,
                                       size_t rows, size_t left) {
    __m512i by_column[4][4]; /* [place in four woven columns][four rows] */
    for (size_t i = 0; i < 4; i++) {
        __m512i row[4];
        for (size_t r = 0; r < 4; r++)
            row[r] = load_weights(w + smaller(4 * i + r, rows - 1) * step, left);
        turn_four(row);
        for (size_t j = 0; j < 4; j++)
            by_column[j][i] = row[j];
    }
    for (size_t j = 0; j < 4; j++) {
        turn_lanes(by_column[j]);
        for (size_t i = 0; i < 4; i++)
            _mm512_storeu_si512(to[2 * i + j % 2 + 8 * (j / 2)][0], by_column[j][i]);
    }
}

static AVX512 void turn_rows(turned_rows *to, const int16_t *w, size_t step, size_t rows,
                             size_t len) {
    for (size_t i = 0; i < len; i += COLUMNS)
        for (size_t o = 0; o < rows && o < 32; o += 16)
            turn_columns((uint32_t (*)[2][16])to->of[i / 4][o / 16], w + o * step + i, step,
                         smaller(rows - o, 16), len - i);
}

static AVX512 void pack_windows(packed_windows *to, const fdl_windows *windows, size_t at,
                                size_t len) {
    for (size_t m = 0; m < windows->n; m++) {
        const int8_t *x = windows->x + windows->at[m] + at;
        __m512i sum = _mm512_setzero_si512();
        for (size_t i = 0; i < len; i += COLUMNS) {
            __m512i v = load_int8(x + i, len - i);
            _mm512_storeu_si512(&to->of[m][i / 4], v);
            sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(-128), v);
        }
        to->start[m] = -_mm512_reduce_add_epi32(sum);
    }
}

typedef struct {
    turned_rows w;
    packed_windows x;
    size_t rows;  /* that there are from the first of w on */
    size_t fours; /* columns of the piece, divided by 4 */
} dot_piece;

/* 16 * vectors rows and `count` windows; acc of one window, and `step` on that of the next. */
static AVX512 INLINE void dot_tile(int32_t *acc, size_t step, const dot_piece *p, size_t m,
                                   size_t count, size_t vectors) {
    sums sum[16];
    for (size_t i = 0; i < count * vectors; i++)
        sum[i] = (sums)_mm512_set1_epi32(p->x.start[m + i / vectors]);
    for (size_t k = 0; k < p->fours; k++)
        for (size_t j = 0; j < vectors; j++) {
            __m512i weights = _mm512_loadu_si512(p->w.of[k][j]);
            for (size_t i = 0; i < count; i++)
                add_products(&sum[i * vectors + j], weights, _mm512_set1_epi32(p->x.of[m + i][k]));
        }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < vectors; j++)
            add_int32(acc + i * step + 16 * j, left_of(p->rows, 16 * j),
                      (__m512i)sum[i * vectors + j]);
}

static AVX512 INLINE void dot_tiles(int32_t *acc, size_t step, const dot_piece *p, size_t n,
                                    size_t vectors) {
    size_t m = 0;
    for (; m + 8 <= n; m += 8)
        dot_tile(acc + m * step, step, p, m, 8, vectors);
    for (; m + 2 <= n; m += 2)
        dot_tile(acc + m * step, step, p, m, 2, vectors);
    for (; m < n; m++)
        dot_tile(acc + m * step, step, p, m, 1, vectors);
}

static AVX512 void dot_many(int32_t *acc, const fdl_windows *windows, const fdl_block *block) {
    dot_piece p;
    for (size_t at = 0; at < block->len; at += PIECE) {
        size_t len = smaller(block->len - at, PIECE);
        p.fours = (len + 3) / 4;
        pack_windows(&p.x, windows, at, len);
        for (size_t o = 0; o < block->rows; o += 32) {
            p.rows = block->rows - o;
            turn_rows(&p.w, block->at + o * block->step + at, block->step, p.rows, len);
            if (p.rows > 16)
                dot_tiles(acc + o, block->rows, &p, windows->n, 2);
            else
                dot_tiles(acc + o, block->rows, &p, windows->n, 1);
        }
    }
}

static AVX512 void vnni_dot(int32_t *acc, const fdl_windows *windows, const fdl_block *block) {
    if (windows->n >= 4) {
        dot_many(acc, windows, block);
        return;
    }
    for (size_t m = 0; m < windows->n; m++)
        dot_one(acc + m * block->rows, windows->x + windows->at[m], block);
}

/* ---- spread, descend_one ---- */

/* 32 columns of sums: low has 0-3 of each 8, high has 4-7. In order: */
static AVX512 INLINE void add_in_order(int32_t *acc, size_t left, sums low, sums high) {
    const __m512i half = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i other = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    add_int32(acc, left, _mm512_permutex2var_epi64((__m512i)low, half, (__m512i)high));
    add_int32(acc + 16, left_of(left, 16),
              _mm512_permutex2var_epi64((__m512i)low, other, (__m512i)high));
}

/* Adds the products of two pairs of 16 bits to each lane. */
static AVX512 INLINE void add_pairs(sums *to, __m512i a, __m512i b) {
    *to = (sums)_mm512_dpwssd_epi32((__m512i)*to, a, b);
}

/* 32 columns of an even number of live rows, the errors of each two of them in 32 bits. */
static AVX512 INLINE void spread_columns(int32_t *acc, const live_rows *live, const int32_t *error,
                                         size_t at, size_t left) {
    sums low = {0}, high = {0};
    for (size_t i = 0; i < live->count; i += 2) {
        __m512i errors = _mm512_set1_epi32(error[i / 2]);
        __m512i row0 = _mm512_srai_epi16(load_int16(live->row[i] + at, left), 8);
        __m512i row1 = _mm512_srai_epi16(load_int16(live->row[i + 1] + at, left), 8);
        add_pairs(&low, _mm512_unpacklo_epi16(row0, row1), errors);
        add_pairs(&high, _mm512_unpackhi_epi16(row0, row1), errors);
    }
    add_in_order(acc + at, left, low, high);
}

static AVX512 void vnni_spread(int32_t *acc, const int8_t *d, const fdl_block *block) {
    for (size_t o = 0; o < block->rows; o += ROWS) {
        live_rows live;
        int32_t error[ROWS / 2];
        find_live(&live, d, block, o);
        pair_live(&live, error);
        for (size_t at = 0; at < block->len; at += 32)
            spread_columns(acc, &live, error, at, block->len - at);
    }
}

/* 32 columns of `rows` rows less VPMULHRSW(x, error * 2^up) each. */
static AVX512 INLINE void lower_rows(int16_t *const *row, const int8_t *error, int32_t up,
                                     size_t rows, const int16_t *x, size_t len) {
    for (size_t i = 0; i < len; i += 32) {
        __m512i inputs = _mm512_loadu_si512(x + i);
        for (size_t r = 0; r < rows; r++) {
            __m512i factor = _mm512_set1_epi16((int16_t)(error[r] * (1 << up)));
            __m512i change = _mm512_mulhrs_epi16(inputs, factor);
            __m512i stored = load_int16(row[r] + i, len - i);
            store_int16(row[r] + i, len - i, _mm512_subs_epi16(stored, change));
        }
    }
}

static AVX512 void lower_live(const live_rows *live, size_t at, int32_t up, const int16_t *x,
                              size_t len) {
    int16_t *row[4];
    for (size_t i = 0; i < live->count; i += 4) {
        size_t count = smaller(live->count - i, 4);
        for (size_t r = 0; r < count; r++)
            row[r] = live->row[i + r] + at;
        if (count == 4)
            lower_rows(row, live->error + i, up, 4, x, len);
        else
            for (size_t r = 0; r < count; r++)
                lower_rows(row + r, live->error + i + r, up, 1, x, len);
    }
}

/* VPMULHRSW gives (a * b + 2^14) >> 15: the product is shifted left by 15 - shift before, as far
 * as the inputs have room for it, the rest with the errors. */
static AVX512 void vnni_descend_one(const fdl_block *block, const int8_t *x, const int8_t *d,
                                    int32_t shift) {
    int16_t wide[8 * PIECE];
    int32_t up = 15 - shift, x_up = up < 8 ? up : 8;
    for (size_t at = 0; at < block->len; at += 8 * PIECE) {
        size_t len = smaller(block->len - at, 8 * PIECE);
        for (size_t i = 0; i < len; i += 32) {
            __m512i v = _mm512_cvtepi8_epi16(
                _mm512_castsi512_si256(load_int8(x + at + i, smaller(len - i, 32))));
            _mm512_storeu_si512(wide + i, _mm512_sll_epi16(v, _mm_cvtsi32_si128(x_up)));
        }
        for (size_t o = 0; o < block->rows; o += ROWS) {
            live_rows live;
            find_live(&live, d, block, o);
            lower_live(&live, at, up - x_up, wide, len);
        }
    }
}

/* ---- gradient, descend ---- */

/* The group of window_errors after the last: 128 times the sum of a row's errors is too much. */
#define TOO_MUCH FOURS

static AVX512 INLINE __m128i load_errors(const int8_t *d, size_t rows) {
    return rows >= 16 ? _mm_loadu_si128((const __m128i *)d)
                      : _mm_maskz_loadu_epi8((uint16_t)first(rows), d);
}

/* Up to 16 rows from row o on: their errors, four windows in 32 bits. */
static AVX512 void group_some_errors(window_errors *e, size_t o, const int8_t *d, size_t n,
                                     size_t d_step, size_t rows) {
    __m512i any = _mm512_setzero_si512(), too_much = any;
    int32_t any_of[16];
    for (size_t m = 0; m < n; m += 4) {
        __m128i row[4];
        for (size_t i = 0; i < 4; i++)
            row[i] = m + i < n ? load_errors(d + (m + i) * d_step, rows) : _mm_setzero_si128();
        __m128i low01 = _mm_unpacklo_epi8(row[0], row[1]);
        __m128i high01 = _mm_unpackhi_epi8(row[0], row[1]);
        __m128i low23 = _mm_unpacklo_epi8(row[2], row[3]);
        __m128i high23 = _mm_unpackhi_epi8(row[2], row[3]);
        int32_t *to = e->of[m / 4] + o;
        _mm_storeu_si128((__m128i *)to, _mm_unpacklo_epi16(low01, low23));
        _mm_storeu_si128((__m128i *)(to + 4), _mm_unpackhi_epi16(low01, low23));
        _mm_storeu_si128((__m128i *)(to + 8), _mm_unpacklo_epi16(high01, high23));
        _mm_storeu_si128((__m128i *)(to + 12), _mm_unpackhi_epi16(high01, high23));
        __m512i fours = _mm512_loadu_si512(to);
        any = _mm512_or_si512(any, fours);
        too_much = _mm512_dpbusd_epi32(too_much, _mm512_set1_epi8(-128), fours);
    }
    _mm512_storeu_si512(e->of[TOO_MUCH] + o, too_much);
    _mm512_storeu_si512(any_of, any);
    keep_live(e, o, rows, any_of);
}

static AVX512 void group_errors(window_errors *e, const int8_t *d, size_t n, size_t d_step,
                                size_t rows) {
    no_errors(e);
    for (size_t o = 0; o < rows; o += 16)
        group_some_errors(e, o, d + o, n, d_step, smaller(rows - o, 16));
}

/* A piece of the windows, four by four, as uint8: columns 0-3 of each woven 8 of the first half in
 * [0], 4-7 in [1], of the second half in [2] and [3]. */
typedef struct {
    int8_t of[FOURS * PIECE / COLUMNS][4][64];
} grouped_windows;

static AVX512 INLINE void group_columns(int8_t (*to)[64], const __m512i x[4]) {
    __m512i low01 = _mm512_unpacklo_epi8(x[0], x[1]), high01 = _mm512_unpackhi_epi8(x[0], x[1]);
    __m512i low23 = _mm512_unpacklo_epi8(x[2], x[3]), high23 = _mm512_unpackhi_epi8(x[2], x[3]);
    _mm512_storeu_si512(to[0], to_uint8(_mm512_unpacklo_epi16(low01, low23)));
    _mm512_storeu_si512(to[1], to_uint8(_mm512_unpackhi_epi16(low01, low23)));
    _mm512_storeu_si512(to[2], to_uint8(_mm512_unpacklo_epi16(high01, high23)));
    _mm512_storeu_si512(to[3], to_uint8(_mm512_unpackhi_epi16(high01, high23)));
}

/* Columns at to at + len, group after group of windows, then the next COLUMNS. */
static AVX512 void group_windows(grouped_windows *to, const fdl_windows *windows, size_t at,
                                 size_t len) {
    size_t group = 0;
    for (size_t c = 0; c < len; c += COLUMNS)
        for (size_t m = 0; m < windows->n; m += 4) {
            __m512i x[4];
            for (size_t i = 0; i < 4; i++)
                x[i] = m + i < windows->n
                           ? weave(load_int8(windows->x + windows->at[m + i] + at + c, len - c))
                           : _mm512_setzero_si512();
            group_columns(to->of[group++], x);
        }
}

/* Sums over all windows of four rows and COLUMNS columns. */
typedef struct {
    sums of[4][4];
} tile;

static AVX512 INLINE void sum_tile(tile *t, int32_t start, const int8_t (*x)[4][64], size_t fours,
                                   const int32_t *const error[4]) {
    for (size_t r = 0; r < 4; r++)
        for (size_t j = 0; j < 4; j++)
            t->of[r][j] = (sums)_mm512_set1_epi32(start - error[r][TOO_MUCH * ERROR_STEP]);
    for (size_t i = 0; i < fours; i++)
        for (size_t r = 0; r < 4; r++) {
            __m512i errors = _mm512_set1_epi32(error[r][i * ERROR_STEP]);
            for (size_t j = 0; j < 4; j++)
                add_products(&t->of[r][j], _mm512_loadu_si512(x[i][j]), errors);
        }
}

static AVX512 void vnni_gradient(fdl_gradient *g, const fdl_windows *windows, const int8_t *d,
                                 size_t d_step, size_t rows, size_t len) {
    size_t fours = (windows->n + 3) / 4;
    grouped_windows x;
    window_errors e;
    tile t;
    group_errors(&e, d, windows->n, d_step, rows);
    group_windows(&x, windows, 0, len);
    const int32_t *const error[4] = {e.of[0], e.of[0] + 1, e.of[0] + 2, e.of[0] + 3};
    sum_tile(&t, 0, x.of, fours, error);
    for (size_t r = 0; r < rows; r++) {
        add_in_order(g->of[r], len, t.of[r][0], t.of[r][1]);
        add_in_order(g->of[r] + 32, left_of(len, 32), t.of[r][2], t.of[r][3]);
    }
}

static AVX512 void vnni_apply(int16_t *stored, const int32_t *g, size_t len, int32_t shift) {
    __m512i half = _mm512_set1_epi32(1 << (shift - 1));
    __m128i by = _mm_cvtsi32_si128(shift);
    for (size_t i = 0; i < len; i += 16) {
        __m512i v = _mm512_sra_epi32(_mm512_add_epi32(load_int32(g + i, len - i), half), by);
        __m512i change = _mm512_castsi256_si512(_mm512_cvtsepi32_epi16(v));
        size_t left = smaller(len - i, 16);
        store_int16(stored + i, left, _mm512_subs_epi16(load_int16(stored + i, left), change));
    }
}

/* 32 weights less 32 gradients. */
static AVX512 INLINE void lower(int16_t *stored, size_t left, sums low, sums high, __m128i shift) {
    __m512i change = _mm512_packs_epi32(_mm512_sra_epi32((__m512i)low, shift),
                                        _mm512_sra_epi32((__m512i)high, shift));
    store_int16(stored, left, _mm512_subs_epi16(load_int16(stored, left), change));
}

/* Not inlined, so that all of its sums stay in registers. */
static AVX512 FDL_NOINLINE void descend_four(const four_rows *four, const grouped_windows *x,
                                             size_t fours, size_t len, int32_t shift) {
    __m128i by = _mm_cvtsi32_si128(shift);
    for (size_t i = 0; i < len; i += COLUMNS) {
        tile t;
        sum_tile(&t, 1 << (shift - 1), x->of + i / COLUMNS * fours, fours, four->error);
        for (size_t r = 0; r < 4; r++) {
            int16_t *stored = four->row[r] + i;
            lower(stored, len - i, t.of[r][0], t.of[r][1], by);
            lower(stored + 32, left_of(len - i, 32), t.of[r][2], t.of[r][3], by);
        }
    }
}

static AVX512 void vnni_descend(const fdl_block *block, const fdl_windows *windows, const int8_t *d,
                                int32_t shift) {
    size_t fours = (windows->n + 3) / 4;
    grouped_windows x;
    for (size_t o = 0; o < block->rows; o += ROWS) {
        window_errors e;
        group_errors(&e, d + o, windows->n, block->rows, smaller(block->rows - o, ROWS));
        for (size_t at = 0; at < block->len; at += PIECE) {
            size_t len = smaller(block->len - at, PIECE);
            int16_t *w = block->at + o * block->step + at;
            group_windows(&x, windows, at, len);
            for (size_t i = 0; i < e.count; i += 4) {
                four_rows four = take_four(&e, i, w, block->step);
                descend_four(&four, &x, fours, len, shift);
            }
        }
    }
}

/* ---- magnitude, narrow ---- */

static AVX512 uint32_t vnni_magnitude(const int32_t *acc, size_t count, uint32_t relu) {
    __m512i all = _mm512_setzero_si512();
    for (size_t j = 0; j < count; j += 16) {
        __m512i v = load_int32(acc + j, count - j);
        v = relu ? _mm512_max_epi32(v, _mm512_setzero_si512()) : _mm512_abs_epi32(v);
        all = _mm512_or_si512(all, v);
    }
    return (uint32_t)_mm512_reduce_or_epi32(all);
}

static AVX512 void vnni_narrow(const int32_t *acc, size_t count, int32_t shift, int32_t low,
                               int8_t *q) {
    __m512i half = _mm512_set1_epi32((1 << shift) >> 1);
    __m128i lowest = _mm_set1_epi8((int8_t)low), by = _mm_cvtsi32_si128(shift);
    for (size_t j = 0; j < count; j += 16) {
        __m512i v = _mm512_add_epi32(load_int32(acc + j, count - j), half);
        __m128i bytes = _mm_max_epi8(_mm512_cvtsepi32_epi8(_mm512_sra_epi32(v, by)), lowest);
        if (count - j >= 16)
            _mm_storeu_si128((__m128i *)(q + j), bytes);
        else
            _mm_mask_storeu_epi8(q + j, (uint16_t)first(count - j), bytes);
    }
}

const fdl_kernels fdl_avx512vnni = {
    .name = "avx512vnni",
    .dot = vnni_dot,
    .spread = vnni_spread,
    .gradient = vnni_gradient,
    .apply = vnni_apply,
    .descend = vnni_descend,
    .descend_one = vnni_descend_one,
    .magnitude = vnni_magnitude,
    .narrow = vnni_narrow,
};
#endif
