/* The trellis quantisers: of all ways through the states the one of least cost. */
#ifndef FDL_TRELLIS_H
#define FDL_TRELLIS_H

#include "codec.h"

typedef struct fdl_trellis {
    const fdl_kernels *loops;
    const fdl_code_table *table;
    uint32_t *entries[2];
    fdl_trellis_table by;
    fdl_register states;
    int32_t *ways;  /* what the way to each state costs */
    uint8_t *way;   /* of each place, bit t: whether state t is reached from the upper state */
    size_t places;  /* of `way`, so far */
    uint32_t state; /* the last one, on the way back */
#if FDL_TALL > 1
    fdl_code_paths *find_paths;
    fdl_trellis_costs *costs; /* NULL: place by place */
    const int32_t *costed;    /* the block that they are of */
    uint16_t *short_ways;
#endif
} fdl_trellis;

size_t fdl_trellis_size(const fdl_code *code);
void fdl_start_trellis(fdl_trellis *trellis, const fdl_code *code, const fdl_kernels *loops,
                       void *memory);

/* All ways through a chain: rotated values of its blocks, from the first to the last. */
void fdl_begin_ways(fdl_trellis *trellis);
void fdl_go_on(fdl_trellis *trellis, const int32_t *block, size_t length);

/* Back along the cheapest one: values of each block, from the last to the first, become 2 k + q. */
void fdl_go_back(fdl_trellis *trellis, int32_t *block, size_t length, fdl_sums *sums);

#endif
