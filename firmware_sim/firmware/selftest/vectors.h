/* Reads what tests/native/vectors.py packs: words of 32 bits, little-endian, and runs of bytes,
 * their length before them and zeros after, up to a whole word. */
#ifndef VECTORS_H
#define VECTORS_H

#include "fedling.h"

typedef struct vectors_reader {
    const uint8_t *at;
} vectors_reader;

/* All there are. */
vectors_reader vectors_open(void);

int32_t vectors_number(vectors_reader *in);

/* Of vectors_number(); size may be NULL. */
const void *vectors_bytes(vectors_reader *in, size_t *size);

/* The layers of a model, in memory that is taken, and a net with its memory, without weights yet. */
fdl_net vectors_net(vectors_reader *in);

#endif
