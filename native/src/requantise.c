/* Accumulators to int8: the exponent of a tensor follows its largest value. */
#include "internal.h"

/* |acc| <= 2^30 - 1 + 65535 * 127 * 128 and half a step is at most 2^23: below 2^31 together. */
int32_t fdl_requantise(const int32_t *acc, size_t count, int8_t *q) {
    int32_t lowest = 0, highest = 0;
    for (size_t j = 0; j < count; j++) {
        lowest = fdl_min32(lowest, acc[j]);
        highest = fdl_max32(highest, acc[j]);
    }
    int32_t shift = fdl_int8_shift((uint32_t)fdl_max32(-lowest, highest));
    int32_t half = (1 << shift) >> 1;
    for (size_t j = 0; j < count; j++)
        q[j] = (int8_t)fdl_clamp32((acc[j] + half) >> shift, -127, 127);
    return shift;
}
