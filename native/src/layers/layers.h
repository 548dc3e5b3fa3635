/* Layers: each kind forwards, backwards, and the gradient of its weights. */
#ifndef FDL_LAYERS_H
#define FDL_LAYERS_H

#include "../net/net.h"

/* How a net is run: the inner loops, and how many examples. */
typedef struct fdl_run {
    const fdl_kernels *kernels;
    size_t n;
    int32_t *spare; /* memory while weights change: for as many values as a layer has outputs */
#if FDL_TALL > 1
    size_t spare_count;
#endif
} fdl_run;

static inline size_t fdl_examples(const fdl_run *run) {
    return FDL_WITHOUT_BATCH ? 1 : run->n;
}

/* Windows of all examples. */
static inline size_t fdl_window_count(const fdl_run *run, const fdl_part *part) {
    return fdl_examples(run) * fdl_positions(part);
}

/* acc of NUMERICS section 3 before the ReLU, [n][outputs]; returns its exponent. */
int32_t fdl_forward(const fdl_run *run, const fdl_part *part, int32_t *acc);

/* acc, ReLU done, to int8 as `next` stores its inputs; returns the shift. */
int32_t fdl_requantise(const fdl_run *run, const fdl_part *part, const int32_t *acc,
                       const fdl_part *next, int8_t *q);

/* a of NUMERICS section 5 number 3 before the mask, [n][stored], from errors d [n][outputs];
 * returns what is to be added to the exponent of d. */
int32_t fdl_backward(const fdl_run *run, const fdl_part *part, const int8_t *d, int32_t *acc);

/* The same for each kind. acc of a layer with weights comes with the biases in the forward pass;
 * in the backward pass of all but average pools it comes as zeros. */
void fdl_fill_biases(const fdl_run *run, const fdl_part *part, int32_t e, int32_t *acc);
void fdl_conv_forward(const fdl_run *run, const fdl_part *part, int32_t *acc);
void fdl_conv_backward(const fdl_run *run, const fdl_part *part, const int8_t *d, int32_t *acc);
void fdl_depthwise_forward(const fdl_run *run, const fdl_part *part, int32_t *acc);
void fdl_depthwise_backward(const fdl_run *run, const fdl_part *part, const int8_t *d,
                            int32_t *acc);
void fdl_max_pool_forward(const fdl_run *run, const fdl_part *part, int32_t *acc);
void fdl_max_pool_backward(const fdl_run *run, const fdl_part *part, const int8_t *d, int32_t *acc);
int32_t fdl_average_pool_forward(const fdl_run *run, const fdl_part *part, int32_t *acc);
int32_t fdl_average_pool_backward(const fdl_run *run, const fdl_part *part, const int8_t *d,
                                  int32_t *acc);

/* ---- Gradients ---- */

/* New weights of a dense layer or convolution of few windows, without a gradient in memory;
 * returns 0 if it cannot, and has done nothing. */
int fdl_conv_descend(const fdl_run *run, const fdl_part *part, const int8_t *d, int32_t shift);

/* Weights that lie in a run of memory, `count` from `first` on: of some rows that lie together, from
 * row `row` on, columns start to start + len of each, and what fills them up. */
typedef struct fdl_slice {
    size_t first, count;
    size_t row, rows;
    size_t start, len;
} fdl_slice;

/* Called with the gradient of a slice of a part's weights, in the same order. */
typedef void fdl_use_gradient(void *context, const fdl_slice *slice, const int32_t *g);
void fdl_each_gradient(const fdl_run *run, const fdl_part *part, const int8_t *d,
                       fdl_use_gradient *use, void *context);
void fdl_conv_each_gradient(const fdl_run *run, const fdl_part *part, const int8_t *d,
                            fdl_use_gradient *use, void *context);
void fdl_depthwise_each_gradient(const fdl_run *run, const fdl_part *part, const int8_t *d,
                                 fdl_use_gradient *use, void *context);

#endif
