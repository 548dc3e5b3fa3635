/* The trellises of the codec on x86: what each place costs, many places at a time; then all states
 * at once, 16 bits each. */
#ifndef FDL_CODE_PATHS_H
#define FDL_CODE_PATHS_H

#include "code_vectors.h"

/* |a - near| to a cost: its square up to a distance, from there on a line, then no more. */
static INLINE int32_t cost_near(int32_t a, int32_t k, uint32_t entry) {
    int32_t off = a - 64 * k - (int16_t)entry, far = off < 0 ? -off : off;
    int32_t h = fdl_min32(far, FDL_FARTHEST);
    return (h * fdl_min32(h, FDL_BENT) >> 2) + (int32_t)(entry >> 16);
}

static INLINE int32_t place_in_steps(int32_t z, uint32_t inverse) {
    uint64_t product = (uint64_t)(fdl_magnitude(z) << 16) * inverse;
    uint32_t a = (uint32_t)((product + 0x80000000u) >> 32);
    return a < FDL_MOST_PLACE ? (int32_t)a : FDL_MOST_PLACE;
}

static INLINE void loop_costs(const fdl_trellis_table *by, const int32_t *block, size_t length,
                              fdl_trellis_costs *to) {
    for (int32_t q = 0; q < 2; q++)
        for (int32_t odd = 0; odd < 2; odd++) {
            const uint32_t *entries = by->entries[q];
            uint16_t *costs = to->cost[2 * q + odd], *chosen = to->k[2 * q + odd];
            int32_t last = by->last[q];
            for (size_t i = 0; i < length; i++) {
                int32_t a = place_in_steps(block[i], by->inverse), f = (a + 32 * q) >> 6;
                int32_t upper = odd ? f | 1 : (f + 1) & ~1, lower = fdl_max32(upper - 2, odd);
                int32_t up = cost_near(a, upper, entries[fdl_min32(upper, last)]);
                int32_t down = cost_near(a, lower, entries[fdl_min32(lower, last)]);
                costs[i] = (uint16_t)fdl_min32(up, down);
                chosen[i] = (uint16_t)(down < up ? lower : upper);
            }
        }
}

/* The 16-bit words of a vector that stand in those places. */
#define PICK(a, b, c, d, e, f, g, h)                                                               \
    _mm_setr_epi8(2 * a, 2 * a + 1, 2 * b, 2 * b + 1, 2 * c, 2 * c + 1, 2 * d, 2 * d + 1, 2 * e,   \
                  2 * e + 1, 2 * f, 2 * f + 1, 2 * g, 2 * g + 1, 2 * h, 2 * h + 1)

/* One place further: of each state whether it is reached from the lower state. `pair` has the four
 * costs of two places, `odd` says which. */
static VECTOR INLINE __m128i one_step(__m128i *ways, __m128i pair, int odd) {
    const __m128i from_lower = PICK(0, 2, 0, 2, 3, 1, 3, 1);
    const __m128i from_upper = PICK(4, 6, 4, 6, 7, 5, 7, 5);
    const __m128i shift = _mm_set1_epi8(odd ? 8 : 0);
    __m128i by_lower = _mm_add_epi8(PICK(0, 0, 1, 1, 2, 2, 3, 3), shift);
    __m128i by_upper = _mm_add_epi8(PICK(1, 1, 0, 0, 3, 3, 2, 2), shift);
    __m128i lower =
        _mm_adds_epu16(_mm_shuffle_epi8(*ways, from_lower), _mm_shuffle_epi8(pair, by_lower));
    __m128i upper =
        _mm_adds_epu16(_mm_shuffle_epi8(*ways, from_upper), _mm_shuffle_epi8(pair, by_upper));
    *ways = _mm_min_epu16(lower, upper);
    return _mm_cmpeq_epi16(*ways, lower);
}

static VECTOR INLINE void two_steps(__m128i *ways, __m128i pair, uint8_t *from) {
    __m128i first = one_step(ways, pair, 0), second = one_step(ways, pair, 1);
    uint16_t lower = (uint16_t)_mm_movemask_epi8(_mm_packs_epi16(first, second));
    lower = (uint16_t)~lower;
    memcpy(from, &lower, sizeof lower);
}

/* The least of all ways is 0 again. */
static VECTOR INLINE __m128i level_ways(__m128i ways) {
    return _mm_sub_epi16(ways, _mm_broadcastw_epi16(_mm_minpos_epu16(ways)));
}

static VECTOR INLINE __m128i load_costs(const uint16_t *costs) {
    return _mm_loadu_si128((const __m128i *)(const void *)costs);
}

