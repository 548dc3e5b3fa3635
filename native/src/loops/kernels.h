/* The inner loops of the library: the one place where a processor has a way of its own.
 *
 * Every table gives the same bits as fdl_plain, which is always built and which the others are
 * tested against. A weight is stored as an int16; the int8 that multiplies is its high byte, in
 * [-128, 127]. Inputs and errors are int8, never -128. Nothing here is aligned to more than its
 * type, and any length may be 0. */
#ifndef FDL_KERNELS_H
#define FDL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Some rows of a layer's weights, or the part of them that one row of a window meets:
 * `rows` rows of `len` weights, `step` apart. */
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

/* A piece of the gradient of some rows of weights. */
#define FDL_GRADIENT_ROWS 4
#define FDL_PIECE         64
typedef struct fdl_gradient {
    int32_t of[FDL_GRADIENT_ROWS][FDL_PIECE];
} fdl_gradient;

typedef struct fdl_kernels {
    const char *name;

    /* acc[m * rows + o] += window m . weights of row o. No sum leaves 32 bits. */
    void (*dot)(int32_t *acc, const fdl_windows *windows, const fdl_block *block);

    /* acc[i] += sum over rows o of d[o] * weight[o][i]: what one window's errors do to its inputs.
     * Many d are 0. */
    void (*spread)(int32_t *acc, const int8_t *d, const fdl_block *block);

    /* g->of[r][i] += sum over m of d[m * d_step + r] * window m [i],
     * r < rows <= FDL_GRADIENT_ROWS, i < len <= FDL_PIECE. |g| < 2^30 before and after. */
    void (*gradient)(fdl_gradient *g, const fdl_windows *windows, const int8_t *d, size_t d_step,
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

    /* q = the middle of low, rshift(acc, shift) and 127; 0 <= shift <= 24, low is -127 or 0. */
    void (*narrow)(const int32_t *acc, size_t count, int32_t shift, int32_t low, int8_t *q);
} fdl_kernels;

extern const fdl_kernels fdl_plain;

/* The table for the processor that runs this. */
const fdl_kernels *fdl_kernels_here(void);

#endif
