/* Little-endian integers at any address, on any processor. */
#ifndef FDL_BYTES_H
#define FDL_BYTES_H

#include <stdint.h>

static inline int16_t fdl_read16(const uint8_t *p) {
    return (int16_t)(uint16_t)(p[0] | p[1] << 8);
}

static inline int32_t fdl_read32(const uint8_t *p) {
    return (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                     (uint32_t)p[3] << 24);
}

static inline void fdl_write16(uint8_t *p, int16_t value) {
    uint16_t bits = (uint16_t)value;
    p[0] = (uint8_t)bits;
    p[1] = (uint8_t)(bits >> 8);
}

static inline void fdl_write32(uint8_t *p, int32_t value) {
    uint32_t bits = (uint32_t)value;
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(bits >> (8 * i));
}

#endif
