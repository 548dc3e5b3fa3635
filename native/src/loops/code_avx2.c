/* The inner loops of the codec with AVX2. */
#include "isa.h"
#include "../without.h"

#if FDL_X86 && !FDL_WITHOUT_CODEC
#include FDL_IMMINTRIN

#define VECTOR FDL_TARGET("avx2")
#define LANES  8
#include "code_paths.h"

VECTOR void fdl_avx2_words(uint32_t *to, size_t count, uint32_t first, uint32_t stream,
                           const uint32_t seed[2]) {
    loop_words(to, count, first, stream, seed);
}

VECTOR void fdl_avx2_measure(fdl_measured *measured, const int32_t *values, size_t count,
                             int32_t down) {
    loop_measure(measured, values, count, down);
}

VECTOR void fdl_avx2_gather(int32_t *block, size_t count, fdl_order order, const int32_t *values) {
    bits places = first_places(order);
    uint32_t step = step_of_row(order);
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        lanes row = (lanes)_mm256_i32gather_epi32(values, (__m256i)places, 4);
        store_row(block + i, row);
        places = next_places(places, step, order.count);
    }
    if (i < count)
        fdl_plain_gather(block + i, count - i, (fdl_order){places[0], order.step, order.count},
                         values);
}

VECTOR uint64_t fdl_avx2_spread(int32_t *block, size_t count, const fdl_unit *unit) {
    return loop_spread(block, count, unit);
}

VECTOR void fdl_avx2_rotate(int32_t *block, size_t length, const uint32_t *signs, int32_t shift) {
    vectors_rotate(block, length, signs, shift);
}

VECTOR void fdl_avx2_rotate_back(int32_t *block, size_t length, const uint32_t *signs,
                                 int32_t shift) {
    vectors_rotate_back(block, length, signs, shift);
}

VECTOR void fdl_avx2_quantise(int32_t *block, size_t length, const fdl_scalar *by, fdl_sums *sums) {
    loop_quantise(block, length, by, sums);
}

VECTOR void fdl_avx2_scatter(int32_t *estimate, fdl_order order, const int32_t *block, size_t count,
                             fdl_gain gain) {
    vectors_scatter(estimate, order, block, count, gain);
}

VECTOR void fdl_avx2_costs(const fdl_trellis_table *by, const int32_t *block, size_t length,
                           fdl_trellis_costs *to) {
    loop_costs(by, block, length, to);
}

VECTOR void fdl_avx2_paths(const fdl_trellis_table *by, const fdl_trellis_costs *costs,
                           size_t length, uint16_t *ways, uint8_t *from) {
    (void)by;
    vectors_paths(costs, length, ways, from);
}

VECTOR void fdl_avx2_paths_32(const fdl_trellis_table *by, const fdl_trellis_costs *costs,
                              size_t length, uint16_t *ways, uint8_t *from) {
    vectors_paths_32(by->mask, costs, length, ways, from);
}

#endif
