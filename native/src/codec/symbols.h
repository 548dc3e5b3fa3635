/* The symbols of values and of gains, and a table of slots to read them by. */
#ifndef FDL_SYMBOLS_H
#define FDL_SYMBOLS_H

#include "rans.h"

/* Gains of blocks have symbols of their own. */
#define FDL_GAIN_LEVELS 15
extern const uint16_t fdl_gain_frequency[FDL_GAIN_LEVELS + 2];

/* ---- Writing: from the last place to the first, words from the end of the memory down ---- */

/* What numbers are written as: k, or 2 k + q with two subsets. `shares` of them from -reach to
 * reach, 0 where k has no symbol of its own. */
typedef struct fdl_alphabet {
    fdl_share *shares;
    fdl_share escape[2];
    uint32_t subsets, reach;
    uint16_t levels[2];
} fdl_alphabet;

/* What is left to do of a message. */
typedef struct fdl_writer {
    fdl_alphabet values, gains;
    fdl_sink sink;
} fdl_writer;

size_t fdl_writer_size(const fdl_code *code);
void fdl_start_writer(fdl_writer *writer, const fdl_code *code, void *memory, uint8_t *start,
                      uint8_t *end);
void fdl_put_block(fdl_writer *writer, const int32_t *values, size_t length, int32_t gain);

/* ---- Reading ---- */

typedef struct fdl_symbol {
    uint16_t share, before;
    int32_t level; /* of the dither 4 k d */
} fdl_symbol;

/* `first`: the symbol that each slot lies in, or the first of some slots. */
typedef struct fdl_reader {
    const fdl_code_table *table;
    const fdl_symbol *symbols[2];
    const uint16_t *first[2];
    fdl_source source;
    uint8_t quantiser, subsets;
    uint32_t state, place; /* of a trellis */
} fdl_reader;

size_t fdl_reader_size(const fdl_code *code);
void fdl_start_reader(fdl_reader *reader, const fdl_code *code, void *memory, const uint8_t *words,
                      const uint8_t *end);

/* A gain, whether there is such or not; then the levels of its block. dither: of its places, or
 * NULL. */
int32_t fdl_take_gain(fdl_reader *reader);
void fdl_take_block(fdl_reader *reader, int32_t *levels, size_t length, const uint16_t *dither);

#endif
