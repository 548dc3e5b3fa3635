/* fedling: bit-exact integer training of small networks.
 *
 * This header is the whole public interface. What every function computes, bit by bit, is written
 * in NUMERICS.md. The library keeps nothing: no heap, no files, no clock, no global that changes.
 * All memory is the caller's; a function that needs scratch has a ..._arena_size() beside it. Every
 * function checks the lengths it is given and refuses before it changes anything.
 *
 * Functions that return int return FDL_OK or one of enum fdl_error. */
#ifndef FEDLING_H
#define FEDLING_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FDL_MAX_LAYERS   16
#define FDL_MAX_WIDTH    65535   /* products of one sum: no 32-bit accumulator overflows */
#define FDL_MAX_VALUES   1048576 /* inputs or outputs of a layer */
#define FDL_MAX_CLASSES  256
#define FDL_MAX_BATCH    256
#define FDL_MAX_TERMS    65536 /* examples * positions: products of one gradient */
#define FDL_MIN_EXPONENT (-24) /* of weights and of the input */
#define FDL_MAX_EXPONENT 7
#define FDL_INPUT_EXP    (-5)      /* of normalised samples: 32 steps a standard deviation */
#define FDL_VALUE_EXP    (-12)     /* of targets and outputs that are values */
#define FDL_MAX_RATE     268435456 /* learning rate 16, in 2^-24 */
#define FDL_ARENA_ALIGN  8

enum fdl_error {
    FDL_OK = 0,
    FDL_E_NULL = -1,        /* a pointer is NULL that must not be */
    FDL_E_LAYERS = -2,      /* the layers and the loss are not a model */
    FDL_E_EXPONENT = -3,    /* an exponent outside FDL_MIN_EXPONENT..FDL_MAX_EXPONENT */
    FDL_E_LENGTH = -4,      /* a length is not the one that the model asks for */
    FDL_E_ARENA = -5,       /* the arena is too small or not aligned to FDL_ARENA_ALIGN */
    FDL_E_BATCH = -6,       /* not 1..FDL_MAX_BATCH examples, or over FDL_MAX_TERMS positions */
    FDL_E_RATE = -7,        /* learning rate, momentum, pull or frozen layers out of range */
    FDL_E_TARGET = -8,      /* a target that the loss does not allow */
    FDL_E_INPUT = -9,       /* an input of -128: the range is -127..127 */
    FDL_E_SAMPLES = -10,    /* samples: none, 2^31 and more, or sums that none have */
    FDL_E_NORMALISER = -11, /* a mean, mantissa or shift that no fit gives */
    FDL_E_CODE = -13,       /* a quantiser, a table or a number of kept values that is none */
    FDL_E_MESSAGE = -14,    /* a message that no encoder wrote */
    FDL_E_ABSENT = -12      /* a kind of layer, a loss or an option that this build leaves out */
};

/* "FDL_E_..." in words, for people. A string that lives as long as the program; never NULL. */
const char *fdl_describe_error(int error);

/* The version of this library: "major.minor.patch". */
const char *fdl_version(void);

/* The code that this processor runs: "plain", "avx2", "avx512vnni", "neon", "dotprod", "dsp". */
const char *fdl_isa(void);

/* ---- The model (NUMERICS section 2) ---- */

enum fdl_kind {
    FDL_DENSE = 0,
    FDL_CONV = 1,      /* conv1d has height 1 */
    FDL_DEPTHWISE = 2, /* one filter a channel */
    FDL_MAX_POOL = 3,
    FDL_AVERAGE_POOL = 4 /* global: one value a channel */
};

enum fdl_loss {
    FDL_SOFTMAX = 0,       /* targets: uint8 [n], a class */
    FDL_SIGMOID = 1,       /* targets: uint8 [n][outputs], 0 or 1 */
    FDL_SQUARED = 2,       /* targets: int16 [n][outputs], in 2^FDL_VALUE_EXP */
    FDL_RECONSTRUCTION = 3 /* the target is the input; no targets */
};

/* Fields that a kind does not have are 0. Tensors are channels last. */
typedef struct fdl_layer {
    uint8_t kind; /* enum fdl_kind */
    uint8_t relu; /* 0 or 1; 0 for pools and the last layer */
    int8_t w_exp; /* an int8 weight w is worth w * 2^w_exp; 0 for pools */
    uint8_t kernel_height, kernel_width;
    uint8_t stride_height, stride_width;
    uint8_t pad_top, pad_bottom, pad_left, pad_right;
    uint16_t height, width, channels; /* of the input; dense: 1, 1, inputs */
    uint16_t out;                     /* channels of the output */
} fdl_layer;

