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
    int16_t *weights; /* weight_rows rows of row_weights, in the order of the inner loops */
    int32_t *biases;  /* bias_count */
    const int8_t *x;  /* inputs of the batch, n * stored */
    int32_t x_exp;
    uint32_t weight_rows, row_weights, bias_count;
#if FDL_TALL > 1
    uint32_t tall;                            /* rows that lie together */
    uint32_t rows_room, row_room, piece_room; /* rows, their columns, and those of a piece, with
                                               * what fills them up */
#endif
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
#if FDL_TALL > 1
    uint64_t room; /* of the weights in memory */
#endif
    uint32_t held;      /* values of one example that an arena holds: inputs of all layers, but
                         * those of the first only if it wants padding around them */
    uint32_t widest;    /* values that some layer stores or gives */
    uint32_t positions; /* of the layer with weights that has most */
    uint32_t outputs;   /* of the last layer */
} fdl_sizes;

static inline uint64_t fdl_room(const fdl_sizes *sizes) {
#if FDL_TALL > 1
    return sizes->room;
#else
    return sizes->weights;
#endif
}

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

/* ---- Where weights lie ---- */

/* The next multiple of a power of two. */
static inline size_t fdl_multiple(size_t count, size_t of) {
    return (count + of - 1) & ~(of - 1);
}

#if FDL_TALL > 1
static inline size_t fdl_tall(const fdl_part *part) {
    return part->tall;
}

static inline size_t fdl_row_room(const fdl_part *part) {
    return part->row_room;
}

static inline size_t fdl_piece_room(const fdl_part *part) {
    return part->piece_room;
}

/* Weights of a part in memory. */
static inline size_t fdl_part_room(const fdl_part *part) {
    return (size_t)part->rows_room * part->row_room;
}
#else
static inline size_t fdl_tall(const fdl_part *part) {
    (void)part;
    return 1;
}

static inline size_t fdl_row_room(const fdl_part *part) {
    return part->row_weights;
}

static inline size_t fdl_piece_room(const fdl_part *part) {
    return part->piece_len;
}

static inline size_t fdl_part_room(const fdl_part *part) {
    return fdl_part_weights(part);
}
#endif

/* Where column i of row r lies, of rows that lie together: two columns of each, then the next. */
static inline size_t fdl_woven(const fdl_part *part, size_t r, size_t i) {
    return i / 2 * 2 * fdl_tall(part) + r * 2 + i % 2;
}

/* Where column i of row o lies, of columns that are filled up. */
static inline size_t fdl_place(const fdl_part *part, size_t o, size_t i) {
    size_t r = o % fdl_tall(part);
    return (o - r) * fdl_row_room(part) + fdl_woven(part, r, i);
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

/* ---- The weights of a checked net, in the order of NUMERICS section 2 ---- */

#if FDL_TALL > 1
typedef struct fdl_cursor {
    const fdl_layer *layer, *end; /* after the one in work */
    fdl_part part;
    size_t row, column, place; /* `column` of `row`, and of columns that are filled up */
} fdl_cursor;

fdl_cursor fdl_first_weight(const fdl_net *net);

/* NULL at the end. */
int16_t *fdl_next_weight(fdl_cursor *cursor);
#else
typedef struct fdl_cursor {
    int16_t *next, *end;
} fdl_cursor;

static inline fdl_cursor fdl_first_weight(const fdl_net *net) {
    return (fdl_cursor){net->weights, net->weights + net->weight_count};
}

static inline int16_t *fdl_next_weight(fdl_cursor *cursor) {
    return cursor->next == cursor->end ? NULL : cursor->next++;
}
#endif

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
