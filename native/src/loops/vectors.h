/* What processors with vectors of LANES columns have in common, in plain C: rows cut into vectors,
 * and rows without errors left out.
 *
 * A run whose length is not a multiple of LANES has a last vector that begins earlier and ends
 * with the run: nothing outside is touched. What it shares with the vector before is `stale`: it
 * must add nothing. */
#ifndef FDL_VECTORS_H
#define FDL_VECTORS_H

#include "../numbers/fixed.h"
#include "isa.h"

#define LANES 16

/* Columns `start` to `end` of a row that is at least LANES long. */
typedef struct {
    size_t start, end;
} span;

static inline size_t vectors_of(span s) {
    return (s.end - s.start + LANES - 1) / LANES;
}

/* Where vector v begins. */
static inline size_t place(span s, size_t v) {
    return smaller(s.start + v * LANES, s.end - LANES);
}

/* LANES bytes: 0 in the stale columns of vector v, then -1. */
static inline const int8_t *fresh_mask(span s, size_t v) {
    static const int8_t mask[2 * LANES] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                           0,  0,  0,  0,  0,  -1, -1, -1, -1, -1, -1,
                                           -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    size_t stale = s.start + v * LANES - place(s, v);
    return mask + LANES - stale;
}

#define ROWS 64 /* whose errors are worked on at a time */

/* Rows of weights whose error is not 0, and these errors; room for a few that fill a vector. */
typedef struct {
    int16_t *row[ROWS + 3];
    int8_t error[ROWS + 3];
    size_t count;
} live_rows;

/* Of rows o to o + ROWS. */
static inline void find_live(live_rows *live, const int8_t *d, const fdl_block *block, size_t o) {
    size_t count = 0, end = smaller(o + ROWS, block->rows);
    for (; o < end; o++) {
        live->row[count] = block->at + o * block->step;
        live->error[count] = d[o];
        count += d[o] != 0;
    }
    live->count = count;
}

/* Makes the count a multiple, by rows that count 0 times. */
static inline void fill_up(live_rows *live, size_t multiple) {
    for (; live->count % multiple != 0; live->count++) {
        live->row[live->count] = live->row[0];
        live->error[live->count] = 0;
    }
}

/* Fills up to an even number; the errors of each two rows in 32 bits. */
static inline void pair_live(live_rows *live, int32_t error[ROWS / 2]) {
    fill_up(live, 2);
    for (size_t i = 0; i < live->count; i += 2)
        error[i / 2] = (live->error[i] & 0xffff) | live->error[i + 1] * (1 << 16);
}

/* Errors of some rows for all windows, of[i][row] those of a few windows in 32 bits; which rows
 * have any. Those of row ROWS are 0. */
typedef struct {
    int32_t of[FDL_WINDOWS / 2][ROWS + 1];
    size_t row[ROWS];
    size_t count;
} window_errors;

static inline void no_errors(window_errors *e) {
    e->count = 0;
    for (size_t i = 0; i < FDL_WINDOWS / 2; i++)
        e->of[i][ROWS] = 0;
}

/* Appends those of rows o to o + count for which `any` is not 0. */
static inline void keep_live(window_errors *e, size_t o, size_t count, const int32_t *any) {
    for (size_t r = 0; r < count; r++) {
        e->row[e->count] = o + r;
        e->count += any[r] != 0;
    }
}

#define ERROR_STEP (ROWS + 1) /* from one group of windows to the next */

/* Four rows that have errors, from number i on; with fewer, the last again with errors of 0. */
typedef struct {
    int16_t *row[4];
    const int32_t *error[4];
} four_rows;

static inline four_rows take_four(const window_errors *e, size_t i, int16_t *w, size_t step) {
    four_rows four;
    for (size_t r = 0; r < 4; r++) {
        four.row[r] = w + e->row[smaller(i + r, e->count - 1)] * step;
        four.error[r] = e->of[0] + (i + r < e->count ? e->row[i + r] : ROWS);
    }
    return four;
}

#endif
