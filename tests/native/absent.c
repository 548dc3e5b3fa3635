/* Prints the parts that this build leaves out, one word each: those whose use it refuses with
 * FDL_E_ABSENT, or FDL_E_BATCH. What every build has must work. */
#include <stdio.h>
#include <stdlib.h>

#include "fedling.h"
#include "without.h"

#define INPUTS 4 /* and outputs */
#define ROOM   FDL_WEIGHT_ROOM(INPUTS, INPUTS)

static void expect_absent(int error, const char *part) {
    if (error == FDL_E_ABSENT)
        printf("%s\n", part);
    else if (error != FDL_OK)
        exit(1);
}

static fdl_layer dense(uint16_t inputs) {
    return (fdl_layer){
        .kind = FDL_DENSE, .height = 1, .width = 1, .channels = inputs, .out = INPUTS};
}

/* A layer of 2 * 2 pixels, before a dense one. */
static void try_layer(uint8_t kind, uint8_t kernel, const char *part) {
    fdl_layer first = {.kind = kind, .height = 2, .width = 2, .channels = 2, .out = 2};
    first.kernel_height = first.kernel_width = first.stride_height = first.stride_width = kernel;
    fdl_layer second = dense(kind == FDL_AVERAGE_POOL ? 2 : 2 * INPUTS);
    expect_absent(fdl_check_layers((fdl_layer[]){first, second}, 2), part);
}

/* A step of a dense layer on n examples. */
static int step(size_t n, uint32_t loss, uint32_t clip_q16, uint32_t momentum) {
    static uint64_t arena[256];
    _Alignas(4) int16_t weights[ROOM] = {0};
    int32_t biases[INPUTS] = {0}, velocity[INPUTS * INPUTS + INPUTS] = {0};
    const int8_t x[2 * INPUTS] = {1, 2, 3, 4};
    const int16_t targets[INPUTS] = {0};
    const fdl_layer layer = dense(INPUTS);
    fdl_net net = {&layer, 1, loss, weights, ROOM, biases, INPUTS};
    size_t targets_len = loss == FDL_SOFTMAX ? n : loss == FDL_RECONSTRUCTION ? 0 : INPUTS;
    fdl_batch batch = {x, n * INPUTS, FDL_INPUT_EXP, targets, targets_len, n};
    fdl_sgd sgd = {1 << 24, clip_q16, momentum, 0, velocity, INPUTS * INPUTS + INPUTS};
    return fdl_step(&net, arena, sizeof arena, &batch, &sgd);
}

/* A message of one value. */
static int encode(uint8_t quantiser) {
    static uint64_t arena[16384];
    const int32_t value = 5;
    uint8_t out[128];
    size_t out_len;
    fdl_code code = {quantiser, 0, 1, {1, 2}};
    size_t room = fdl_encoded_room(&code, 1), arena_len = fdl_code_arena_size(&code, 1);
    if (room > sizeof out || arena_len > sizeof arena)
        exit(1);
    return fdl_encode(&code, &value, 1, NULL, 0, arena, sizeof arena, out, sizeof out, &out_len);
}

int main(void) {
    const fdl_layer odd = dense(3);
    try_layer(FDL_CONV, 1, "CONV");
    try_layer(FDL_DEPTHWISE, 1, "DEPTHWISE");
    try_layer(FDL_MAX_POOL, 1, "POOLS");
    try_layer(FDL_AVERAGE_POOL, 0, "POOLS");
    expect_absent(fdl_check_layers(&odd, 1), "ODD_ROWS");
    if (step(1, FDL_SOFTMAX, 0, 0) != FDL_OK)
        return 1;
    if (step(2, FDL_SOFTMAX, 0, 0) == FDL_E_BATCH)
        printf("BATCH\n");
    expect_absent(step(1, FDL_SIGMOID, 0, 0), "SIGMOID");
    expect_absent(step(1, FDL_SQUARED, 0, 0), "VALUES");
    expect_absent(step(1, FDL_RECONSTRUCTION, 0, 0), "VALUES");
    expect_absent(step(1, FDL_SOFTMAX, 1, 0), "CLIP");
    expect_absent(step(1, FDL_SOFTMAX, 0, 1), "MOMENTUM");
    expect_absent(encode(FDL_SCALAR), "CODEC");
    if (!FDL_WITHOUT_CODEC || FDL_WITHOUT_TRELLIS) /* there is none without a codec */
        expect_absent(encode(FDL_TRELLIS), "TRELLIS");
    if (encode(FDL_TRELLIS_32) != encode(FDL_TRELLIS))
        printf("TRELLIS_32 alone\n");
    return 0;
}
