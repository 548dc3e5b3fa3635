/* CRC-32 (IEEE 802.3, as in zlib) of the canonical bytes: one number, the same on every target. */
#include "bytes.h"
#include "../net/net.h"

/* The polynomial over half a byte: 64 bytes of flash where a whole byte's table takes 1,024. */
static const uint32_t NIBBLE[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
};

static uint32_t add_bytes(uint32_t crc, const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ NIBBLE[crc & 15];
        crc = crc >> 4 ^ NIBBLE[crc & 15];
    }
    return crc;
}

int fdl_checksum(const fdl_net *net, uint32_t *crc) {
    int error = fdl_check_net(net);
    if (error)
        return error;
    if (crc == NULL)
        return FDL_E_NULL;
    uint32_t sum = 0xffffffffu;
    uint8_t bytes[4];
    fdl_cursor weights = fdl_first_weight(net);
    for (const int16_t *w; (w = fdl_next_weight(&weights)) != NULL;) {
        fdl_write16(bytes, *w);
        sum = add_bytes(sum, bytes, 2);
    }
    for (size_t j = 0; j < net->bias_count; j++) {
        fdl_write32(bytes, net->biases[j]);
        sum = add_bytes(sum, bytes, 4);
    }
    *crc = ~sum;
    return FDL_OK;
}
