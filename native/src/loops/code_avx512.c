/* The inner loops of the codec with AVX-512. */
#include "isa.h"
#include "../without.h"

#if FDL_X86 && !FDL_WITHOUT_CODEC
#include FDL_IMMINTRIN

#define VECTOR FDL_TARGET("avx512f,avx512bw,avx512vl,avx512vnni")
#define LANES  16
#include "code_paths.h"

VECTOR void fdl_avx512_words(uint32_t *to, size_t count, uint32_t first, uint32_t stream,
                             const uint32_t seed[2]) {
    loop_words(to, count, first, stream, seed);
}

VECTOR void fdl_avx512_measure(fdl_measured *measured, const int32_t *values, size_t count,
                               int32_t down) {
    loop_measure(measured, values, count, down);
}

VECTOR void fdl_avx512_gather(int32_t *block, size_t count, fdl_order order,
                              const int32_t *values) {
    bits places = first_places(order);
    uint32_t step = step_of_row(order);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        lanes row = (lanes)_mm512_i32gather_epi32((__m512i)places, values, 4);
        store_row(block + i, row);
        places = next_places(places, step, order.count);
    }
    if (i < count)
        fdl_plain_gather(block + i, count - i, (fdl_order){places[0], order.step, order.count},
                         values);
}

VECTOR uint64_t fdl_avx512_spread(int32_t *block, size_t count, const fdl_unit *unit) {
    return loop_spread(block, count, unit);
}

VECTOR void fdl_avx512_rotate(int32_t *block, size_t length, const uint32_t *signs, int32_t shift) {
    vectors_rotate(block, length, signs, shift);
}

VECTOR void fdl_avx512_rotate_back(int32_t *block, size_t length, const uint32_t *signs,
                                   int32_t shift) {
    vectors_rotate_back(block, length, signs, shift);
}

VECTOR void fdl_avx512_quantise(int32_t *block, size_t length, const fdl_scalar *by,
                                fdl_sums *sums) {
    loop_quantise(block, length, by, sums);
}

VECTOR void fdl_avx512_scatter(int32_t *estimate, fdl_order order, const int32_t *block,
                               size_t count, fdl_gain gain) {
    vectors_scatter(estimate, order, block, count, gain);
}

/* ---- Costs of 32 places, with tables that fit in a vector ---- */

#define WORDS 32

/* The entries of a subset, apart: where magnitudes stand, and what they cost. */
typedef struct {
    __m512i off, cost, last;
} word_table;

static VECTOR word_table split_entries(const fdl_trellis_table *by, size_t q) {
    uint16_t off[WORDS], cost[WORDS];
    for (int32_t k = 0; k < WORDS; k++) {
        uint32_t entry = by->entries[q][fdl_min32(k, by->last[q])];
        off[k] = (uint16_t)entry;
        cost[k] = (uint16_t)(entry >> 16);
    }
    return (word_table){_mm512_loadu_si512(off), _mm512_loadu_si512(cost),
                        _mm512_set1_epi16((int16_t)by->last[q])};
}

/* As place_in_steps(), of the even or the odd values of a vector. */
static VECTOR INLINE __m512i place_words(__m512i z, uint32_t inverse) {
    __m512i size = _mm512_slli_epi32(_mm512_abs_epi32(z), 16);
    __m512i factor = _mm512_set1_epi64(inverse), half = _mm512_set1_epi64(0x80000000);
    __m512i even = _mm512_add_epi64(_mm512_mul_epu32(size, factor), half);
    __m512i odd = _mm512_add_epi64(_mm512_mul_epu32(_mm512_srli_epi64(size, 32), factor), half);
    __m512i all = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
    return _mm512_min_epu32(all, _mm512_set1_epi32(FDL_MOST_PLACE));
}

static VECTOR INLINE __m512i load_places(const int32_t *block, uint32_t inverse) {
    __m512i low = place_words(_mm512_loadu_si512(block), inverse);
    __m512i high = place_words(_mm512_loadu_si512(block + WORDS / 2), inverse);
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi32_epi16(low)),
                              _mm512_cvtepi32_epi16(high), 1);
}

/* As cost_near(): distances are short, so that they are right where products wrap around. */
static VECTOR INLINE __m512i cost_words(__m512i a, __m512i k, const word_table *by) {
    __m512i at = _mm512_min_epu16(k, by->last);
    __m512i near = _mm512_add_epi16(_mm512_slli_epi16(k, 6), _mm512_permutexvar_epi16(at, by->off));
    __m512i h = _mm512_min_epu16(_mm512_abs_epi16(_mm512_sub_epi16(a, near)),
                                 _mm512_set1_epi16(FDL_FARTHEST));
    __m512i bent = _mm512_min_epu16(h, _mm512_set1_epi16(FDL_BENT));
    return _mm512_add_epi16(_mm512_srli_epi16(_mm512_mullo_epi16(h, bent), 2),
                            _mm512_permutexvar_epi16(at, by->cost));
}

static VECTOR INLINE void choose_words(__m512i a, __m512i upper, int odd, const word_table *by,
                                       uint16_t *cost, uint16_t *k) {
    __m512i lower = _mm512_max_epi16(_mm512_sub_epi16(upper, _mm512_set1_epi16(2)),
                                     _mm512_set1_epi16((int16_t)odd));
    __m512i up = cost_words(a, upper, by), down = cost_words(a, lower, by);
    __mmask32 is_lower = _mm512_cmplt_epu16_mask(down, up);
    _mm512_storeu_si512(cost, _mm512_min_epu16(up, down));
    _mm512_storeu_si512(k, _mm512_mask_blend_epi16(is_lower, upper, lower));
}

