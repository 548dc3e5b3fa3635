#include "platform.h"
#include "selftest.h"

void check(int error) {
    if (error == FDL_OK)
        return;
    platform_print(fdl_describe_error(error));
    platform_print("\n");
    platform_exit(1);
}

/* Without a condition: gcc 12 for armv7-A gets `crc & 1 ? polynomial : 0` wrong at -O1. */
void add_bytes(outcome *out, const void *bytes, size_t size) {
    const uint8_t *from = bytes;
    for (size_t i = 0; i < size; i++) {
        out->crc ^= from[i];
        for (int bit = 0; bit < 8; bit++)
            out->crc = out->crc >> 1 ^ (0xedb88320u & -(out->crc & 1));
    }
}

void add_number(outcome *out, uint32_t value) {
    const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                              (uint8_t)(value >> 24)};
    add_bytes(out, bytes, sizeof bytes);
}

void add_numbers(outcome *out, const int32_t *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        add_number(out, (uint32_t)values[i]);
}

void add_checksum(outcome *out, const fdl_net *net) {
    uint32_t crc;
    check(fdl_checksum(net, &crc));
    add_number(out, crc);
}

fdl_sgd new_sgd(vectors_reader *in, const fdl_net *net) {
    fdl_sgd sgd = {.velocity = NULL};
    if (vectors_number(in) == 0)
        return sgd;
    sgd.velocity_count = fdl_weight_count(net->layers, net->layer_count) + net->bias_count;
    sgd.velocity = platform_new(sgd.velocity_count * sizeof *sgd.velocity);
    for (size_t i = 0; i < sgd.velocity_count; i++)
        sgd.velocity[i] = 0;
    return sgd;
}

void read_rates(vectors_reader *in, fdl_sgd *sgd) {
    sgd->lr_q24 = (uint32_t)vectors_number(in);
    sgd->clip_q16 = (uint32_t)vectors_number(in);
    sgd->momentum = (uint32_t)vectors_number(in);
    sgd->frozen = (uint32_t)vectors_number(in);
}

uint32_t do_step(fdl_net *net, const fdl_batch *batch, const fdl_sgd *sgd) {
    size_t mark = platform_mark(), arena_len = fdl_step_arena_size(net, batch->n);
    void *arena = platform_new(arena_len);
    platform_count_start();
    int error = fdl_step(net, arena, arena_len, batch, sgd);
    uint32_t instructions = platform_count_stop();
    check(error);
    platform_release(mark);
    return instructions;
}

uint32_t add_prediction(outcome *out, const fdl_net *net, const int8_t *x, int32_t x_exp) {
    size_t mark = platform_mark(), arena_len = fdl_predict_arena_size(net);
    size_t count = fdl_output_count(&net->layers[net->layer_count - 1]);
    void *arena = platform_new(arena_len);
    int32_t *outputs = platform_new(count * sizeof *outputs);
    uint32_t label;
    check(fdl_predict(net, arena, arena_len, x, fdl_input_count(net->layers), x_exp, outputs, count,
                      &label));
    add_numbers(out, outputs, count);
    platform_release(mark);
    return label;
}
