/* Whole trainings on generated data. */
#include "generated.h"
#include "platform.h"
#include "selftest.h"

#define PREDICTIONS 8 /* after the last step */

typedef struct {
    fdl_net net;
    generated data;
    fdl_sgd sgd;
    int32_t x_exp;
    uint32_t examples;     /* that were used so far */
    const uint32_t *sizes; /* of the batches, again and again */
    size_t sizes_count;
    const uint8_t *start;          /* what the weights are pulled to */
    uint32_t pull_every, pull_q16; /* 0: never */
} training;

static void read_training(vectors_reader *in, training *t) {
    t->net = vectors_net(in);
    t->x_exp = vectors_number(in);
    t->data.net = &t->net;
    t->data.seed = (uint32_t)vectors_number(in);
    t->data.classes = (uint32_t)vectors_number(in);
    t->data.run = (uint32_t)vectors_number(in);
    t->data.limits = vectors_bytes(in, NULL);
    t->sizes = vectors_bytes(in, &t->sizes_count);
    t->sizes_count /= sizeof *t->sizes;
    t->sgd = new_sgd(in, &t->net);
    read_rates(in, &t->sgd);
    t->pull_every = (uint32_t)vectors_number(in);
    t->pull_q16 = (uint32_t)vectors_number(in);
}

static void set_weights(training *t) {
    size_t mark = platform_mark(), size = fdl_packed_size(t->net.layers, t->net.layer_count);
    uint8_t *packed = platform_new(size);
    generated_weights(&t->data, packed);
    check(fdl_unpack_weights(&t->net, packed, size));
    t->start = packed;
    if (t->pull_every == 0)
        platform_release(mark);
}

static int8_t *new_inputs(const training *t, uint32_t n) {
    size_t inputs = fdl_input_count(t->net.layers);
    int8_t *x = platform_new(n * inputs);
    for (uint32_t i = 0; i < n; i++)
        generated_inputs(&t->data, t->examples + i, x + i * inputs);
    return x;
}

static void *new_targets(const training *t, uint32_t n) {
    size_t size = generated_target_count(&t->data) * generated_target_size(&t->data);
    uint8_t *targets = platform_new(n * size);
    for (uint32_t i = 0; i < n; i++)
        generated_targets(&t->data, t->examples + i, targets + i * size);
    return targets;
}

static void train_batch(training *t, uint32_t n, outcome *out) {
    size_t mark = platform_mark();
    fdl_batch batch = {.x_exp = t->x_exp, .n = n};
    batch.x = new_inputs(t, n);
    batch.x_len = n * fdl_input_count(t->net.layers);
    batch.targets = new_targets(t, n);
    batch.targets_len = n * generated_target_count(&t->data);
    out->instructions += do_step(&t->net, &batch, &t->sgd);
    out->steps++;
    t->examples += n;
    platform_release(mark);
}

static uint32_t predict_next(training *t, outcome *out) {
    size_t mark = platform_mark();
    uint32_t label = add_prediction(out, &t->net, new_inputs(t, 1), t->x_exp);
    t->examples++;
    platform_release(mark);
    return label;
}

static void predict_examples(training *t, outcome *out) {
    outcome outputs = {.crc = ~0u};
    for (int i = 0; i < PREDICTIONS; i++)
        add_number(out, predict_next(t, &outputs));
    add_number(out, ~outputs.crc);
}

/* Steps 1 to `last`. */
static void train_until(training *t, uint32_t last, outcome *out) {
    size_t size = fdl_packed_size(t->net.layers, t->net.layer_count);
    while (out->steps < last) {
        train_batch(t, t->sizes[out->steps % t->sizes_count], out);
        if (t->pull_every > 0 && out->steps % t->pull_every == 0)
            check(fdl_pull(&t->net, t->start, size, t->pull_q16));
    }
}

/* Checksums on the way, after as many steps as the case says; labels at the end, and the CRC-32 of
 * all their outputs. */
void run_training(vectors_reader *in, outcome *out) {
    training t = {.examples = 0};
    read_training(in, &t);
    set_weights(&t);
    for (int32_t left = vectors_number(in); left > 0; left--) {
        train_until(&t, (uint32_t)vectors_number(in), out);
        add_checksum(out, &t.net);
    }
    predict_examples(&t, out);
}
