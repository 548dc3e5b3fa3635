/* Clipping by norm, layer by layer (NUMERICS section 5). */
#include "step.h"
#include "../numbers/numbers.h"

#include <string.h>

#if !FDL_WITHOUT_CLIP

#define LARGEST ((uint64_t)1 << 62)

/* |g| < 2^30, so that no sum overflows before it is cut. */
static void add_squares(void *context, const fdl_slice *slice, const int32_t *g) {
    uint64_t *total = context;
    for (size_t i = 0; i < slice->count; i++) {
        *total += (uint64_t)((int64_t)g[i] * g[i]);
        *total = *total < LARGEST ? *total : LARGEST;
    }
}

/* rshift() of NUMERICS section 1 for a value below 2^60, then the limit. */
static uint64_t shift_limit(uint64_t value, int32_t shift) {
    if (shift > 62)
        return 0;
    if (shift > 0)
        return (value + ((uint64_t)1 << (shift - 1))) >> shift;
    return shift < -62 || value > LARGEST >> -shift ? LARGEST : value << -shift;
}

int32_t fdl_clip(const fdl_run *run, const fdl_part *part, int8_t *d, uint64_t lr_clip,
                 int32_t g_exp) {
    uint64_t squares = 0;
    fdl_each_gradient(run, part, d, add_squares, &squares);
    uint64_t norm = fdl_square_root(squares), limit = shift_limit(lr_clip, 40 + g_exp);
    size_t count = run->n * part->outputs;
    if (norm <= limit)
        return 0;
    if (limit == 0) {
        memset(d, 0, count);
        return 0;
    }
    fdl_ratio part_of_it = fdl_make_ratio(limit, norm);
    for (size_t j = 0; j < count; j++)
        d[j] = (int8_t)((d[j] * part_of_it.mantissa + 128) >> 8);
    return part_of_it.k + 1;
}

#endif
