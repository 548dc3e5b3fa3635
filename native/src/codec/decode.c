/* An estimate from a message, from the first block to the last. */
#include "codec.h"
#include "scale.h"
#include "symbols.h"
#include "../bytes/bytes.h"
#include "../net/net.h"

#include <string.h>

#if !FDL_WITHOUT_CODEC

typedef struct {
    const fdl_kernels *loops;
    const fdl_code *code;
    const uint16_t *dither;
    int32_t *block, *estimate;
    fdl_order order;
    uint32_t scale;
    fdl_reader reader;
} decoding;

/* What a header says of itself alone. */
static int check_header(const fdl_code *code, const uint8_t *message, size_t message_len) {
    if (message_len < FDL_HEADER || message[0] != code->quantiser)
        return FDL_E_MESSAGE;
    if ((uint32_t)fdl_read32(message + 3) < FDL_FIRST)
        return FDL_E_MESSAGE;
    return (uint32_t)fdl_read32(message + 7) < FDL_FIRST ? FDL_E_MESSAGE : FDL_OK;
}

static void start(decoding *d, void *arena, const uint8_t *message, size_t message_len) {
    uint8_t *free = arena;
    d->block = fdl_take(&free, FDL_BLOCK * sizeof *d->block);
    d->scale = (uint16_t)fdl_read16(message + 1);
    fdl_start_reader(&d->reader, d->code, free, message + FDL_HEADER, message + message_len);
    d->reader.source.state[0] = (uint32_t)fdl_read32(message + 3);
    d->reader.source.state[1] = (uint32_t)fdl_read32(message + 7);
}

static int decode_blocks(decoding *d) {
    size_t kept = d->code->kept;
    for (size_t place = 0; place < kept;) {
        fdl_piece piece = fdl_piece_from(place, kept);
        const uint16_t *dither = d->dither ? d->dither + place : NULL;
        int32_t gain = fdl_take_gain(&d->reader);
        if (gain < FDL_LEAST_GAIN || gain > FDL_MOST_GAIN)
            return FDL_E_MESSAGE;
        fdl_take_block(&d->reader, d->block, piece.length, dither);
        fdl_rotate_back(d->block, d->loops, d->code, piece);
        d->loops->scatter(d->estimate, fdl_order_at(d->order, place), d->block,
                          fdl_filled(piece, kept), fdl_gain_of(d->scale, gain));
        place += piece.length;
    }
    return fdl_is_whole(&d->reader.source) ? FDL_OK : FDL_E_MESSAGE;
}

#endif

int fdl_decode(const fdl_code *code, const uint8_t *message, size_t message_len,
               const uint16_t *dither, size_t dither_count, void *arena, size_t arena_len,
               int32_t *estimate, size_t count) {
#if FDL_WITHOUT_CODEC
    (void)code, (void)message, (void)message_len, (void)dither, (void)dither_count, (void)arena;
    (void)arena_len, (void)estimate, (void)count;
    return FDL_E_ABSENT;
#else
    if (estimate == NULL || (message == NULL && message_len > 0))
        return FDL_E_NULL;
    int error = fdl_check_coding(code, count, dither, dither_count, arena, arena_len,
                                 fdl_code_arena_size(code, count));
    if (error == FDL_OK && message_len > 0)
        error = check_header(code, message, message_len);
    if (error)
        return error;
    if (message_len == 0 || code->kept < count)
        memset(estimate, 0, count * sizeof *estimate);
    if (message_len == 0)
        return FDL_OK;
    decoding d = {.loops = fdl_kernels_here(), .code = code, .dither = dither};
    d.estimate = estimate;
    d.order = fdl_start_order(code, count);
    start(&d, arena, message, message_len);
    return decode_blocks(&d);
#endif
}
