/* Quotients, roots, and shifts of many values. */
#include "numbers.h"
#include "fixed.h"

#include <string.h>

fdl_ratio fdl_make_ratio(uint64_t a, uint64_t b) {
    int32_t k = 0;
    while (a < b) {
        a *= 2;
        k--;
    }
    while (a >= 2 * b) {
        b *= 2;
        k++;
    }
    int32_t mantissa = (int32_t)((256 * a + b) / (2 * b));
    if (mantissa == 256)
        return (fdl_ratio){128, k + 1};
    return (fdl_ratio){mantissa, k};
}

/* Bit by bit from the top. */
uint32_t fdl_square_root(uint64_t v) {
    uint64_t root = 0;
    for (uint64_t bit = (uint64_t)1 << 31; bit > 0; bit >>= 1)
        if ((root + bit) * (root + bit) <= v)
            root += bit;
    return (uint32_t)root;
}

/* Twice as many each time. */
void fdl_repeat(int32_t *values, size_t some, size_t count) {
    for (size_t done = some; done < count; done *= 2) {
        size_t more = done < count - done ? done : count - done;
        memcpy(values + done, values, more * sizeof *values);
    }
}

/* The direction is the same for all: it is asked once. To the right only a shift by one leaves a
 * value past a limit of 30 bits or more. */
void fdl_shift_all(int32_t *to, const int32_t *from, size_t count, int32_t shift, int32_t limit) {
    int32_t left = fdl_min32(-shift, 31);
    if (shift > 31)
        memset(to, 0, count * sizeof *to);
    else if (shift > 1)
        for (size_t j = 0; j < count; j++)
            to[j] = ((from[j] >> (shift - 1)) + 1) >> 1;
    else if (shift == 1)
        for (size_t j = 0; j < count; j++)
            to[j] = fdl_clamp32(fdl_shift_right(from[j], 1), -limit, limit);
    else
        for (size_t j = 0; j < count; j++)
            to[j] = fdl_shift_left(from[j], left, limit);
}

void fdl_subtract_all(int32_t *from, int32_t *sums, size_t count, int32_t shift) {
    fdl_shift_all(sums, sums, count, shift, INT32_MAX);
    for (size_t j = 0; j < count; j++)
        from[j] = fdl_subtract(from[j], sums[j]);
}
