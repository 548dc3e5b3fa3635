/* Numbers into words and back: a state of rANS (Duda 2013; Giesen 2014) for every other number. */
#ifndef FDL_RANS_H
#define FDL_RANS_H

#include "../bytes/bytes.h"
#include "codec.h"

/* From the last number to the first, words from the end of free memory down. */
typedef struct fdl_sink {
    uint32_t state[2];
    uint8_t *start, *at; /* from `at` on there are words */
    uint32_t is_full;
} fdl_sink;

/* From the first number to the last; words that are missing count as 0. */
typedef struct fdl_source {
    uint32_t state[2];
    const uint8_t *at, *end;
    uint32_t is_short;
} fdl_source;

/* Makes room in a state: what comes may be 2^16 times as much. */
static inline uint32_t fdl_put_word(fdl_sink *sink, uint32_t state) {
    if (sink->at - sink->start < 2) {
        sink->is_full = 1;
        return state >> 16;
    }
    sink->at -= 2;
    fdl_write16(sink->at, (int16_t)state);
    return state >> 16;
}

static inline void fdl_put_raw(fdl_sink *sink, uint32_t i, uint32_t number, uint32_t bits) {
    uint32_t state = sink->state[i & 1];
    if (state >> (32 - bits) != 0)
        state = fdl_put_word(sink, state);
    sink->state[i & 1] = (state << bits) + number;
}

static inline void fdl_put_symbol(fdl_sink *sink, uint32_t i, uint32_t share, uint32_t before) {
    uint32_t state = sink->state[i & 1];
    if (state >= share << (32 - FDL_SLOT_BITS))
        state = fdl_put_word(sink, state);
    sink->state[i & 1] = (state / share << FDL_SLOT_BITS) + state % share + before;
}

static inline void fdl_refill(fdl_source *source, uint32_t i) {
    uint32_t *state = &source->state[i & 1];
    if (*state >= FDL_FIRST)
        return;
    *state <<= 16;
    if (source->end - source->at < 2) {
        source->is_short = 1;
        return;
    }
    *state |= (uint16_t)fdl_read16(source->at);
    source->at += 2;
}

static inline uint32_t fdl_take_raw(fdl_source *source, uint32_t i, uint32_t bits) {
    uint32_t number = source->state[i & 1] & ((1u << bits) - 1);
    source->state[i & 1] >>= bits;
    fdl_refill(source, i);
    return number;
}

/* Of 2^FDL_SLOT_BITS, the one that a symbol must be found for. */
static inline uint32_t fdl_slot(const fdl_source *source, uint32_t i) {
    return source->state[i & 1] & ((1u << FDL_SLOT_BITS) - 1);
}

/* offset: of the slot, from the symbol's first */
static inline void fdl_take_symbol(fdl_source *source, uint32_t i, uint32_t share,
                                   uint32_t offset) {
    uint32_t *state = &source->state[i & 1];
    *state = share * (*state >> FDL_SLOT_BITS) + offset;
    fdl_refill(source, i);
}

/* Whether an encoder ends, and a decoder has ended, so. */
static inline int fdl_is_whole(const fdl_source *source) {
    return !source->is_short && source->at == source->end && source->state[0] == FDL_FIRST &&
           source->state[1] == FDL_FIRST;
}

#endif
