/* Numbers into words and back: rANS with two states (Duda 2013; Giesen 2014). */
#ifndef FDL_RANS_H
#define FDL_RANS_H

#include "../bytes/bytes.h"
#include "../loops/isa.h"
#include "codec.h"

/* A symbol's share of the slots in the low 16 bits, where it begins in the high ones. */
typedef uint32_t fdl_share;

/* ---- Writing: from the last number to the first, words from the end of free memory down ---- */

typedef struct fdl_sink {
    uint32_t state[2];
    uint8_t *start, *at; /* from `at` on there are words */
    uint32_t is_full;
} fdl_sink;

static inline fdl_sink fdl_start_sink(uint8_t *start, uint8_t *end) {
    return (fdl_sink){{FDL_FIRST, FDL_FIRST}, start, end, 0};
}

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

/* A share of 0 has none. */
static INLINE int fdl_has_room(uint32_t state, fdl_share by) {
    return state < by << (32 - FDL_SLOT_BITS);
}

/* (state div share) * 2^14 + (state mod share) + before, of a state that has room. */
static INLINE uint32_t fdl_add_share(uint32_t state, fdl_share by) {
    uint32_t share = by & 0xffff;
    return state + state / share * ((1u << FDL_SLOT_BITS) - share) + (by >> 16);
}

static inline uint32_t fdl_put_share(fdl_sink *sink, uint32_t state, fdl_share by) {
    return fdl_add_share(fdl_has_room(state, by) ? state : fdl_put_word(sink, state), by);
}

static inline uint32_t fdl_put_raw(fdl_sink *sink, uint32_t state, uint32_t number, uint32_t bits) {
    if (state >> (32 - bits) != 0)
        state = fdl_put_word(sink, state);
    return (state << bits) + number;
}

/* ---- Reading: from the first number to the last; words that are missing count as 0 ---- */

typedef struct fdl_source {
    uint32_t state[2];
    const uint8_t *at, *end;
    uint32_t is_short;
} fdl_source;

static inline uint32_t fdl_take_word(fdl_source *source, uint32_t state) {
    if (source->end - source->at < 2) {
        source->is_short = 1;
        return state << 16;
    }
    state = state << 16 | (uint16_t)fdl_read16(source->at);
    source->at += 2;
    return state;
}

/* Of 2^FDL_SLOT_BITS, the one that the state lies in. */
static inline uint32_t fdl_slot(uint32_t state) {
    return state & ((1u << FDL_SLOT_BITS) - 1);
}

/* The state without a symbol of this share. offset: of the slot, from the symbol's first */
static inline uint32_t fdl_take_share(fdl_source *source, uint32_t state, uint32_t share,
                                      uint32_t offset) {
    state = share * (state >> FDL_SLOT_BITS) + offset;
    return state < FDL_FIRST ? fdl_take_word(source, state) : state;
}

static inline uint32_t fdl_take_raw(fdl_source *source, uint32_t *state, uint32_t bits) {
    uint32_t number = *state & ((1u << bits) - 1);
    *state >>= bits;
    if (*state < FDL_FIRST)
        *state = fdl_take_word(source, *state);
    return number;
}

/* An encoder's states were FDL_FIRST when it began, and all that it put was wanted. */
static inline int fdl_is_whole(const fdl_source *source) {
    return !source->is_short && source->at == source->end && source->state[0] == FDL_FIRST &&
           source->state[1] == FDL_FIRST;
}

#endif
