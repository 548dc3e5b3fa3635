/* What the files of the library know of one another. */
#ifndef FDL_INTERNAL_H
#define FDL_INTERNAL_H

#include "without.h"
#include "fedling.h"
#include "fixed.h"
#include "kernels.h"

#include <string.h>

/* ---- Shapes ---- */

/* A layer of a checked net with all that follows from it. The inputs of one example lie in
 * memory as `rows` runs of `row_len` values, `row_step` apart, the first at `origin`; what is
 * between them is padding, and all of it together has `stored` values. Without padding it is one
 * run; row_step is then still the step from a row of the image to the next. */
typedef struct fdl_part {
    const fdl_layer *layer;
    int16_t *weights; /* weight_rows rows of row_weights */
    int32_t *biases;  /* bias_count */
    const int8_t *x;  /* inputs of the batch, n * stored */
    int32_t x_exp;
    uint32_t weight_rows, row_weights, bias_count;
    uint32_t stored, origin, rows, row_len, row_step;
    uint32_t out_height, out_width, outputs;
    uint32_t step_y, step_x;    /* from the window of one position to the next */
    uint32_t pieces, piece_len; /* of a window: each row of the kernel is a run of memory */
} fdl_part;

/* The shape of a checked layer; weights and inputs are left as they are. */
void fdl_shape_part(fdl_part *part, const fdl_layer *layer);

/* How large a model is. */
typedef struct fdl_sizes {
    uint64_t weights, biases;
    uint32_t held;      /* values of one example that an arena holds: inputs of all layers, but
                         * those of the first only if it wants padding around them */
    uint32_t widest;    /* values that some layer stores or gives */
    uint32_t positions; /* of the layer with weights that has most */
    uint32_t outputs;   /* of the last layer */
} fdl_sizes;

static inline uint64_t fdl_bytes_packed(const fdl_sizes *sizes) {
    return 2 * sizes->weights + 4 * sizes->biases;
}

/* What is wrong with a net; FDL_OK, and its sizes. */
int fdl_measure_net(const fdl_net *net, fdl_sizes *sizes);

/* Inputs of a checked net. */
static inline size_t fdl_net_inputs(const fdl_net *net) {
    return (size_t)net->layers[0].height * net->layers[0].width * net->layers[0].channels;
}

/* The parts of a checked net, with their weights. */
void fdl_split_net(const fdl_net *net, fdl_part *parts);

static inline int fdl_has_weights(const fdl_part *part) {
    return part->weight_rows > 0;
}

static inline size_t fdl_part_weights(const fdl_part *part) {
    return (size_t)part->weight_rows * part->row_weights;
}

static inline size_t fdl_positions(const fdl_part *part) {
    return FDL_HAS_SHAPES ? (size_t)part->out_height * part->out_width : 1;
}

/* Runs of memory that make a window. */
static inline size_t fdl_pieces(const fdl_part *part) {
    return FDL_HAS_SHAPES ? part->pieces : 1;
}

/* Whether zeros lie around the inputs in memory. */
static inline int fdl_is_padded(const fdl_part *part) {
    return FDL_HAS_SHAPES && part->row_len != part->stored;
}

/* Where the windows from number `first` on begin, of all examples one after the other: fills at
 * and returns how many, at most FDL_WINDOWS. */
size_t fdl_find_windows(const fdl_part *part, size_t n, size_t first, uint32_t at[FDL_WINDOWS]);

/* ---- Memory ---- */

/* Bytes made a multiple of FDL_ARENA_ALIGN, and the next piece of an arena that was checked. */
size_t fdl_round_up(size_t bytes);
void *fdl_take(uint8_t **arena, size_t bytes);

int fdl_check_arena(const void *arena, size_t arena_len, size_t needed);
int fdl_check_inputs(const fdl_net *net, const int8_t *x, size_t x_len, int32_t x_exp, size_t n);

/* n examples in a row, as a part stores them: with padding around. */
void fdl_store_inputs(const fdl_part *part, const int8_t *x, size_t n, int8_t *stored);

/* ---- Layers ---- */

/* How a net is run: the inner loops, and how many examples. */
typedef struct fdl_run {
    const fdl_kernels *kernels;
    size_t n;
} fdl_run;

static inline size_t fdl_examples(const fdl_run *run) {
    return FDL_HAS_BATCH ? run->n : 1;
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

/* ---- Losses ---- */

int fdl_check_targets(uint32_t loss, const fdl_batch *batch, size_t outputs);

/* Logits to what the net says (NUMERICS section 4); all but the sigmoid in place. */
void fdl_softmax(int32_t *z, size_t classes, int32_t z_exp);
int32_t fdl_sigmoid(int32_t z, int32_t z_exp);
void fdl_outputs(uint32_t loss, int32_t *z, size_t count, int32_t z_exp);

/* Logits [n][outputs] to err of NUMERICS section 5 number 2, in place, before the learning rate;
 * returns its exponent. */
int32_t fdl_output_error(uint32_t loss, const fdl_batch *batch, int32_t *z, size_t outputs,
                         int32_t z_exp);

/* ---- Updates ---- */

/* The errors d [n][outputs] of a layer, and what they do to its weights. */
typedef struct fdl_change {
    int8_t *d;
    int32_t shift;      /* u of NUMERICS section 5 */
    int32_t bias_shift; /* ub */
    uint32_t momentum;
    int32_t *velocity, *bias_velocity; /* of this layer; unused without momentum */
} fdl_change;

void fdl_update(const fdl_run *run, const fdl_part *part, const fdl_change *change);

/* New weights of a dense layer or convolution of few windows, without a gradient in memory;
 * returns 0 if it cannot, and has done nothing. */
int fdl_conv_descend(const fdl_run *run, const fdl_part *part, const int8_t *d, int32_t shift);

/* Called with the gradient of weights start to start + len of a row of weights. */
typedef void fdl_use_gradient(void *context, size_t row, size_t start, const int32_t *g,
                              size_t len);
void fdl_each_gradient(const fdl_run *run, const fdl_part *part, const int8_t *d,
                       fdl_use_gradient *use, void *context);
void fdl_conv_each_gradient(const fdl_run *run, const fdl_part *part, const int8_t *d,
                            fdl_use_gradient *use, void *context);
void fdl_depthwise_each_gradient(const fdl_run *run, const fdl_part *part, const int8_t *d,
                                 fdl_use_gradient *use, void *context);

/* Clipping by norm: makes the errors d of a layer smaller where its gradient, which has exponent
 * g_exp, is longer than lr_clip / 2^40; returns what is to be added to the exponent of d. */
int32_t fdl_clip(const fdl_run *run, const fdl_part *part, int8_t *d, uint64_t lr_clip,
                 int32_t g_exp);

/* ---- Numbers ---- */

/* ratio(a, b) of NUMERICS section 1: a/b ~ mantissa * 2^-7 * 2^k. 0 < a, b <= 2^40. */
typedef struct fdl_ratio {
    int32_t mantissa;
    int32_t k;
} fdl_ratio;
fdl_ratio fdl_make_ratio(uint64_t a, uint64_t b);

/* Each value = sat(rshift(value, shift), limit), or sat32 of it where the limit is INT32_MAX;
 * limit >= 2^30 - 1. */
void fdl_shift_all(int32_t *values, size_t count, int32_t shift, int32_t limit);

/* floor(sqrt(v)), v < 2^63. */
uint32_t fdl_square_root(uint64_t v);

#endif
