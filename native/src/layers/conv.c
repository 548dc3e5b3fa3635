/* Dense layers and convolutions: one matrix of weights that meets every window of the input. A
 * dense layer has one window, all of its input. */
#include "layers.h"
#include "../numbers/fixed.h"
#include "../numbers/numbers.h"

#include <string.h>

/* With the largest sum of products, 65535 * 127 * 128 < 2^30, an accumulator stays in 32 bits. */
#define BIAS_LIMIT ((1 << 30) - 1)

/* The weights that meet piece p of a window. */
static fdl_block block_of(const fdl_part *part, size_t p) {
    return (fdl_block){part->weights + p * fdl_piece_room(part) * fdl_tall(part), part->weight_rows,
                       fdl_row_room(part), part->piece_len};
}

/* The same place in every window. */
static fdl_windows windows_at(const fdl_part *part, size_t p, const uint32_t *at, size_t count) {
    return (fdl_windows){part->x + p * part->row_step, at, count};
}

void fdl_fill_biases(const fdl_run *run, const fdl_part *part, int32_t e, int32_t *acc) {
    run->kernels->shift(acc, part->biases, part->bias_count, e + 16, BIAS_LIMIT);
    size_t windows = fdl_window_count(run, part);
    if (windows > 1)
        fdl_repeat(acc, part->bias_count, windows * part->bias_count);
}

void fdl_conv_forward(const fdl_run *run, const fdl_part *part, int32_t *acc) {
    uint32_t at[FDL_WINDOWS];
    size_t total = fdl_window_count(run, part), count;
    for (size_t first = 0; first < total; first += count) {
        count = fdl_find_windows(part, fdl_examples(run), first, at);
        for (size_t p = 0; p < fdl_pieces(part); p++) {
            fdl_windows windows = windows_at(part, p, at, count);
            fdl_block block = block_of(part, p);
            run->kernels->dot(acc + first * part->weight_rows, &windows, &block);
        }
    }
}

void fdl_conv_backward(const fdl_run *run, const fdl_part *part, const int8_t *d, int32_t *acc) {
    uint32_t at[FDL_WINDOWS];
    size_t total = fdl_window_count(run, part), count;
    for (size_t first = 0; first < total; first += count) {
        count = fdl_find_windows(part, fdl_examples(run), first, at);
        for (size_t p = 0; p < fdl_pieces(part); p++) {
            fdl_block block = block_of(part, p);
            run->kernels->spread(acc + p * part->row_step, at, count, d + first * part->weight_rows,
                                 &block);
        }
    }
}

#if FDL_HAS_GRADIENT

/* The gradient of some rows of weights, a piece of them at a time: from weight `start` of piece p
 * of the windows on. */
static void sum_gradient(const fdl_run *run, const fdl_part *part, const int8_t *d, size_t p,
                         size_t start, size_t rows, size_t len, int32_t *g) {
    uint32_t at[FDL_WINDOWS];
    size_t total = fdl_window_count(run, part), count;
    for (size_t first = 0; first < total; first += count) {
        count = fdl_find_windows(part, fdl_examples(run), first, at);
        fdl_windows windows = windows_at(part, p, at, count);
        windows.x += start;
        run->kernels->gradient(g, &windows, d + first * part->weight_rows, part->weight_rows, rows,
                               len);
    }
}

/* How a gradient is cut: `rows` rows, a multiple of those that lie together, and `columns`. */
typedef struct {
    size_t rows, columns;
    int32_t *g;
} cut;

#define OWN (FDL_GRADIENT_ROWS * FDL_PIECE)

/* In memory g[OWN], or in more that the step can spare. */
static cut cut_gradient(const fdl_run *run, const fdl_part *part, int32_t *g) {
    (void)run;
#if FDL_TALL > 1
    if (fdl_tall(part) > 1) {
        size_t count = run->spare_count > OWN ? run->spare_count : OWN;
        size_t columns = count / fdl_tall(part) / FDL_WIDE * FDL_WIDE;
        return (cut){fdl_tall(part), smaller(columns, run->kernels->columns),
                     count > OWN ? run->spare : g};
    }
#endif
    (void)part;
    return (cut){FDL_GRADIENT_ROWS, FDL_PIECE, g};
}

/* Hands on the gradient of `rows` rows from row o on, `len` weights of piece p from `start` on. */
static void use_slices(const fdl_part *part, size_t p, size_t o, size_t rows, size_t start,
                       size_t len, const int32_t *g, fdl_use_gradient *use, void *context) {
    size_t tall = fdl_tall(part);
    for (size_t r = 0; r < rows; r += tall, g += FDL_PIECE) {
        fdl_slice slice = {.first = fdl_place(part, o + r, p * fdl_piece_room(part) + start),
                           .count = fdl_multiple(len, FDL_WIDE) * tall,
                           .row = o + r,
                           .rows = smaller(rows - r, tall),
                           .start = p * part->piece_len + start,
                           .len = len};
        use(context, &slice, g);
    }
}

void fdl_conv_each_gradient(const fdl_run *run, const fdl_part *part, const int8_t *d,
                            fdl_use_gradient *use, void *context) {
    int32_t own[OWN];
    cut c = cut_gradient(run, part, own);
    for (size_t o = 0; o < part->weight_rows; o += c.rows)
        for (size_t p = 0; p < fdl_pieces(part); p++)
            for (size_t start = 0; start < part->piece_len; start += c.columns) {
                size_t rows = smaller(part->weight_rows - o, c.rows);
                size_t len = smaller(part->piece_len - start, c.columns);
                memset(c.g, 0, c.rows * c.columns * sizeof *c.g);
                sum_gradient(run, part, d + o, p, start, rows, len, c.g);
                use_slices(part, p, o, rows, start, len, c.g, use, context);
            }
}

#endif

/* One window and a shift to the left: gradients that large are rare. */
static void descend_left(const fdl_part *part, const int8_t *d, int32_t shift) {
    for (size_t o = 0; o < part->weight_rows; o++)
        for (size_t i = 0; i < part->row_weights; i++) {
            int16_t *w = part->weights + fdl_place(part, o, i);
            *w = (int16_t)fdl_sat16(*w - fdl_sat16(fdl_shift(part->x[i] * d[o], shift, 32768)));
        }
}

static void descend_one(const fdl_run *run, const fdl_part *part, const int8_t *d, int32_t shift) {
    fdl_block block = block_of(part, 0);
    if (shift < 1)
        descend_left(part, d, shift);
    else if (shift <= 14) /* 127 * 127 < 2^14 rounds to 0 */
        run->kernels->descend_one(&block, part->x, d, shift);
}

int fdl_conv_descend(const fdl_run *run, const fdl_part *part, const int8_t *d, int32_t shift) {
    size_t total = fdl_window_count(run, part);
    if (total == 1 && fdl_pieces(part) == 1) {
        descend_one(run, part, d, shift);
        return 1;
    }
#if FDL_HAS_GRADIENT
    uint32_t at[FDL_WINDOWS];
    if (total > FDL_WINDOWS || shift < 1)
        return 0;
    fdl_find_windows(part, fdl_examples(run), 0, at);
    for (size_t p = 0; p < fdl_pieces(part); p++) {
        fdl_windows windows = windows_at(part, p, at, total);
        fdl_block block = block_of(part, p);
        run->kernels->descend(&block, &windows, d, fdl_min32(shift, 30));
    }
#endif
    return 1;
}