/* No way grows by more than 7 costs before it is made less. */
static VECTOR INLINE void vectors_paths(const fdl_trellis_costs *costs, size_t length, uint16_t *to,
                                        uint8_t *from) {
    __m128i ways = load_costs(to);
    for (size_t i = 0; i < length; i += 8) {
        __m128i even = load_costs(costs->cost[0] + i), odd = load_costs(costs->cost[1] + i);
        __m128i even2 = load_costs(costs->cost[2] + i), odd2 = load_costs(costs->cost[3] + i);
        __m128i low = _mm_unpacklo_epi16(even, odd), low2 = _mm_unpacklo_epi16(even2, odd2);
        __m128i high = _mm_unpackhi_epi16(even, odd), high2 = _mm_unpackhi_epi16(even2, odd2);
        two_steps(&ways, _mm_unpacklo_epi32(low, low2), from + i);
        two_steps(&ways, _mm_unpackhi_epi32(low, low2), from + i + 2);
        ways = level_ways(ways);
        two_steps(&ways, _mm_unpacklo_epi32(high, high2), from + i + 4);
        two_steps(&ways, _mm_unpackhi_epi32(high, high2), from + i + 6);
        ways = level_ways(ways);
    }
    _mm_storeu_si128((__m128i *)(void *)to, ways);
}

/* ---- 32 states ---- */

/* Ways to states 0 to 15 and 16 to 31. */
typedef struct {
    __m256i low, high;
} ways_32;

/* The words of even states before those of odd ones, whose pairs change places. */
static VECTOR INLINE __m256i sort_words(__m256i words) {
    return _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(PICK(0, 2, 4, 6, 5, 7, 1, 3)));
}

/* Bits of which the bytes of the least ways are not those from the lower state. */
static VECTOR INLINE uint32_t upper_bits(__m256i first, __m256i second) {
    const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 5, 7, 1, 3, 13, 15, 9, 11);
    __m256i is_lower =
        _mm256_shuffle_epi8(_mm256_packs_epi16(first, second), _mm256_broadcastsi128_si256(order));
    return ~(uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(is_lower, 0xd8));
}

/* The words of a pair that are costs of eight states that follow each other. */
static VECTOR INLINE __m256i pick_subsets(uint32_t mask) {
    const __m128i states = _mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7);
    __m128i both = _mm_and_si128(states, _mm_set1_epi16((int16_t)mask));
    __m128i is_first = _mm_cmpeq_epi16(both, _mm_setzero_si128());
    return _mm256_broadcastsi128_si256(
        _mm_blendv_epi8(_mm_set1_epi16(0x0302), _mm_set1_epi16(0x0100), is_first));
}

/* One place further. even, odd: costs of magnitudes in both subsets, `pick` which of them a state
 * has. Lower and upper states lie 8 apart; from both two are reached, 4 apart. */
static VECTOR INLINE uint32_t step_32(ways_32 *ways, uint32_t even, uint32_t odd, __m256i pick) {
    __m256i by_even = _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)even), pick);
    __m256i by_odd = _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)odd), pick);
    __m256i lower = _mm256_permute2x128_si256(ways->low, ways->high, 0x20);
    __m256i upper = _mm256_permute2x128_si256(ways->low, ways->high, 0x31);
    __m256i lower1 = _mm256_adds_epu16(lower, by_even), upper1 = _mm256_adds_epu16(upper, by_odd);
    __m256i lower2 = _mm256_adds_epu16(lower, by_odd), upper2 = _mm256_adds_epu16(upper, by_even);
    __m256i first = _mm256_min_epu16(lower1, upper1), second = _mm256_min_epu16(lower2, upper2);
    __m256i sorted1 = sort_words(first), sorted2 = sort_words(second);
    ways->low = _mm256_unpacklo_epi64(sorted1, sorted2);
    ways->high = _mm256_unpackhi_epi64(sorted1, sorted2);
    return upper_bits(_mm256_cmpeq_epi16(first, lower1), _mm256_cmpeq_epi16(second, lower2));
}

static VECTOR INLINE void level_32(ways_32 *ways) {
    __m256i all = _mm256_min_epu16(ways->low, ways->high);
    __m128i half = _mm_min_epu16(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    __m256i least = _mm256_broadcastw_epi16(_mm_minpos_epu16(half));
    ways->low = _mm256_sub_epi16(ways->low, least);
    ways->high = _mm256_sub_epi16(ways->high, least);
}

/* Costs of 8 places: of even or of odd magnitudes, both subsets in a word. */
static VECTOR INLINE void pair_costs(uint32_t pairs[8], const uint16_t *first,
                                     const uint16_t *second) {
    __m128i a = load_costs(first), b = load_costs(second);
    _mm_storeu_si128((__m128i *)(void *)pairs, _mm_unpacklo_epi16(a, b));
    _mm_storeu_si128((__m128i *)(void *)(pairs + 4), _mm_unpackhi_epi16(a, b));
}

/* No way grows by more than 9 costs before it is made less. */
static VECTOR INLINE void vectors_paths_32(uint32_t mask, const fdl_trellis_costs *costs,
                                           size_t length, uint16_t *to, uint8_t *from) {
    const __m256i pick = pick_subsets(mask);
    ways_32 ways;
    uint32_t even[8], odd[8];
    memcpy(&ways, to, sizeof ways);
    for (size_t i = 0; i < length; i += 8) {
        pair_costs(even, costs->cost[0] + i, costs->cost[2] + i);
        pair_costs(odd, costs->cost[1] + i, costs->cost[3] + i);
        for (size_t j = 0; j < 8; j++) {
            uint32_t came = step_32(&ways, even[j], odd[j], pick);
            memcpy(from + 4 * (i + j), &came, sizeof came);
            if (j % 4 == 3)
                level_32(&ways);
        }
    }
    memcpy(to, &ways, sizeof ways);
}

#endif
