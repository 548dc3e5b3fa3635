/* The rotation of the codec with vectors of LANES values, LANES 8 or 16, in the compilers' own
 * vector types: rows of a block of [length / LANES][LANES]. */
#ifndef FDL_CODE_VECTORS_H
#define FDL_CODE_VECTORS_H

#include "code_loops.h"

#include <string.h>

typedef int32_t lanes __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));

static VECTOR INLINE lanes load_row(const int32_t *from) {
    lanes row;
    memcpy(&row, from, sizeof row);
    return row;
}

static VECTOR INLINE void store_row(int32_t *to, lanes row) {
    memcpy(to, &row, sizeof row);
}

#if LANES == 16
#define BIT_OF_LANE 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768
#define COUNT       0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#define SWAP_ONE    1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14
#define SWAP_TWO    2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13
#define SWAP_FOUR   4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11
#define SWAP_EIGHT  8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7
#else
#define BIT_OF_LANE 1, 2, 4, 8, 16, 32, 64, 128
#define COUNT       0, 1, 2, 3, 4, 5, 6, 7
#define SWAP_ONE    1, 0, 3, 2, 5, 4, 7, 6
#define SWAP_TWO    2, 3, 0, 1, 6, 7, 4, 5
#define SWAP_FOUR   4, 5, 6, 7, 0, 1, 2, 3
#endif

/* Where a mask is -1, -x. */
static VECTOR INLINE lanes negate_where(lanes x, lanes mask) {
    return (x ^ mask) - mask;
}

/* Sums in the lanes whose bit h is 0, differences in the others. */
#define LEVEL_OF_LANES(x, h, ...)                                                                  \
    (__builtin_shufflevector(x, x, __VA_ARGS__) +                                                  \
     negate_where(x, (lanes)(((lanes){COUNT} & (h)) != 0)))

static VECTOR INLINE lanes levels_of_lanes(lanes x) {
    x = LEVEL_OF_LANES(x, 1, SWAP_ONE);
    x = LEVEL_OF_LANES(x, 2, SWAP_TWO);
    x = LEVEL_OF_LANES(x, 4, SWAP_FOUR);
#if LANES == 16
    x = LEVEL_OF_LANES(x, 8, SWAP_EIGHT);
#endif
    return x;
}

/* Signs of a row: bits of a word from LANES * row on, as masks. (A shift by each lane's number is
 * what gcc's analyser takes for one of a number as short as the vector.) */
static VECTOR INLINE lanes signs_of_row(const uint32_t *signs, size_t row) {
    uint32_t word = signs[row * LANES / 32] >> row * LANES % 32;
    return (lanes)((((bits){0} + word) & (bits){BIT_OF_LANE}) != 0);
}

/* Levels among `radix` rows. */
static VECTOR INLINE void levels_of_rows(lanes *v, size_t radix) {
    for (size_t h = 1; h < radix; h *= 2)
        for (size_t i = 0; i < radix; i++)
            if ((i & h) == 0) {
                lanes a = v[i], b = v[i + h];
                v[i] = a + b;
                v[i + h] = a - b;
            }
}

/* The levels of lanes, and those of `radix` rows in a row. */
static VECTOR INLINE void first_levels(int32_t *block, size_t rows, size_t radix,
                                       const uint32_t *signs) {
    for (size_t row = 0; row < rows; row += radix) {
        lanes v[8];
#pragma GCC unroll 8
        for (size_t i = 0; i < radix; i++) {
            v[i] = load_row(block + (row + i) * LANES);
            if (signs != NULL)
                v[i] = negate_where(v[i], signs_of_row(signs, row + i));
            v[i] = levels_of_lanes(v[i]);
        }
        levels_of_rows(v, radix);
#pragma GCC unroll 8
        for (size_t i = 0; i < radix; i++)
            store_row(block + (row + i) * LANES, v[i]);
    }
}

/* Those of rows that are `apart`. */
static VECTOR INLINE void more_levels(int32_t *block, size_t rows, size_t apart, size_t radix) {
    for (size_t start = 0; start < rows; start += apart * radix)
        for (size_t row = start; row < start + apart; row++) {
            lanes v[8];
#pragma GCC unroll 8
            for (size_t i = 0; i < radix; i++)
                v[i] = load_row(block + (row + i * apart) * LANES);
            levels_of_rows(v, radix);
#pragma GCC unroll 8
            for (size_t i = 0; i < radix; i++)
                store_row(block + (row + i * apart) * LANES, v[i]);
        }
}

/* The compiler knows each radix. */
static VECTOR INLINE void all_levels(int32_t *block, size_t rows, const uint32_t *signs) {
    size_t apart = smaller(rows, 8);
    switch (apart) {
    case 8:
        first_levels(block, rows, 8, signs);
        break;
    case 4:
        first_levels(block, 4, 4, signs);
        break;
    case 2:
        first_levels(block, 2, 2, signs);
        break;
    default:
        first_levels(block, 1, 1, signs);
    }
    for (; 8 * apart <= rows; apart *= 8)
        more_levels(block, rows, apart, 8);
    if (4 * apart == rows)
        more_levels(block, rows, apart, 4);
    if (2 * apart == rows)
        more_levels(block, rows, apart, 2);
}

static VECTOR INLINE void vectors_rotate(int32_t *block, size_t length, const uint32_t *signs,
                                         int32_t shift) {
    int32_t half = 1 << (shift - 1);
    all_levels(block, length / LANES, signs);
    for (size_t i = 0; i < length; i += LANES)
        store_row(block + i, (load_row(block + i) + half) >> shift);
}

static VECTOR INLINE void vectors_rotate_back(int32_t *block, size_t length, const uint32_t *signs,
                                              int32_t shift) {
    int32_t half = 1 << (shift - 1);
    all_levels(block, length / LANES, NULL);
    for (size_t row = 0; row < length / LANES; row++) {
        lanes v = (load_row(block + row * LANES) + half) >> shift;
        store_row(block + row * LANES, negate_where(v, signs_of_row(signs, row)));
    }
}

/* LANES places from one on. */
static VECTOR INLINE bits first_places(fdl_order order) {
    uint32_t at[LANES];
    for (size_t i = 0; i < LANES; i++) {
        at[i] = order.at;
        order.at = fdl_next_place(order.at, order);
    }
    bits places;
    memcpy(&places, at, sizeof places);
    return places;
}

static VECTOR INLINE bits next_places(bits places, uint32_t step, uint32_t count) {
    bits next = places + step, less = next - count, below = (bits)(next < count);
    return (next & below) | (less & ~below);
}

static INLINE uint32_t step_of_row(fdl_order order) {
    return (uint32_t)((uint64_t)order.step * LANES % order.count);
}

#define STORED 64 /* values that are worked on at a time */

static VECTOR INLINE void vectors_scatter(int32_t *estimate, fdl_order order, const int32_t *block,
                                          size_t count, fdl_gain gain) {
    bits places = first_places(order);
    uint32_t step = step_of_row(order);
    for (size_t start = 0; start < count; start += STORED) {
        uint32_t at[STORED];
        int32_t values[STORED];
        size_t some = smaller(count - start, STORED);
        loop_gain(values, block + start, some, gain);
        for (size_t i = 0; i < STORED; i += LANES) {
            memcpy(at + i, &places, sizeof places);
            places = next_places(places, step, order.count);
        }
        for (size_t i = 0; i < some; i++)
            estimate[at[i]] = values[i];
    }
}

#endif
