/* What the codec knows of Gaussian values, for each quantiser and rate (NUMERICS section 10). */
#ifndef FDL_TABLES_H
#define FDL_TABLES_H

#include <stddef.h>
#include <stdint.h>

#define FDL_QUANTISERS  4
#define FDL_CODE_TABLES 22

/* Of magnitudes; [1] for a trellis' second subset, else the same as [0]. */
typedef struct fdl_code_table {
    uint16_t step, offset;
    uint16_t levels[2]; /* K: magnitudes with a symbol of their own, but for 0 */
    uint16_t mask;      /* of a trellis: states with any of these bits have the second subset */
    uint16_t rate;      /* 1/4,096 bit a place */
    uint32_t error;     /* 1/65,536 of the energy */
    const uint16_t
        *frequency[2];        /* K + 2 of 16,384: of 0, of each sign of 1..K; the last: beyond */
    const uint16_t *level[2]; /* K + 1, in 1/4,096 of the spread */
    const uint16_t *cost[2];  /* K + 2, of a trellis; else NULL */
} fdl_code_table;

extern const fdl_code_table fdl_code_tables[FDL_QUANTISERS][FDL_CODE_TABLES];

#endif
