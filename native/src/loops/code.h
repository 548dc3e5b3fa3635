/* The inner loops of the codec of updates (NUMERICS section 10): members of every table of
 * kernels.h. A block has FDL_BLOCK values at most, and its length is a power of two from
 * FDL_LEAST_BLOCK on. */
#ifndef FDL_CODE_H
#define FDL_CODE_H

#include "../numbers/fixed.h"

#define FDL_BLOCK       1024
#define FDL_LEAST_BLOCK 16
#define FDL_SIGN_WORDS  (FDL_BLOCK / 32)
#define FDL_MOST_SPREAD 65535     /* |z| of a rotated value of a block without its gain */
#define FDL_MOST_LEVEL  (1 << 20) /* |w|; 4,096 is the spread */

/* to[i] = word(stream, first + i). */
typedef void fdl_code_words(uint32_t *to, size_t count, uint32_t first, uint32_t stream,
                            const uint32_t seed[2]);

/* Of values x: all |x| or-ed together, and the sum of rshift(x, down)^2, 0 <= down <= 13, modulo
 * 2^64. Both are added to. */
typedef struct fdl_measured {
    uint64_t squares;
    uint32_t magnitude;
} fdl_measured;
typedef void fdl_code_measure(fdl_measured *measured, const int32_t *values, size_t count,
                              int32_t down);

/* Where the values of a message lie: one at `at`, the next `step` further, modulo `count`; all of
 * them are below 2^24. */
typedef struct fdl_order {
    uint32_t at, step, count;
} fdl_order;
typedef void fdl_code_gather(int32_t *block, size_t count, fdl_order order, const int32_t *values);

/* x becomes (((rshift(x, down) << up) * factor + 2^31) >> 32), which is below 2^23; returns the sum of
 * its squares. The product with `factor`, 2^14 to 2^31, has 63 bits at most, what it multiplies 31. */
typedef struct fdl_unit {
    int32_t down, up, factor;
} fdl_unit;
typedef uint64_t fdl_code_spread(int32_t *block, size_t count, const fdl_unit *unit);

/* rotate: negate the values whose bit is set, bit i of the words of signs, then Hadamard, then rshift
 * by `shift`, 2 to 5. rotate_back: the same from the last to the first. No sum leaves 32 bits. */
typedef void fdl_code_turn(int32_t *block, size_t length, const uint32_t *signs, int32_t shift);

/* The scalar quantiser of a table, |z| <= FDL_MOST_SPREAD: |k| = ((|z| + offset) * inverse) >> 32,
 * which is exact, and
 * levels of |k| up to `levels`, then `step` more for each. */
typedef struct fdl_scalar {
    const uint32_t *level;
    uint32_t inverse, offset, levels, step;
} fdl_scalar;

/* Sums over places, which are added to: of z^2, of z * w. */
typedef struct fdl_sums {
    uint64_t squares;
    int64_t products;
} fdl_sums;
typedef void fdl_code_quantise(int32_t *block, size_t length, const fdl_scalar *by, fdl_sums *sums);

/* The trellis of a table. An entry of k, up to `last`, is what lies between k steps and where k
 * stands, a signed 16-bit number in 1/64 of a step, and above it what k costs; beyond all are as the
 * last. inverse: floor(2^22 / step). */
#define FDL_FARTHEST   350 /* distances beyond cost no more */
#define FDL_BENT       187 /* from here on they grow by no square */
#define FDL_MOST_PLACE 32767
typedef struct fdl_trellis_table {
    const uint32_t *entries[2];
    int32_t last[2];
    uint32_t inverse, mask; /* of states with the second subset: 1 of 8 states, below 8 of 32 */
} fdl_trellis_table;

/* Of a block, by 2 * subset + parity: what its best magnitude costs, and which it is. */
typedef struct fdl_trellis_costs {
    uint16_t cost[4][FDL_BLOCK], k[4][FDL_BLOCK];
} fdl_trellis_costs;
typedef void fdl_code_costs(const fdl_trellis_table *by, const int32_t *block, size_t length,
                            fdl_trellis_costs *to);

/* ways: what the way to each state costs, at first 65,535 where there is none; after it the least is
 * 0. Of 8 states, bit t of from[i]: whether state t after place i is reached from the upper state. No
 * cost is more than FDL_MOST_COST: sums fit in 16 bits.
 * With 32 states a place has four bytes, the lowest states first, and no cost is more than
 * FDL_MOST_COST_32. */
#define FDL_MOST_COST    9362
#define FDL_MOST_COST_32 7281
typedef void fdl_code_paths(const fdl_trellis_table *by, const fdl_trellis_costs *costs,
                            size_t length, uint16_t *ways, uint8_t *from);

/* estimate[place] = sat32(rshift(value * mantissa, shift)), -27 <= shift <= 54, |value| < 2^27,
 * mantissa < 2^26. */
typedef struct fdl_gain {
    int32_t mantissa, shift;
} fdl_gain;
typedef void fdl_code_scatter(int32_t *estimate, fdl_order order, const int32_t *block,
                              size_t count, fdl_gain gain);

/* Those of fdl_plain, which other tables have, too, and those of tables with vectors. */
fdl_code_words fdl_plain_words;
fdl_code_measure fdl_plain_measure;
fdl_code_gather fdl_plain_gather;
fdl_code_spread fdl_plain_spread;
fdl_code_quantise fdl_plain_quantise;
fdl_code_scatter fdl_plain_scatter;
fdl_code_turn fdl_plain_rotate, fdl_plain_rotate_back;

#if defined(__x86_64__)
fdl_code_words fdl_avx2_words;
fdl_code_measure fdl_avx2_measure;
fdl_code_gather fdl_avx2_gather;
fdl_code_spread fdl_avx2_spread;
fdl_code_quantise fdl_avx2_quantise;
fdl_code_scatter fdl_avx2_scatter;
fdl_code_turn fdl_avx2_rotate, fdl_avx2_rotate_back;
fdl_code_costs fdl_avx2_costs;
fdl_code_paths fdl_avx2_paths, fdl_avx2_paths_32;

fdl_code_words fdl_avx512_words;
fdl_code_measure fdl_avx512_measure;
fdl_code_gather fdl_avx512_gather;
fdl_code_spread fdl_avx512_spread;
fdl_code_quantise fdl_avx512_quantise;
fdl_code_scatter fdl_avx512_scatter;
fdl_code_turn fdl_avx512_rotate, fdl_avx512_rotate_back;
fdl_code_costs fdl_avx512_costs;
fdl_code_paths fdl_avx512_paths, fdl_avx512_paths_32;
#endif

static inline uint32_t fdl_mix(uint32_t v) {
    v ^= v >> 16;
    v *= 0x7feb352du;
    v ^= v >> 15;
    v *= 0x846ca68bu;
    return v ^ v >> 16;
}

static inline uint32_t fdl_word(uint32_t i, uint32_t stream, const uint32_t seed[2]) {
    return fdl_mix(fdl_mix(i ^ seed[0]) ^ seed[1] ^ stream << 28);
}

static inline uint32_t fdl_next_place(uint32_t at, fdl_order order) {
    at += order.step;
    return at >= order.count ? at - order.count : at;
}

#endif
