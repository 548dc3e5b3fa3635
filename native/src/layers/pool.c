/* Pools: the largest value of each window, and the mean of each channel. */
#include "layers.h"
#include "../numbers/numbers.h"

#include <string.h>

/* The part of a window that lies in the input, in rows and columns of it. */
typedef struct {
    size_t top, bottom, left, right; /* bottom and right are one past the end */
} frame;

/* Positions of a window in one direction, cut to the input. */
static void cut(size_t position, size_t stride, size_t pad, size_t kernel, size_t size,
                size_t *start, size_t *end) {
    size_t from = position * stride, to = from + kernel; /* with the padding before */
    *start = from > pad ? from - pad : 0;
    *end = to - pad < size ? to - pad : size;
}

static frame frame_of(const fdl_part *part, size_t position) {
    const fdl_layer *v = part->layer;
    frame f;
    cut(position / part->out_width, v->stride_height, v->pad_top, v->kernel_height, v->height,
        &f.top, &f.bottom);
    cut(position % part->out_width, v->stride_width, v->pad_left, v->kernel_width, v->width,
        &f.left, &f.right);
    return f;
}

/* Where the first largest value of channel c lies, row by row. */
static size_t find_largest(const fdl_layer *v, const int8_t *x, frame f, size_t c) {
    size_t best = (f.top * v->width + f.left) * v->channels + c;
    for (size_t y = f.top; y < f.bottom; y++)
        for (size_t column = f.left; column < f.right; column++) {
            size_t j = (y * v->width + column) * v->channels + c;
            if (x[j] > x[best])
                best = j;
        }
    return best;
}

void fdl_max_pool_forward(const fdl_run *run, const fdl_part *part, int32_t *acc) {
    const int8_t *x = part->x;
    for (size_t b = 0; b < run->n; b++, x += part->stored)
        for (size_t p = 0; p < fdl_positions(part); p++) {
            frame f = frame_of(part, p);
            for (size_t c = 0; c < part->layer->channels; c++)
                *acc++ = x[find_largest(part->layer, x, f, c)];
        }
}

void fdl_max_pool_backward(const fdl_run *run, const fdl_part *part, const int8_t *d,
                           int32_t *acc) {
    const int8_t *x = part->x;
    for (size_t b = 0; b < run->n; b++, x += part->stored, acc += part->stored)
        for (size_t p = 0; p < fdl_positions(part); p++) {
            frame f = frame_of(part, p);
            for (size_t c = 0; c < part->layer->channels; c++)
                acc[find_largest(part->layer, x, f, c)] += *d++;
        }
}

/* 1 / T: at most 2^16 values are summed, so that a sum times the mantissa has 31 bits. */
static fdl_ratio one_over(const fdl_part *part) {
    return fdl_make_ratio(1, part->stored / part->outputs);
}

int32_t fdl_average_pool_forward(const fdl_run *run, const fdl_part *part, int32_t *acc) {
    fdl_ratio mean = one_over(part);
    const int8_t *x = part->x;
    size_t channels = part->outputs;
    for (size_t b = 0; b < run->n; b++, acc += channels) {
        run->kernels->add_up(acc, x, part->stored / channels, channels);
        run->kernels->scale(acc, channels, mean.mantissa);
        x += part->stored;
    }
    return mean.k;
}

int32_t fdl_average_pool_backward(const fdl_run *run, const fdl_part *part, const int8_t *d,
                                  int32_t *acc) {
    fdl_ratio mean = one_over(part);
    size_t channels = part->outputs;
    for (size_t b = 0; b < run->n; b++, d += channels, acc += part->stored) {
        for (size_t c = 0; c < channels; c++)
            acc[c] = (d[c] * mean.mantissa + 64) >> 7;
        fdl_repeat(acc, channels, part->stored);
    }
    return mean.k;
}
