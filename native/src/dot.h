/* The inner loops of the library, all of them: where a processor with vector instructions gets its own. */
#ifndef FDL_DOT_H
#define FDL_DOT_H

#include <stddef.h>
#include <stdint.h>

#include "fixed.h"

/* A weight as it is stored, and the int8 that multiplies: its high byte. */
static inline int16_t fdl_weight(int16_t stored) {
    return (int16_t)(stored >> 8);
}

/* sum[r] += row r of the weights . x, for four rows of n weights each, one after the other. */
static inline void fdl_dot4(int32_t sum[4], const int16_t *rows, const int8_t *x, size_t n) {
    const int16_t *w0 = rows, *w1 = w0 + n, *w2 = w1 + n, *w3 = w2 + n;
    int32_t a0 = sum[0], a1 = sum[1], a2 = sum[2], a3 = sum[3];
    for (size_t i = 0; i < n; i++) {
        int16_t v = x[i];
        a0 += fdl_weight(w0[i]) * v;
        a1 += fdl_weight(w1[i]) * v;
        a2 += fdl_weight(w2[i]) * v;
        a3 += fdl_weight(w3[i]) * v;
    }
    sum[0] = a0, sum[1] = a1, sum[2] = a2, sum[3] = a3;
}

static inline int32_t fdl_dot1(const int16_t *row, const int8_t *x, size_t n) {
    int32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += fdl_weight(row[i]) * (int16_t)x[i];
    return sum;
}

/* sum[i] += d * (weight or input i). */
static inline void fdl_add_weights(int32_t *sum, const int16_t *row, int8_t d, size_t n) {
    for (size_t i = 0; i < n; i++)
        sum[i] += fdl_weight(row[i]) * d;
}

static inline void fdl_add_inputs(int32_t *sum, const int8_t *x, int8_t d, size_t n) {
    for (size_t i = 0; i < n; i++)
        sum[i] += x[i] * d;
}

/* sat16(stored - change) for a change of 16 bits. */
static inline int16_t fdl_subtract(int16_t stored, int32_t change) {
    return (int16_t)fdl_sat16(stored - change);
}

/* row[i] minus (x[i] * d) >> shift, rounded; 1 <= shift <= 14, where everything fits in 16 bits. */
static inline void fdl_subtract_product(int16_t *row, const int8_t *x, int8_t d, int32_t shift,
                                        size_t n) {
    int16_t half = (int16_t)(1 << (shift - 1));
    for (size_t i = 0; i < n; i++)
        row[i] = fdl_subtract(row[i], (int16_t)(x[i] * d + half) >> shift);
}

#endif
