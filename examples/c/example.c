/* A small network that learns on the device. It is shown signals of 16 samples, rising or falling
 * under noise, and learns which is which: 32 steps of 8 examples.
 *
 * All memory is below, as in a program for a microcontroller: the library has no heap, checks every
 * length that it is given, and refuses before it changes anything. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "fedling.h"

enum { INPUTS = 16, HIDDEN = 8, CLASSES = 2, BATCH = 8, STEPS = 32, TESTS = 200 };
enum { WEIGHTS = INPUTS * HIDDEN + HIDDEN * CLASSES, BIASES = HIDDEN + CLASSES };
enum { PACKED = 2 * WEIGHTS + 4 * BIASES };
enum { ROOM = FDL_WEIGHT_ROOM(HIDDEN, INPUTS) + FDL_WEIGHT_ROOM(CLASSES, HIDDEN) };

#define RATE_Q24 (1u << 20) /* learning rate 1/16 */

/* An int8 weight of 127 is worth about 1: 127 * 2^-7. */
static const fdl_layer LAYERS[] = {
    {.kind = FDL_DENSE,
     .relu = 1,
     .w_exp = -7,
     .height = 1,
     .width = 1,
     .channels = INPUTS,
     .out = HIDDEN},
    {.kind = FDL_DENSE,
     .relu = 0,
     .w_exp = -7,
     .height = 1,
     .width = 1,
     .channels = HIDDEN,
     .out = CLASSES},
};
enum { LAYER_COUNT = sizeof LAYERS / sizeof *LAYERS };

static int16_t weights[ROOM];
static int32_t biases[BIASES];
static uint64_t arena[160]; /* 1,280 bytes of scratch; uint64_t for its alignment */
static uint8_t packed[PACKED];

static fdl_net net = {
    .layers = LAYERS,
    .layer_count = LAYER_COUNT,
    .loss = FDL_SOFTMAX,
    .weights = weights,
    .weight_count = ROOM,
    .biases = biases,
    .bias_count = BIASES,
};

static void must(int error, const char *what) {
    if (error == FDL_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, fdl_describe_error(error));
    exit(EXIT_FAILURE);
}

/* -64 to 63: the same on every machine, so that what is printed is too. */
static int noise(void) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (int)(state >> 25) - 64;
}

/* A signal of one standard deviation is 32, since FDL_INPUT_EXP is -5. */
static uint8_t make_example(int8_t x[INPUTS]) {
    uint8_t falling = noise() < 0;
    for (int i = 0; i < INPUTS; i++) {
        int rising = 3 * (2 * i - INPUTS + 1);
        x[i] = (int8_t)((falling ? -rising : rising) + noise());
    }
    return falling;
}

/* Small random weights, biases of 0, as the canonical bytes that a model travels in: int16 weights,
 * then int32 biases, little-endian. */
static void start(void) {
    for (size_t j = 0; j < WEIGHTS; j++) {
        uint16_t weight = (uint16_t)(noise() * 256);
        packed[2 * j] = (uint8_t)weight;
        packed[2 * j + 1] = (uint8_t)(weight >> 8);
    }
    must(fdl_unpack_weights(&net, packed, sizeof packed), "unpack");
}

static void train(void) {
    static int8_t x[BATCH * INPUTS];
    static uint8_t classes[BATCH];
    const fdl_sgd sgd = {.lr_q24 = RATE_Q24};
    const fdl_batch batch = {.x = x,
                             .x_len = sizeof x,
                             .x_exp = FDL_INPUT_EXP,
                             .targets = classes,
                             .targets_len = BATCH,
                             .n = BATCH};
    for (int step = 0; step < STEPS; step++) {
        for (size_t b = 0; b < BATCH; b++)
            classes[b] = make_example(x + b * INPUTS);
        must(fdl_step(&net, arena, sizeof arena, &batch, &sgd), "step");
    }
}

/* Right answers to new examples, and the probability of the last one's class, in 2^-15. */
static int count_right(int32_t *probability) {
    int right = 0;
    for (int i = 0; i < TESTS; i++) {
        int8_t x[INPUTS];
        int32_t outputs[CLASSES];
        uint32_t label;
        uint8_t class = make_example(x);
        must(fdl_predict(&net, arena, sizeof arena, x, INPUTS, FDL_INPUT_EXP, outputs, CLASSES,
                         &label),
             "predict");
        right += label == class;
        *probability = outputs[class];
    }
    return right;
}

static void report(const char *when) {
    int32_t probability;
    uint32_t crc;
    int right = count_right(&probability);
    must(fdl_checksum(&net, &crc), "checksum");
    printf("%s: %d of %d right, the last with probability %ld/32768, weights %08lx\n", when, right,
           TESTS, (long)probability, (unsigned long)crc);
}

int main(void) {
    must(fdl_check_net(&net), "net");
    size_t needed = fdl_step_arena_size(&net, BATCH);
    printf("fedling %s, %s: %d parameters, a step needs %lu of %lu bytes of arena\n", fdl_version(),
           fdl_isa(), WEIGHTS + BIASES, (unsigned long)needed, (unsigned long)sizeof arena);
    start();
    report("before");
    train();
    report("after");
    return EXIT_SUCCESS;
}
