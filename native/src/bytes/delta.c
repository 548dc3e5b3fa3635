/* What training changed: the update that leaves the device (NUMERICS section 7). */
#include "bytes.h"
#include "../numbers/fixed.h"
#include "fedling.h"

static uint32_t subtract16(const uint8_t *before, const uint8_t *after, uint8_t *delta) {
    int32_t change = fdl_read16(after) - fdl_read16(before);
    int32_t kept = fdl_sat16(change);
    fdl_write16(delta, (int16_t)kept);
    return kept != change;
}

static uint32_t subtract32(const uint8_t *before, const uint8_t *after, uint8_t *delta) {
    int64_t change = (int64_t)fdl_read32(after) - fdl_read32(before);
    int32_t kept = fdl_sat32(change);
    fdl_write32(delta, kept);
    return kept != change;
}

int fdl_delta(const fdl_layer *layers, size_t layer_count, const uint8_t *before, size_t before_len,
              const uint8_t *after, size_t after_len, uint8_t *delta, size_t delta_len,
              uint32_t *saturated) {
    int error = fdl_check_layers(layers, layer_count);
    if (error)
        return error;
    if (before == NULL || after == NULL || delta == NULL || saturated == NULL)
        return FDL_E_NULL;
    size_t weights = 2 * fdl_weight_count(layers, layer_count);
    size_t size = fdl_packed_size(layers, layer_count);
    if (before_len != size || after_len != size || delta_len != size)
        return FDL_E_LENGTH;
    uint32_t count = 0;
    for (size_t j = 0; j < weights; j += 2)
        count += subtract16(before + j, after + j, delta + j);
    for (size_t j = weights; j < size; j += 4)
        count += subtract32(before + j, after + j, delta + j);
    *saturated = count;
    return FDL_OK;
}
