/* What follows from the fields of a layer: where its windows lie, how many weights it has. */
#include "net.h"
#include "../numbers/fixed.h"

/* A whole input as one run of memory: dense layers and pools. */
static void lay_flat(fdl_part *part, uint32_t values) {
    part->stored = part->row_len = part->row_step = values;
    part->rows = 1;
    part->origin = 0;
}

#if FDL_HAS_SHAPES
/* An input with padding around it; without padding the rows join into one run. */
static void lay_padded(fdl_part *part, const fdl_layer *v) {
    uint32_t height = (uint32_t)v->height + v->pad_top + v->pad_bottom;
    uint32_t width = (uint32_t)v->width + v->pad_left + v->pad_right;
    lay_flat(part, height * width * v->channels);
    part->row_step = width * v->channels;
    if (height == v->height && width == v->width)
        return;
    part->origin = v->pad_top * part->row_step + (uint32_t)v->pad_left * v->channels;
    part->rows = v->height;
    part->row_len = (uint32_t)v->width * v->channels;
}

static void place_windows(fdl_part *part, const fdl_layer *v) {
    uint32_t height = (uint32_t)v->height + v->pad_top + v->pad_bottom;
    uint32_t width = (uint32_t)v->width + v->pad_left + v->pad_right;
    part->out_height = (height - v->kernel_height) / v->stride_height + 1;
    part->out_width = (width - v->kernel_width) / v->stride_width + 1;
    part->outputs = part->out_height * part->out_width * v->out;
    part->step_y = v->stride_height * width * v->channels;
    part->step_x = (uint32_t)v->stride_width * v->channels;
    part->pieces = v->kernel_height;
    part->piece_len = (uint32_t)v->kernel_width * v->channels;
}

#endif

static void count_weights(fdl_part *part, uint32_t rows, uint32_t row_weights, uint32_t biases) {
    part->weight_rows = rows;
    part->row_weights = row_weights;
    part->bias_count = biases;
#if FDL_TALL > 1
    part->tall = 1;
    part->row_room = row_weights;
    part->piece_room = part->piece_len;
    part->rows_room = rows;
#endif
}

_Static_assert(FDL_WEIGHT_ROOM(1, 1) == FDL_TALL * FDL_WIDE, "fedling.h has the same room");

/* A matrix that meets windows, in the order that the inner loops want. */
static void lay_matrix(fdl_part *part, uint32_t rows) {
    count_weights(part, rows, part->pieces * part->piece_len, rows);
#if FDL_TALL > 1
    uint32_t tall = fdl_kernels_here()->tall;
    part->tall = tall > 0 ? tall : 1;
    part->piece_room = (uint32_t)fdl_multiple(part->piece_len, FDL_WIDE);
    part->row_room = part->pieces * part->piece_room;
    part->rows_room = (uint32_t)fdl_multiple(rows, FDL_TALL);
#endif
}

static void shape_dense(fdl_part *part, const fdl_layer *v) {
    lay_flat(part, v->channels);
    part->out_height = part->out_width = part->pieces = 1;
    part->outputs = v->out;
    part->piece_len = v->channels;
    part->step_y = part->step_x = 0;
    lay_matrix(part, v->out);
}

#if FDL_HAS_SHAPES
static void shape_conv(fdl_part *part, const fdl_layer *v) {
    lay_padded(part, v);
    place_windows(part, v);
    lay_matrix(part, v->out);
}

static void shape_depthwise(fdl_part *part, const fdl_layer *v) {
    lay_padded(part, v);
    place_windows(part, v);
    count_weights(part, (uint32_t)v->kernel_height * v->kernel_width, v->channels, v->channels);
}

/* Padding of a pool is not stored: it must never be the largest value. */
static void shape_max_pool(fdl_part *part, const fdl_layer *v) {
    lay_flat(part, (uint32_t)v->height * v->width * v->channels);
    place_windows(part, v);
    count_weights(part, 0, 0, 0);
}

static void shape_average_pool(fdl_part *part, const fdl_layer *v) {
    lay_flat(part, (uint32_t)v->height * v->width * v->channels);
    part->out_height = part->out_width = part->pieces = 1;
    part->outputs = v->out;
    part->piece_len = part->stored;
    part->step_y = part->step_x = 0;
    count_weights(part, 0, 0, 0);
}

#endif

void fdl_shape_part(fdl_part *part, const fdl_layer *layer) {
    part->layer = layer;
    switch (layer->kind) {
#if FDL_HAS_SHAPES
    case FDL_CONV:
        shape_conv(part, layer);
        break;
    case FDL_DEPTHWISE:
        shape_depthwise(part, layer);
        break;
    case FDL_MAX_POOL:
        shape_max_pool(part, layer);
        break;
    case FDL_AVERAGE_POOL:
        shape_average_pool(part, layer);
        break;
#endif
    default:
        shape_dense(part, layer);
        break;
    }
}

void fdl_split_net(const fdl_net *net, fdl_part *parts) {
    int16_t *weights = net->weights;
    int32_t *biases = net->biases;
    for (size_t l = 0; l < net->layer_count; l++) {
        fdl_shape_part(&parts[l], &net->layers[l]);
        parts[l].weights = weights;
        parts[l].biases = biases;
        weights += fdl_part_room(&parts[l]);
        biases += parts[l].bias_count;
    }
}

#if FDL_TALL > 1
fdl_cursor fdl_first_weight(const fdl_net *net) {
    return (fdl_cursor){.layer = net->layers,
                        .end = net->layers + net->layer_count,
                        .part = {.weights = net->weights}};
}

/* The next layer of those that have weights. */
static int next_layer(fdl_cursor *c) {
    do {
        if (c->layer == c->end)
            return 0;
        c->part.weights += fdl_part_room(&c->part);
        fdl_shape_part(&c->part, c->layer++);
    } while (!fdl_has_weights(&c->part));
    c->row = c->column = c->place = 0;
    return 1;
}

int16_t *fdl_next_weight(fdl_cursor *c) {
    const fdl_part *part = &c->part;
    if (c->row == part->weight_rows && !next_layer(c))
        return NULL;
    int16_t *weight = part->weights + fdl_place(part, c->row, c->place++);
    if (++c->column % part->piece_len == 0)
        c->place += part->piece_room - part->piece_len;
    if (c->column == part->row_weights) {
        c->row++;
        c->column = c->place = 0;
    }
    return weight;
}
#endif

size_t fdl_find_windows(const fdl_part *part, size_t n, size_t first, uint32_t at[FDL_WINDOWS]) {
    size_t positions = fdl_positions(part);
    size_t left = n * positions - first;
    size_t count = left < FDL_WINDOWS ? left : FDL_WINDOWS;
    if (positions == 1) {
        for (size_t m = 0; m < count; m++)
            at[m] = (uint32_t)(first + m) * part->stored;
        return count;
    }
#if FDL_HAS_SHAPES
    size_t b = first / positions;
    size_t y = first % positions / part->out_width, x = first % part->out_width;
    for (size_t m = 0; m < count; x = 0) {
        uint32_t start = (uint32_t)(b * part->stored + y * part->step_y);
        for (; x < part->out_width && m < count; x++)
            at[m++] = start + (uint32_t)x * part->step_x;
        if (++y == part->out_height) {
            y = 0;
            b++;
        }
    }
#endif
    return count;
}
