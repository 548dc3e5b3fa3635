/* Runs a script of calls and prints what they give: the kernel without Python, for builds that
 * Python cannot load. tests/native/driver.py writes the script and knows its form.
 *
 * Every buffer is allocated with exactly its length, so that a sanitiser sees a read past it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fedling.h"
#include "internal.h"

static FILE *script;

static void stop(const char *reason) {
    fprintf(stderr, "driver: %s\n", reason);
    exit(2);
}

static void check(int error) {
    if (error)
        stop(fdl_describe_error(error));
}

static void *new_memory(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (memory == NULL)
        stop("out of memory");
    return memory;
}

static int64_t read_number(void) {
    uint8_t bytes[8];
    uint64_t value = 0;
    if (fread(bytes, 1, sizeof bytes, script) != sizeof bytes)
        stop("the script ends early");
    for (int i = 0; i < 8; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return (int64_t)value;
}

/* Any bytes, with their length before them. */
static void *read_bytes(size_t *size) {
    *size = (size_t)read_number();
    void *bytes = new_memory(*size);
    if (fread(bytes, 1, *size, script) != *size)
        stop("the script ends early");
    return bytes;
}

static void print_bytes(const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        printf("%02x", ((const uint8_t *)bytes)[i]);
}

/* ---- Models ---- */

static fdl_layer *read_layers(size_t *count) {
    *count = (size_t)read_number();
    fdl_layer *layers = new_memory(*count * sizeof *layers);
    for (size_t l = 0; l < *count; l++) {
        layers[l].in = (uint32_t)read_number();
        layers[l].out = (uint32_t)read_number();
        layers[l].w_exp = (int32_t)read_number();
        layers[l].relu = (uint32_t)read_number();
    }
    return layers;
}

static fdl_net read_net(void) {
    fdl_net net;
    size_t size;
    fdl_layer *layers = read_layers(&net.layer_count);
    net.layers = layers;
    net.weight_count = fdl_weight_count(layers, net.layer_count);
    net.bias_count = fdl_bias_count(layers, net.layer_count);
    net.weights = new_memory(net.weight_count * sizeof *net.weights);
    net.biases = new_memory(net.bias_count * sizeof *net.biases);
    uint8_t *packed = read_bytes(&size);
    check(fdl_unpack_weights(&net, packed, size));
    free(packed);
    return net;
}

static void free_net(fdl_net *net) {
    free((void *)(uintptr_t)net->layers);
    free(net->weights);
    free(net->biases);
}

/* ---- The commands ---- */

static void step(fdl_net *net) {
    size_t x_len, n;
    int32_t x_exp = (int32_t)read_number();
    uint32_t rate = (uint32_t)read_number();
    int8_t *x = read_bytes(&x_len);
    uint8_t *labels = read_bytes(&n);
    size_t arena_len = fdl_step_arena_size(net, n);
    void *arena = new_memory(arena_len);
    memset(arena, 0xa5, arena_len);
    check(fdl_step(net, arena, arena_len, x, x_len, x_exp, labels, n, rate));
    free(arena);
    free(labels);
    free(x);
    uint32_t crc;
    check(fdl_checksum(net, &crc));
    printf("step %lu\n", (unsigned long)crc);
}

static void predict(const fdl_net *net) {
    size_t x_len, arena_len = fdl_predict_arena_size(net);
    size_t classes = net->layers[net->layer_count - 1].out;
    int32_t exponent, x_exp = (int32_t)read_number();
    int8_t *x = read_bytes(&x_len);
    void *arena = new_memory(arena_len);
    uint16_t *probabilities = new_memory(classes * sizeof *probabilities);
    int32_t *logits = new_memory(classes * sizeof *logits);
    uint32_t label;
    check(fdl_predict(net, arena, arena_len, x, x_len, x_exp, probabilities, classes, &label));
    check(fdl_logits(net, arena, arena_len, x, x_len, x_exp, logits, classes, &exponent));
    printf("predict %lu", (unsigned long)label);
    for (size_t c = 0; c < classes; c++) {
        if (logits[c] > logits[label])
            stop("the label has not the largest logit");
        printf(" %u", probabilities[c]);
    }
    printf("\n");
    free(logits);
    free(probabilities);
    free(arena);
    free(x);
}

static void train_and_predict(void) {
    fdl_net net = read_net();
    size_t size = fdl_packed_size(net.layers, net.layer_count);
    uint8_t *packed = new_memory(size);
    for (int64_t left = read_number(); left > 0; left--)
        step(&net);
    for (int64_t left = read_number(); left > 0; left--)
        predict(&net);
    check(fdl_pack_weights(&net, packed, size));
    printf("weights ");
    print_bytes(packed, size);
    printf("\n");
    free(packed);
    free_net(&net);
}

static void normalise(void) {
    size_t size, channels = (size_t)read_number();
    int16_t *samples = read_bytes(&size);
    size_t count = size / sizeof *samples;
    fdl_norm_fit *fit = new_memory(channels * sizeof *fit);
    fdl_norm *norm = new_memory(channels * sizeof *norm);
    int8_t *x = new_memory(count);
    check(fdl_norm_start(fit, channels));
    check(fdl_norm_sum(fit, channels, samples, count));
    check(fdl_norm_centre(fit, channels));
    check(fdl_norm_square(fit, channels, samples, count));
    check(fdl_norm_finish(fit, norm, channels));
    check(fdl_norm_apply(norm, channels, samples, count, x, count));
    printf("normalise");
    for (size_t c = 0; c < channels; c++)
        printf(" %ld %lu %ld", (long)norm[c].mean, (unsigned long)norm[c].mantissa,
               (long)norm[c].shift);
    printf(" ");
    print_bytes(x, count);
    printf("\n");
    free(x);
    free(norm);
    free(fit);
    free(samples);
}

static void subtract(void) {
    size_t count, before_len, after_len;
    fdl_layer *layers = read_layers(&count);
    uint8_t *before = read_bytes(&before_len);
    uint8_t *after = read_bytes(&after_len);
    uint32_t saturated;
    check(fdl_delta(layers, count, before, before_len, after, after_len, after, after_len,
                    &saturated));
    printf("delta %lu ", (unsigned long)saturated);
    print_bytes(after, after_len);
    printf("\n");
    free(after);
    free(before);
    free(layers);
}

static void round_numbers(void) {
    for (int64_t left = read_number(); left > 0; left--) {
        int64_t x = read_number();
        int32_t shift = (int32_t)read_number();
        printf("shift %ld\n", (long)fdl_shift(x, shift, INT32_MIN, INT32_MAX));
    }
    for (int64_t left = read_number(); left > 0; left--) {
        uint64_t a = (uint64_t)read_number(), b = (uint64_t)read_number();
        fdl_ratio ratio = fdl_make_ratio(a, b);
        printf("ratio %ld %ld\n", (long)ratio.mantissa, (long)ratio.k);
    }
}

int main(int argc, char **argv) {
    static void (*const commands[])(void) = {train_and_predict, normalise, subtract, round_numbers};
    script = argc == 2 ? fopen(argv[1], "rb") : NULL;
    if (script == NULL)
        stop("usage: driver SCRIPT");
    for (int64_t left = read_number(); left > 0; left--) {
        int64_t command = read_number();
        if (command < 0 || command > 3)
            stop("unknown command");
        commands[command]();
    }
    fclose(script);
    return 0;
}