/* The weights are in the library's own order, which may differ from one processor to the next, and
 * may have room between them: fdl_unpack_weights() and fdl_pack_weights() are the only way in and
 * out. Processors with long vectors are fastest when they begin at a multiple of 64 bytes. */
typedef struct fdl_net {
    const fdl_layer *layers;
    size_t layer_count;
    uint32_t loss; /* enum fdl_loss */
    int16_t *weights;
    size_t weight_count; /* fdl_weight_room() */
    int32_t *biases;
    size_t bias_count;
} fdl_net;

/* FDL_OK, FDL_E_NULL, FDL_E_LAYERS or FDL_E_EXPONENT. */
int fdl_check_layers(const fdl_layer *layers, size_t layer_count);

/* Values of one example that a layer reads and gives; 0 if the layer is refused. */
size_t fdl_input_count(const fdl_layer *layer);
size_t fdl_output_count(const fdl_layer *layer);

/* How many weights, biases and canonical bytes; 0 if the layers are refused (a model of pools alone
 * is one of those). */
size_t fdl_weight_count(const fdl_layer *layers, size_t layer_count);
size_t fdl_bias_count(const fdl_layer *layers, size_t layer_count);
size_t fdl_packed_size(const fdl_layer *layers, size_t layer_count);

/* How many int16 the weights take in memory on this processor; 0 if the layers are refused. It is
 * the sum over the layers of FDL_WEIGHT_ROOM(out, channels) for dense, kernel_height times
 * FDL_WEIGHT_ROOM(out, kernel_width * channels) for conv, the count for depthwise. */
size_t fdl_weight_room(const fdl_layer *layers, size_t layer_count);
#if defined(__x86_64__) || (defined(__aarch64__) && !defined(__AARCH64EB__))
#define FDL_WEIGHT_ROOM(rows, len) (((rows) + 15) / 16 * 16 * (((len) + 3) / 4 * 4))
#else
#define FDL_WEIGHT_ROOM(rows, len) ((rows) * (len))
#endif

/* The layers, then that the counts and pointers fit them. */
int fdl_check_net(const fdl_net *net);

/* Canonical bytes -> net. */
int fdl_unpack_weights(fdl_net *net, const uint8_t *packed, size_t packed_len);

/* Net -> canonical bytes. */
int fdl_pack_weights(const fdl_net *net, uint8_t *packed, size_t packed_len);

/* CRC-32 of the canonical bytes, without making them. */
int fdl_checksum(const fdl_net *net, uint32_t *crc);

/* ---- Training and prediction (NUMERICS sections 3 to 5) ---- */

/* How a step learns. */
typedef struct fdl_sgd {
    uint32_t lr_q24;       /* learning rate of the mean gradient, in 2^-24, 1..FDL_MAX_RATE */
    uint32_t clip_q16;     /* longest mean gradient of a layer, in 2^-16; 0: no limit */
    uint32_t momentum;     /* in 1/256, 0..255; 0: none */
    uint32_t frozen;       /* so many of the first layers do not change; fewer than there are */
    int32_t *velocity;     /* of weights and biases as in fdl_pack_weights(), zeros at first;
                        * NULL: no momentum */
    size_t velocity_count; /* fdl_weight_count() + fdl_bias_count() */
} fdl_sgd;

/* n examples. */
typedef struct fdl_batch {
    const int8_t *x; /* n * inputs values, -127..127, worth x * 2^x_exp */
    size_t x_len;
    int32_t x_exp;
    const void *targets; /* as enum fdl_loss says; aligned for its type */
    size_t targets_len;  /* how many targets, not bytes */
    size_t n;
} fdl_batch;

/* Bytes of arena for a step of up to n examples; 0 if the net or n is refused. */
size_t fdl_step_arena_size(const fdl_net *net, size_t n);

/* One step of gradient descent on a batch; the new weights in place.
 *
 * arena:   fdl_step_arena_size(net, n) bytes, aligned to FDL_ARENA_ALIGN; scratch
 * Returns FDL_OK or, with the weights untouched, any of the errors down to FDL_E_INPUT. */
int fdl_step(fdl_net *net, void *arena, size_t arena_len, const fdl_batch *batch,
             const fdl_sgd *sgd);

/* Pull the weights towards others, by pull / 2^16 of the difference: the proximal term of FedProx.
 *
 * start:  canonical bytes, fdl_packed_size() of them; pull: 1..65535 */
int fdl_pull(fdl_net *net, const uint8_t *start, size_t start_len, uint32_t pull_q16);

