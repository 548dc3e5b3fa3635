/* The inner loops of the library: the one place where a processor has a way of its own.
 *
 * Every table gives the same bits as fdl_plain, which is always built and which the others are
 * tested against. A weight is stored as an int16; the int8 that multiplies is its high byte, in
 * [-128, 127]. Inputs and errors are int8, never -128. Nothing here is aligned to more than its
 * type, and any length may be 0 unless a function says otherwise. */
#ifndef FDL_KERNELS_H
#define FDL_KERNELS_H

#include "../without.h"
#include "../numbers/numbers.h"
#include "code.h"

/* Weights in memory have room for a multiple of FDL_TALL rows and, where windows are in pieces, of
 * FDL_WIDE columns a piece. It is the same for all tables of a build; what it holds beside weights
 * counts for nothing. */
#if defined(__x86_64__) || (defined(__aarch64__) && !defined(__AARCH64EB__))
#define FDL_TALL 16
#define FDL_WIDE 4
#else
#define FDL_TALL 1
#define FDL_WIDE 1
#endif

/* Some rows of a layer's weights, or the part of them that one row of a window meets: `rows` rows
 * of `len` weights, `step` from a row to the next. Of a table that has its weights woven, of each
 * `tall` rows two columns lie together, [columns / 2][tall][2]. */
typedef struct fdl_block {
    int16_t *at;
    size_t rows;
    size_t step;
    size_t len;
} fdl_block;

/* n runs of int8 values, x + at[0] to x + at[n - 1]; they may overlap. */
#define FDL_WINDOWS 32 /* the largest n */
typedef struct fdl_windows {
    const int8_t *x;
    const uint32_t *at;
    size_t n;
} fdl_windows;

/* A piece of the gradient of some rows of weights, row by row: [row][FDL_PIECE]. */
#define FDL_GRADIENT_ROWS 4
#define FDL_PIECE         64

typedef struct fdl_kernels {
    const char *name;
#if FDL_TALL > 1
    /* How many rows of weights are woven, a divisor of FDL_TALL, and of how many of their columns
     * gradient() sums at a time, a multiple of FDL_WIDE; 0 and 0: weights lie row by row. */
    uint16_t tall, columns;
#endif

    /* acc[m * rows + o] += window m . weights of row o. No sum leaves 32 bits. */
    void (*dot)(int32_t *acc, const fdl_windows *windows, const fdl_block *block);

    /* acc[at[m] + i] += sum over rows o of d[m * rows + o] * weight[o][i], m < n <= FDL_WINDOWS:
     * what the errors of windows do to their inputs. Many d are 0. */
    void (*spread)(int32_t *acc, const uint32_t *at, size_t n, const int8_t *d,
                   const fdl_block *block);

    /* g of row r and column i += sum over m of d[m * d_step + r] * window m [i], r < rows and
     * i < len, |g| < 2^30 before and after. Of a table that has its weights woven, rows and len are
     * `tall` and `columns` at most, and g lies as weights do: `tall` * len values, len rounded up
     * to a multiple of FDL_WIDE; of others FDL_GRADIENT_ROWS and FDL_PIECE, and g lies as above.
     * What is past `rows` and `len` stays as it was: fdl_clip() sums it, too. */
    void (*gradient)(int32_t *g, const fdl_windows *windows, const int8_t *d, size_t d_step,
                     size_t rows, size_t len);

    /* stored[i] = sat16(stored[i] - sat16(rshift(g[i], shift))), 1 <= shift <= 30, |g| < 2^30. */
    void (*apply)(int16_t *stored, const int32_t *g, size_t len, int32_t shift);

    /* gradient() of all windows, errors d[m * rows + o], and apply(), in one. */
    void (*descend)(const fdl_block *block, const fdl_windows *windows, const int8_t *d,
                    int32_t shift);

    /* The same for one window, 1 <= shift <= 14: products and results have 16 bits. */
    void (*descend_one)(const fdl_block *block, const int8_t *x, const int8_t *d, int32_t shift);

    /* All |acc| or-ed together, with `relu` all acc that are not negative: as many bits as the
     * largest of them has. */
    uint32_t (*magnitude)(const int32_t *acc, size_t count, uint32_t relu);

    /* acc[j] = 0 where h[j] <= 0; then magnitude() of all, without `relu`. */
    uint32_t (*mask)(int32_t *acc, const int8_t *h, size_t count);

    /* acc[j] = (acc[j] * mantissa + 64) >> 7, |acc * mantissa| < 2^30; then magnitude() of all,
     * without `relu`. */
    uint32_t (*scale)(int32_t *acc, size_t count, int32_t mantissa);

    /* sums[c] = sum of the n values x[m * count + c], c < count, n > 0. */
    void (*add_up)(int32_t *sums, const int8_t *x, size_t n, size_t count);

    /* fdl_shift_all(), for biases. */
    void (*shift)(int32_t *to, const int32_t *from, size_t count, int32_t shift, int32_t limit);

    /* fdl_subtract_all(), for biases. */
    void (*subtract)(int32_t *biases, int32_t *sums, size_t count, int32_t shift);

    /* Whether some x is -128. */
    int (*has_lowest)(const int8_t *x, size_t count);

    /* fdl_softmax(), for batches, n > 0, classes > 0. */
    void (*softmax)(int32_t *z, size_t n, size_t classes, fdl_exp_steps by, const uint8_t *labels);

    /* q = the middle of low, rshift(acc, shift) and 127; 0 <= shift <= 24, low is -127 or 0. q may
     * be where acc begins. */
    void (*narrow)(const int32_t *acc, size_t count, int32_t shift, int32_t low, int8_t *q);

#if !FDL_WITHOUT_CODEC
    fdl_code_words *words;
    fdl_code_measure *measure;
    fdl_code_gather *gather;
    fdl_code_spread *to_spread;
    fdl_code_turn *rotate;
    fdl_code_turn *rotate_back;
    fdl_code_quantise *quantise;
    fdl_code_scatter *scatter;
#if FDL_TALL > 1 /* all NULL: there is no faster way than place by place */
    fdl_code_costs *costs;
    fdl_code_paths *paths, *paths_32;
#endif
#endif
} fdl_kernels;

extern const fdl_kernels fdl_plain;

/* Functions of fdl_plain that other tables have, too. */
uint32_t fdl_plain_mask(int32_t *acc, const int8_t *h, size_t count);
uint32_t fdl_plain_scale(int32_t *acc, size_t count, int32_t mantissa);
void fdl_plain_add_up(int32_t *sums, const int8_t *x, size_t n, size_t count);
int fdl_plain_has_lowest(const int8_t *x, size_t count);

/* The table for the processor that runs this. */
const fdl_kernels *fdl_kernels_here(void);

#endif
