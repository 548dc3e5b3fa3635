/* Nets: the shape of a checked one, and the memory that it works in. */
#ifndef FDL_NET_H
#define FDL_NET_H

#include "../without.h"
#include "../loops/kernels.h"
#include "fedling.h"

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

#endif
