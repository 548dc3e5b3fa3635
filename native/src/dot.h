/* The inner loops of the library, all of them: the place where a processor with vector instructions
 * gets its own. Every loop must give the same bits as the one here.
 *
 * They are written so that a compiler vectorises them for any processor: products of 16 bits, no
 * branches, four rows at a time. A weight is stored as an int16; the int8 that multiplies is its
 * high byte. Inputs and errors are int8 but never -128. */
#ifndef FDL_DOT_H
#define FDL_DOT_H

#include <stddef.h>
#include <stdint.h>

#include "fixed.h"

/* Four rows and a factor for each. Where there are fewer, any row with the factor 0 stands in. */
typedef struct fdl_four_weights {
    const int16_t *row[4];
    int8_t factor[4];
} fdl_four_weights;

typedef struct fdl_four_inputs {
    const int8_t *row[4];
    int8_t factor[4];
} fdl_four_inputs;

/* A weight's high byte where it stands, 256 times its int8: no shift is needed for each. */
static inline int16_t fdl_high_byte(int16_t stored) {
    return (int16_t)(stored & ~0xff);
}

static inline int16_t fdl_weight(int16_t stored) {
    return (int16_t)(stored >> 8);
}

/* 512 products of 127 * 32768 are the most that a sum of 32 bits holds. */
#define FDL_DOT_PIECE 512

/* sum[r] += row[r] . x */
static inline void fdl_dot4(int32_t sum[4], const int16_t *const row[4], const int8_t *x,
                            size_t n) {
    const int16_t *w0 = row[0], *w1 = row[1], *w2 = row[2], *w3 = row[3];
    for (size_t start = 0; start < n; start += FDL_DOT_PIECE) {
        size_t end = n - start < FDL_DOT_PIECE ? n : start + FDL_DOT_PIECE;
        int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
        for (size_t i = start; i < end; i++) {
            int16_t v = x[i];
            a0 += fdl_high_byte(w0[i]) * v;
            a1 += fdl_high_byte(w1[i]) * v;
            a2 += fdl_high_byte(w2[i]) * v;
            a3 += fdl_high_byte(w3[i]) * v;
        }
        sum[0] += a0 >> 8; /* exact: multiples of 256 */
        sum[1] += a1 >> 8;
        sum[2] += a2 >> 8;
        sum[3] += a3 >> 8;
    }
}

/* Two products fit in 16 bits together: 2 * 127 * 128 < 2^15. */
static inline int16_t fdl_pair(int16_t a0, int16_t b0, int16_t a1, int16_t b1) {
    return (int16_t)(a0 * b0 + a1 * b1);
}

/* sum[i] += factor[0] * row[0][i] + ... + factor[3] * row[3][i] */
static inline void fdl_add_weights(int32_t *restrict sum, const fdl_four_weights *four, size_t n) {
    const int16_t *w0 = four->row[0], *w1 = four->row[1], *w2 = four->row[2], *w3 = four->row[3];
    int16_t f0 = four->factor[0], f1 = four->factor[1], f2 = four->factor[2], f3 = four->factor[3];
    for (size_t i = 0; i < n; i++)
        sum[i] += fdl_pair(f0, fdl_weight(w0[i]), f1, fdl_weight(w1[i])) +
                  fdl_pair(f2, fdl_weight(w2[i]), f3, fdl_weight(w3[i]));
}

static inline void fdl_add_inputs(int32_t *restrict sum, const fdl_four_inputs *four, size_t n) {
    const int8_t *x0 = four->row[0], *x1 = four->row[1], *x2 = four->row[2], *x3 = four->row[3];
    int16_t f0 = four->factor[0], f1 = four->factor[1], f2 = four->factor[2], f3 = four->factor[3];
    for (size_t i = 0; i < n; i++)
        sum[i] += fdl_pair(f0, x0[i], f1, x1[i]) + fdl_pair(f2, x2[i], f3, x3[i]);
}

/* sat16(a - b), in 16 bits without a branch: it overflows if a and b differ in sign, and so do a
 * and the result; then it is the limit on a's side. */
static inline int16_t fdl_subtract(int16_t a, int16_t b) {
    int16_t wrapped = (int16_t)(uint16_t)((uint16_t)a - (uint16_t)b);
    int16_t overflow = (int16_t)(((a ^ b) & (a ^ wrapped)) >> 15);
    int16_t limit = (int16_t)((a >> 15) ^ INT16_MAX);
    return (int16_t)((wrapped & ~overflow) | (limit & overflow));
}

/* stored[i] -= g[i] >> shift, rounded, saturated; 1 <= shift <= 30, |g| < 2^23. */
static inline void fdl_subtract_gradient(int16_t *restrict stored, const int32_t *restrict g,
                                         int32_t shift, size_t n) {
    int32_t half = 1 << (shift - 1);
    for (size_t i = 0; i < n; i++)
        stored[i] = fdl_subtract(stored[i], (int16_t)fdl_sat16((g[i] + half) >> shift));
}

/* stored[i] -= (x[i] * d) >> shift, rounded, saturated; 1 <= shift <= 14: all of it has 16 bits. */
static inline void fdl_subtract_product(int16_t *restrict stored, const int8_t *restrict x,
                                        int16_t d, int32_t shift, size_t n) {
    int16_t half = (int16_t)(1 << (shift - 1));
    for (size_t i = 0; i < n; i++)
        stored[i] = fdl_subtract(stored[i], (int16_t)((int16_t)(x[i] * d + half) >> shift));
}

#endif
