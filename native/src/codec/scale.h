/* How large the spread of a message is, and how its values come into units of it. */
#ifndef FDL_SCALE_H
#define FDL_SCALE_H

#include "codec.h"

/* x = y * 2^down_all / factor, where y has a spread of 1,024. */
typedef struct fdl_spread {
    fdl_unit unit;
    uint32_t factor;  /* 2^14 to 2^15; 0: all values are 0 */
    int32_t down_all; /* of x, and of the product with the factor */
} fdl_spread;

fdl_spread fdl_find_spread(const fdl_measured *measured, int32_t down, size_t places);

/* How far values of these magnitudes are shifted before anything else. */
int32_t fdl_first_down(uint32_t magnitude);

/* ---- The gain of a block, in eighths of an octave ---- */

#define FDL_LEAST_GAIN (-64)
#define FDL_MOST_GAIN  80

/* Of a block with this sum of squares. */
int32_t fdl_find_gain(uint64_t squares, size_t length);

/* What takes it away. */
fdl_unit fdl_gain_unit(int32_t gain);

/* Adds sums over a block, which are without it, to those over all. */
void fdl_add_sums(fdl_sums *to, const fdl_sums *block, int32_t gain);

/* h * 2^-e ~ a / b, 2^30 <= h < 2^31. */
typedef struct fdl_quotient {
    uint64_t h;
    int32_t e;
} fdl_quotient;
fdl_quotient fdl_divide(uint64_t a, uint64_t b);

/* ---- The scale of a message ---- */

/* On the wire: exponent * 1,024 + mantissa - 1,024; -1: the message is empty. */
int32_t fdl_scale_word(const fdl_code *code, size_t count, const fdl_spread *spread,
                       const fdl_sums *sums);
fdl_gain fdl_gain_of(uint32_t scale_word, int32_t gain);

#endif
