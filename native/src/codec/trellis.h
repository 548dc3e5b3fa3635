/* The trellis quantiser: of all ways through eight states the one of least cost. */
#ifndef FDL_TRELLIS_H
#define FDL_TRELLIS_H

#include "codec.h"

typedef struct fdl_trellis {
    const fdl_kernels *loops;
    const fdl_code_table *table;
    uint32_t *entries[2];
    fdl_trellis_table by;
    uint8_t *way; /* of each place, bit t: whether state t is reached from the upper state */
#if FDL_TALL > 1
    fdl_trellis_costs *costs; /* NULL: place by place */
#endif
} fdl_trellis;

size_t fdl_trellis_size(const fdl_code *code);
void fdl_start_trellis(fdl_trellis *trellis, const fdl_code *code, const fdl_kernels *loops,
                       void *memory);

/* Rotated values of a block become 2 k + q. */
void fdl_quantise_trellis(const fdl_trellis *trellis, int32_t *block, size_t length,
                          fdl_sums *sums);

#endif