/* Bytes of arena for a prediction; 0 if the net is refused. */
size_t fdl_predict_arena_size(const fdl_net *net);

/* What the net says of one example.
 *
 * outputs: softmax and sigmoid: probabilities in 2^-15; else values in 2^FDL_VALUE_EXP
 * label:   the output with the largest logit; the first of equal ones */
int fdl_predict(const fdl_net *net, void *arena, size_t arena_len, const int8_t *x, size_t x_len,
                int32_t x_exp, int32_t *outputs, size_t outputs_len, uint32_t *label);

/* The last layer's accumulators for one example, worth logit * 2^exponent. */
int fdl_logits(const fdl_net *net, void *arena, size_t arena_len, const int8_t *x, size_t x_len,
               int32_t x_exp, int32_t *logits, size_t logits_len, int32_t *exponent);

/* ---- The update that leaves the device (NUMERICS section 7) ---- */

/* Packed weights after minus packed weights before, saturated, in the same order and sizes.
 *
 * before, after, delta:  fdl_packed_size() bytes each; delta may be the same buffer as either
 * saturated:             how many values did not fit */
int fdl_delta(const fdl_layer *layers, size_t layer_count, const uint8_t *before, size_t before_len,
              const uint8_t *after, size_t after_len, uint8_t *delta, size_t delta_len,
              uint32_t *saturated);

/* ---- Normalisation on the device (NUMERICS section 6) ---- */

/* What one channel does to a count c: (c - mean) * mantissa, shifted right by `shift`. */
typedef struct fdl_norm {
    int32_t mean;
    uint32_t mantissa; /* 128..255, or 0 for a constant channel */
    int32_t shift;
} fdl_norm;

/* One channel of a fit: of several, over other samples, each field is added. */
typedef struct fdl_norm_fit {
    int64_t sum;
    uint64_t squares;
    uint32_t count; /* samples */
} fdl_norm_fit;

/* A fit reads the samples piece by piece: start, sum..., finish.
 * samples: interleaved by channel, a multiple of `channels`, fewer than 2^31 a channel.
 * finish also takes sums from elsewhere; FDL_E_SAMPLES: no samples have such. */
int fdl_norm_start(fdl_norm_fit *fit, size_t channels);
int fdl_norm_sum(fdl_norm_fit *fit, size_t channels, const int16_t *samples, size_t samples_len);
int fdl_norm_finish(const fdl_norm_fit *fit, fdl_norm *norm, size_t channels);

/* Counts to int8 inputs of exponent FDL_INPUT_EXP; x_len == samples_len, a multiple of channels. */
int fdl_norm_apply(const fdl_norm *norm, size_t channels, const int16_t *samples,
                   size_t samples_len, int8_t *x, size_t x_len);

/* ---- The codec of updates (NUMERICS section 10) ---- */

#define FDL_MAX_CODED 16777216 /* values of a message */

enum fdl_quantiser {
    FDL_SCALAR = 0,
    FDL_TRELLIS = 1,   /* less error in as many bytes, twice the work of who encodes */
    FDL_DITHER = 2,    /* more error, without bias whatever the values are */
    FDL_TRELLIS_32 = 3 /* 32 states instead of 8: still less error, more work of who encodes */
};

/* How values become bytes: both sides hold the same. */
typedef struct fdl_code {
    uint8_t quantiser; /* enum fdl_quantiser */
    uint8_t table;     /* of its rates, from the lowest */
    uint32_t kept;     /* values that are sent, 1 to all */
    uint32_t seed[2];
} fdl_code;

/* What training changed, as values in one unit, and an estimate of it back, in 1/256 of each
 * weight's and bias's own unit, in place.
 * delta: fdl_delta()'s bytes; values, estimate: fdl_weight_count() + fdl_bias_count() of them */
int fdl_delta_values(const fdl_layer *layers, size_t layer_count, const uint8_t *delta,
                     size_t delta_len, int32_t *values, size_t count);
int fdl_own_units(const fdl_layer *layers, size_t layer_count, int32_t *estimate, size_t count);

/* The table and the number of kept values with the least error in about so many bytes; the seed
 * stays as it is. count: values, 1..FDL_MAX_CODED */
int fdl_choose_code(uint8_t quantiser, size_t count, size_t bytes, fdl_code *code);

/* Places of a code: values that are kept, filled up; 0: no code of so many values. */
size_t fdl_code_places(const fdl_code *code, size_t count);

/* The most bytes that a message of this code may have. */
size_t fdl_encoded_room(const fdl_code *code, size_t count);

