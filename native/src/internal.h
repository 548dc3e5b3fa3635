/* What the files of the library know of one another. */
#ifndef FDL_INTERNAL_H
#define FDL_INTERNAL_H

#include "fedling.h"
#include "fixed.h"

/* A layer of a net, with its own part of the parameters. */
typedef struct fdl_part {
    size_t in;
    size_t out;
    int32_t w_exp;
    uint32_t relu;
    int16_t *weights; /* out rows of `in` */
    int32_t *biases;
} fdl_part;

/* The layers of a checked net, one part each. */
void fdl_split_net(const fdl_net *net, fdl_part parts[FDL_MAX_LAYERS]);

/* Outputs of the layer that has most. */
size_t fdl_widest(const fdl_net *net);

/* Bytes of `count` accumulators or int8 values, made a multiple of FDL_ARENA_ALIGN. */
size_t fdl_arena_words(size_t count);
size_t fdl_arena_bytes(size_t count);

/* Take the next piece of an arena whose size was checked. */
int32_t *fdl_take_words(uint8_t **arena, size_t count);
int8_t *fdl_take_bytes(uint8_t **arena, size_t count);

/* What is wrong with an arena, or with n examples; FDL_OK. */
int fdl_check_arena(const void *arena, size_t arena_len, size_t needed);
int fdl_check_examples(const fdl_net *net, const int8_t *x, size_t x_len, int32_t x_exp, size_t n);

/* acc[b][o] of NUMERICS section 3, ReLU included; e is the exponent of the accumulators. */
void fdl_forward(const fdl_part *part, const int8_t *x, size_t n, int32_t e, int32_t *acc);

/* Accumulators to int8 with one shift for all; returns the shift. */
int32_t fdl_requantise(const int32_t *acc, size_t count, int8_t *q);

/* Logits to Q15 probabilities, in place. */
void fdl_softmax(int32_t *z, size_t classes, int32_t z_exp);

/* a[b][i] of NUMERICS section 5 without the mask: the error that reaches the inputs of a layer. */
void fdl_backward(const fdl_part *part, const int8_t *d, size_t n, int32_t *acc);

/* The weights and biases of a layer after n examples; shifts as in NUMERICS section 5. */
void fdl_update_weights(const fdl_part *part, const int8_t *x, const int8_t *d, size_t n,
                        int32_t shift);
void fdl_update_biases(const fdl_part *part, const int8_t *d, size_t n, int32_t shift);

/* One row of weights after one example, and after n: the same bits for n = 1. */
void fdl_update_row_one(int16_t *row, const int8_t *x, size_t in, int8_t d, int32_t shift);
void fdl_update_row(int16_t *row, const int8_t *x, size_t in, const int8_t *d, size_t d_stride,
                    size_t n, int32_t shift);

/* ratio(a, b) of NUMERICS section 1: a/b ~ mantissa * 2^-7 * 2^k. 0 < a, b <= 2^40. */
typedef struct fdl_ratio {
    int32_t mantissa;
    int32_t k;
} fdl_ratio;
fdl_ratio fdl_make_ratio(uint64_t a, uint64_t b);

#endif
