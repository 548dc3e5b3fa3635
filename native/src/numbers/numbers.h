/* Arithmetic in more steps than a word of fixed.h: quotients, roots, exponentials. */
#ifndef FDL_NUMBERS_H
#define FDL_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

/* ratio(a, b) of NUMERICS section 1: a/b ~ mantissa * 2^-7 * 2^k. 0 < a, b <= 2^40. */
typedef struct fdl_ratio {
    int32_t mantissa;
    int32_t k;
} fdl_ratio;
fdl_ratio fdl_make_ratio(uint64_t a, uint64_t b);

/* Each value = sat(rshift(value, shift), limit), or sat32 of it where the limit is INT32_MAX;
 * limit >= 2^30 - 1. */
void fdl_shift_all(int32_t *values, size_t count, int32_t shift, int32_t limit);

/* floor(sqrt(v)), v < 2^63. */
uint32_t fdl_square_root(uint64_t v);

/* Logits to probabilities in 2^-15 (NUMERICS section 4): of classes, in place, or of one. */
void fdl_softmax(int32_t *z, size_t classes, int32_t z_exp);
int32_t fdl_sigmoid(int32_t z, int32_t z_exp);

#endif