/* dither: of FDL_DITHER a uint16 for each place, else NULL and 0.
 * arena:  fdl_code_arena_size(code, count) bytes, aligned to FDL_ARENA_ALIGN; scratch. An encoder
 *         has a block of 1,024 values in it, of FDL_TRELLIS_32 eight
 * out:    *out_len bytes of it are the message; fdl_encoded_room() are always enough. FDL_E_LENGTH:
 *         it has no room for this one */
size_t fdl_code_arena_size(const fdl_code *code, size_t count);
int fdl_encode(const fdl_code *code, const int32_t *values, size_t count, const uint16_t *dither,
               size_t dither_count, void *arena, size_t arena_len, uint8_t *out, size_t out_room,
               size_t *out_len);

/* Its first byte is a message's quantiser, by which whoever reads chooses the code; a message of no
 * bytes is the estimate 0. FDL_E_MESSAGE: no encoder wrote it with this code; the estimate is then
 * of no use.
 * estimate: of each value, in 1/256 of its unit */
int fdl_decode(const fdl_code *code, const uint8_t *message, size_t message_len,
               const uint16_t *dither, size_t dither_count, void *arena, size_t arena_len,
               int32_t *estimate, size_t count);

/* ---- Models as integers in few bytes (NUMERICS section 11) ---- */

/* values: of magnitudes below 16,384, FDL_E_CODE if one cannot be written; count:
 * 1..FDL_MAX_CODED; out: fdl_integers_room() bytes, *out_len of them are the message */
size_t fdl_integers_room(size_t count);
int fdl_write_integers(const int32_t *values, size_t count, uint8_t *out, size_t out_room,
                       size_t *out_len);
int fdl_read_integers(const uint8_t *message, size_t message_len, int32_t *values, size_t count);

/* What devices hold of a model, written on its grid.
 * shifts: of a change, by how much each layer's exponent grew, and `model` is the model that is
 *         held, as canonical bytes; NULL: the message is a whole model
 * model:  fdl_packed_size() bytes; of no use after FDL_E_MESSAGE */
int fdl_read_model(const fdl_layer *layers, size_t layer_count, const int8_t *shifts,
                   const uint8_t *message, size_t message_len, uint8_t *model, size_t model_len);

/* ---- Updates of which only a sum is read (NUMERICS section 12) ---- */

#define FDL_LEAST_RING_BITS 4
#define FDL_MOST_RING_BITS  12
#define FDL_RING_ARENA      4096 /* bytes, aligned to FDL_ARENA_ALIGN; scratch */

/* How the values of all devices of a round become elements of one ring, the integers modulo
 * 2^bits. */
typedef struct fdl_ring {
    uint8_t bits; /* FDL_LEAST_RING_BITS to FDL_MOST_RING_BITS */
    uint16_t
        step; /* (1,024 + step % 1,024) * 2^(step / 1,024 - 40) units of a value, from 8,192 on */
    uint16_t kept; /* of 1,024 places, 1 to 1,024 */
    uint32_t seed[2];
} fdl_ring;

/* Elements of so many values, 1..FDL_MAX_CODED; 0: no ring or no such number. */
size_t fdl_ring_elements(const fdl_ring *ring, size_t count);

/* What a device sends.
 * share:    what its values count, in 1/32,768, at most 32,768
 * dither:   random bytes of this device and round alone, one for each element
 * elements: fdl_ring_elements() of them, each below 2^bits */
int fdl_ring_encode(const fdl_ring *ring, const int32_t *values, size_t count, uint32_t share,
                    const uint8_t *dither, void *arena, size_t arena_len, uint16_t *elements,
                    size_t element_count);

/* Elements as bytes, fdl_ring_bytes() of them; and bytes added to a sum of elements. FDL_E_MESSAGE:
 * bits are set that are of no element; the sum is as it was. */
size_t fdl_ring_bytes(const fdl_ring *ring, size_t element_count);
int fdl_ring_pack(const fdl_ring *ring, const uint16_t *elements, size_t element_count,
                  uint8_t *message, size_t message_len);
int fdl_ring_add(const fdl_ring *ring, const uint8_t *message, size_t message_len, uint16_t *sum,
                 size_t element_count);

/* The mean of what was added up.
 * totals:   512 * the sum of the elements, read with its sign, - 2 * the sum of the devices' dither
 *           + 255 * their number, for each element
 * weight:   the sum of the shares of which the values are the mean, in 1/32,768
 * estimate: of each value, in 1/256 of its unit */
int fdl_ring_decode(const fdl_ring *ring, const int32_t *totals, size_t total_count,
                    uint32_t weight, void *arena, size_t arena_len, int32_t *estimate,
                    size_t count);

#ifdef __cplusplus
}
#endif
#endif
