/* What encoder and decoder have in common: a checked code, its blocks, and how symbols are cut out
 * of 2^FDL_SLOT_BITS slots. */
#ifndef FDL_CODEC_H
#define FDL_CODEC_H

#include "../loops/kernels.h"
#include "../numbers/fixed.h"
#include "fedling.h"
#include "tables.h"

#define FDL_SLOT_BITS  14
#define FDL_RAW_BITS   15
#define FDL_FIRST      65536 /* state of an encoder that has put nothing, and the least there is */
#define FDL_HEADER     11    /* bytes of a message before its words */
#define FDL_SCALE_ZERO 40    /* a scale of the wire is mantissa * 2^(exponent - 40) */

/* FDL_E_NULL, FDL_E_LENGTH, FDL_E_CODE or FDL_E_ABSENT. */
int fdl_check_code(const fdl_code *code, size_t count);

/* Also that a dither is there if it is wanted, and only then, and that the arena will do. */
int fdl_check_coding(const fdl_code *code, size_t count, const uint16_t *dither,
                     size_t dither_count, const void *arena, size_t arena_len, size_t needed);

static inline const fdl_code_table *fdl_table_of(const fdl_code *code) {
    return &fdl_code_tables[code->quantiser][code->table];
}

/* ---- Blocks: places `start` to `start` + `length` ---- */

typedef struct fdl_piece {
    size_t start, length;
} fdl_piece;

/* The one from place `start` on, and the one that ends before place `end`, of `kept` values. */
fdl_piece fdl_piece_from(size_t start, size_t kept);
fdl_piece fdl_piece_before(size_t end, size_t kept);

/* The chain of pieces that ends before place `end`, and the most places that one has. */
fdl_piece fdl_chain_before(const fdl_code *code, size_t end);
size_t fdl_longest_chain(const fdl_code *code);

/* Values in a piece, the others are zeros. */
static inline size_t fdl_filled(fdl_piece piece, size_t kept) {
    return smaller(piece.length, kept - piece.start);
}

size_t fdl_places(size_t kept);

/* The largest, with 0 the other one. */
uint32_t fdl_common_factor(uint32_t a, uint32_t b);

/* The order of a code, and where its value number `first` lies. */
fdl_order fdl_start_order(const fdl_code *code, size_t count);
fdl_order fdl_order_at(fdl_order order, size_t first);

/* Signs and Hadamard over a block, twice; back, from the last to the first. */
void fdl_rotate(int32_t *block, const fdl_kernels *loops, const fdl_code *code, fdl_piece piece);
void fdl_rotate_back(int32_t *block, const fdl_kernels *loops, const fdl_code *code,
                     fdl_piece piece);

/* ---- Trellises ---- */

/* A shift register with feedback: state b becomes b >> 1, with `feedback` if b is odd, and with
 * `input`, one bit, if the magnitude is (Ungerboeck 1982). Feedback has the highest bit, but not the
 * input's, so the two states before one lie 2 * input apart. */
typedef struct fdl_register {
    uint32_t states, feedback, input;
} fdl_register;

#define FDL_MOST_STATES 32
#define FDL_CHAIN       (8 * FDL_BLOCK) /* places of a chain of FDL_TRELLIS_32 */

static inline int fdl_has_trellis(const fdl_code *code) {
    return code->quantiser == FDL_TRELLIS || code->quantiser == FDL_TRELLIS_32;
}

static inline fdl_register fdl_register_of(uint8_t quantiser) {
    return quantiser == FDL_TRELLIS ? (fdl_register){8, 5, 2} : (fdl_register){32, 18, 4};
}

/* A chain of blocks is quantised together: state 0 is where its first one begins, and each other one
 * goes on where the last one ended. But for FDL_TRELLIS_32 a chain is a block. */
static inline int fdl_begins_chain(uint8_t quantiser, size_t place) {
    return quantiser != FDL_TRELLIS_32 || place % FDL_CHAIN == 0;
}

/* Of the table's two. At low rates most states have one of zeros: what is sent stands where few
 * states, which follow from what was sent before, allow it, and is that much less surprising. */
static inline uint32_t fdl_subset_of(uint32_t mask, uint32_t state) {
    return (state & mask) != 0;
}

/* The state after a magnitude of this parity. */
static inline uint32_t fdl_next_state(fdl_register by, uint32_t state, uint32_t odd) {
    return state >> 1 ^ (by.feedback & (0u - (state & 1))) ^ by.input * odd;
}

/* ---- Levels ---- */

/* Of |k|, in 1/4,096 of the spread, limited. */
static inline int32_t fdl_level(const fdl_code_table *table, uint32_t q, uint32_t k) {
    uint32_t levels = table->levels[q], over = k > levels ? k - levels : 0;
    return fdl_min32((int32_t)(table->level[q][k - over] + over * 4 * table->step), FDL_MOST_LEVEL);
}

/* A place's own shift of the steps. */
static inline int32_t fdl_dither_of(const fdl_code_table *table, uint16_t random) {
    return (int32_t)((uint32_t)random * table->step >> 16) - table->step / 2;
}

/* 4 (k d - u), limited. */
static inline int32_t fdl_dithered_level(const fdl_code_table *table, int32_t k, int32_t u) {
    return fdl_clamp32(4 * (k * table->step - u), -FDL_MOST_LEVEL, FDL_MOST_LEVEL);
}

#endif