static VECTOR void words_costs(const fdl_trellis_table *by, const int32_t *block, size_t length,
                               fdl_trellis_costs *to) {
    const __m512i one = _mm512_set1_epi16(1);
    word_table table[2] = {split_entries(by, 0), split_entries(by, 1)};
    for (size_t i = 0; i < length; i += WORDS) {
        __m512i a = load_places(block + i, by->inverse);
        for (size_t q = 0; q < 2; q++) {
            __m512i f =
                _mm512_srli_epi16(_mm512_add_epi16(a, _mm512_set1_epi16((int16_t)(32 * q))), 6);
            __m512i even = _mm512_andnot_si512(one, _mm512_add_epi16(f, one));
            choose_words(a, even, 0, &table[q], to->cost[2 * q] + i, to->k[2 * q] + i);
            choose_words(a, _mm512_or_si512(f, one), 1, &table[q], to->cost[2 * q + 1] + i,
                         to->k[2 * q + 1] + i);
        }
    }
}

VECTOR void fdl_avx512_costs(const fdl_trellis_table *by, const int32_t *block, size_t length,
                             fdl_trellis_costs *to) {
    if (length % WORDS == 0 && by->last[0] < WORDS && by->last[1] < WORDS)
        words_costs(by, block, length, to);
    else
        loop_costs(by, block, length, to);
}

VECTOR void fdl_avx512_paths(const fdl_trellis_table *by, const fdl_trellis_costs *costs,
                             size_t length, uint16_t *ways, uint8_t *from) {
    (void)by;
    vectors_paths(costs, length, ways, from);
}

/* ---- 32 states in one vector ---- */

/* Of each state the two before it, in pairs of bytes; and where their costs stand among the four of
 * a place, by 2 * subset + parity. */
typedef struct {
    __m512i lower, upper, by_lower, by_upper;
} before_32;

static VECTOR before_32 states_before(uint32_t mask) {
    uint16_t lower[32], upper[32], by_lower[32], by_upper[32];
    for (uint32_t t = 0; t < 32; t++) {
        uint32_t q = t >> 4, even = t ^ 18 * q, is_odd = even >> 2 & 1;
        uint32_t s = 2 * (even & ~4u) + q, at = 2 * ((s & mask) != 0);
        lower[t] = (uint16_t)s;
        upper[t] = (uint16_t)(s + 8);
        by_lower[t] = (uint16_t)(0x0100 + 0x0202 * (at + is_odd));
        by_upper[t] = (uint16_t)(0x0100 + 0x0202 * (at + (is_odd ^ 1)));
    }
    return (before_32){_mm512_loadu_si512(lower), _mm512_loadu_si512(upper),
                       _mm512_loadu_si512(by_lower), _mm512_loadu_si512(by_upper)};
}

static VECTOR INLINE __mmask32 step_words(__m512i *ways, uint64_t costs, const before_32 *by) {
    __m512i all = _mm512_set1_epi64((int64_t)costs);
    __m512i lower = _mm512_adds_epu16(_mm512_permutexvar_epi16(by->lower, *ways),
                                      _mm512_shuffle_epi8(all, by->by_lower));
    __m512i upper = _mm512_adds_epu16(_mm512_permutexvar_epi16(by->upper, *ways),
                                      _mm512_shuffle_epi8(all, by->by_upper));
    *ways = _mm512_min_epu16(lower, upper);
    return _mm512_cmplt_epu16_mask(upper, lower);
}

static VECTOR INLINE __m512i level_words(__m512i ways) {
    __m256i half =
        _mm256_min_epu16(_mm512_castsi512_si256(ways), _mm512_extracti64x4_epi64(ways, 1));
    __m128i part = _mm_min_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    return _mm512_sub_epi16(ways, _mm512_broadcastw_epi16(_mm_minpos_epu16(part)));
}

/* The four costs of each of 8 places. */
static VECTOR INLINE void gather_costs(uint64_t to[8], const fdl_trellis_costs *costs, size_t i) {
    __m128i a = load_costs(costs->cost[0] + i), b = load_costs(costs->cost[1] + i);
    __m128i c = load_costs(costs->cost[2] + i), d = load_costs(costs->cost[3] + i);
    __m128i low = _mm_unpacklo_epi16(a, b), low2 = _mm_unpacklo_epi16(c, d);
    __m128i high = _mm_unpackhi_epi16(a, b), high2 = _mm_unpackhi_epi16(c, d);
    _mm_storeu_si128((__m128i *)(void *)to, _mm_unpacklo_epi32(low, low2));
    _mm_storeu_si128((__m128i *)(void *)(to + 2), _mm_unpackhi_epi32(low, low2));
    _mm_storeu_si128((__m128i *)(void *)(to + 4), _mm_unpacklo_epi32(high, high2));
    _mm_storeu_si128((__m128i *)(void *)(to + 6), _mm_unpackhi_epi32(high, high2));
}

VECTOR void fdl_avx512_paths_32(const fdl_trellis_table *by, const fdl_trellis_costs *costs,
                                size_t length, uint16_t *ways, uint8_t *from) {
    before_32 before = states_before(by->mask);
    __m512i all = _mm512_loadu_si512(ways);
    uint64_t four[8];
    for (size_t i = 0; i < length; i += 8) {
        gather_costs(four, costs, i);
        for (size_t j = 0; j < 8; j++) {
            uint32_t came = step_words(&all, four[j], &before);
            memcpy(from + 4 * (i + j), &came, sizeof came);
            if (j % 4 == 3)
                all = level_words(all);
        }
    }
    _mm512_storeu_si512(ways, all);
}

#endif
