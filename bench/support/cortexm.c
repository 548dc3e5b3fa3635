/* Trains a net on examples in flash, one example or batch after the other, and prints
 *
 *     INSTRUCTIONS STATE ARENA STACK CHECKSUM
 *
 * INSTRUCTIONS: mean of a step. STATE: bytes that persist between steps: weights, biases, the net
 * and its layers. ARENA: bytes of scratch memory of a step. CHECKSUM: of the weights at the end, in
 * hexadecimal. model.h and the files of data.S are written by bench/cortexm.py. */
#include "fedling.h"
#include "model.h"
#include "platform.h"
#include "print.h"

extern const int8_t inputs[];
extern const uint8_t classes[], start[];

static _Alignas(4) int16_t weights[WEIGHTS];
static int32_t biases[BIASES];
static const fdl_layer LAYERS[] = {MODEL_LAYERS};
static fdl_net net = {
    LAYERS, sizeof LAYERS / sizeof LAYERS[0], FDL_SOFTMAX, weights, WEIGHTS, biases, BIASES};

static void check(int error) {
    if (error == FDL_OK)
        return;
    platform_print("error -"); /* the number: words are 1 KB of flash */
    print_decimal((uint32_t)-error);
    platform_print("\n");
    platform_exit(1);
}

static uint32_t train(void *arena, size_t arena_len) {
    const fdl_sgd sgd = {.lr_q24 = RATE_Q24};
    fdl_batch batch = {.x_len = BATCH * INPUTS, .x_exp = X_EXP, .targets_len = BATCH, .n = BATCH};
    uint64_t instructions = 0;
    for (size_t i = 0; i < STEPS; i++) {
        batch.x = inputs + i * batch.x_len;
        batch.targets = classes + i * BATCH;
        platform_count_start();
        int error = fdl_step(&net, arena, arena_len, &batch, &sgd);
        instructions += platform_count_stop();
        check(error);
    }
    return (uint32_t)(instructions / STEPS);
}

static void print_number(uint32_t number) {
    print_decimal(number);
    platform_print(" ");
}

int main(void) {
    uint32_t crc;
    check(fdl_unpack_weights(&net, start, 2 * WEIGHTS + 4 * BIASES));
    size_t arena_len = fdl_step_arena_size(&net, BATCH);
    print_number(train(platform_new(arena_len), arena_len));
    print_number(sizeof weights + sizeof biases + sizeof net + sizeof LAYERS);
    print_number((uint32_t)arena_len);
    print_number(platform_stack_used());
    check(fdl_checksum(&net, &crc));
    print_hex(crc);
    platform_print("\n");
    return 0;
}
