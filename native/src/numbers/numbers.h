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

/* to[j] = sat(rshift(from[j], shift), limit), or sat32 of it where the limit is INT32_MAX; limit >=
 * 2^30 - 1. `to` may be `from`. */
void fdl_shift_all(int32_t *to, const int32_t *from, size_t count, int32_t shift, int32_t limit);

/* from[j] = sat32(from[j] - sat32(rshift(sums[j], shift))). `sums` are of no use after it. */
void fdl_subtract_all(int32_t *from, int32_t *sums, size_t count, int32_t shift);

/* floor(sqrt(v)), v < 2^63. */
uint32_t fdl_square_root(uint64_t v);

/* The first `some` values again and again, up to `count` values. */
void fdl_repeat(int32_t *values, size_t some, size_t count);

/* round(32768 * 2^(-i/64)), and the shifts, 0 to 31, of a difference of logits and of its product
 * with 5909 that make steps of this table (NUMERICS section 4). */
extern const uint16_t fdl_exp2[64];
typedef struct fdl_exp_steps {
    uint8_t before, after;
} fdl_exp_steps;
fdl_exp_steps fdl_exp_steps_of(int32_t z_exp);

/* Logits [n][classes] to probabilities in 2^-15, in place, 1 to 256 classes; that of each label less
 * 1, which is the error, unless `labels` is NULL. And the sigmoid of one. */
void fdl_softmax(int32_t *z, size_t n, size_t classes, fdl_exp_steps by, const uint8_t *labels);
int32_t fdl_sigmoid(int32_t z, int32_t z_exp);

#endif
