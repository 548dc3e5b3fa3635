/* Cases whose data are in the vectors: steps, predictions. */
#include "platform.h"
#include "selftest.h"

static const uint8_t *read_weights(vectors_reader *in, fdl_net *net) {
    size_t size;
    const uint8_t *packed = vectors_bytes(in, &size);
    check(fdl_unpack_weights(net, packed, size));
    return packed;
}

static fdl_batch read_batch(vectors_reader *in, const fdl_net *net, int32_t x_exp) {
    size_t size;
    fdl_batch batch = {.x_exp = x_exp, .n = (size_t)vectors_number(in)};
    batch.x = vectors_bytes(in, &batch.x_len);
    batch.targets = vectors_bytes(in, &size);
    batch.targets_len = net->loss == FDL_SQUARED ? size / sizeof(int16_t) : size;
    return batch;
}

/* The checksum after every step, then the weights. */
void run_steps(vectors_reader *in, outcome *out) {
    fdl_net net = vectors_net(in);
    size_t size = fdl_packed_size(net.layers, net.layer_count);
    int32_t x_exp = vectors_number(in);
    const uint8_t *before = read_weights(in, &net);
    fdl_sgd sgd = new_sgd(in, &net);
    for (int32_t left = vectors_number(in); left > 0; left--) {
        size_t mark = platform_mark();
        read_rates(in, &sgd);
        uint32_t pull = (uint32_t)vectors_number(in);
        fdl_batch batch = read_batch(in, &net, x_exp);
        do_step(&net, &batch, &sgd);
        if (pull > 0)
            check(fdl_pull(&net, before, size, pull));
        add_checksum(out, &net);
        platform_release(mark);
    }
    uint8_t *after = platform_new(size);
    check(fdl_pack_weights(&net, after, size));
    add_bytes(out, after, size);
}

/* Outputs and label of every example. */
void run_predictions(vectors_reader *in, outcome *out) {
    fdl_net net = vectors_net(in);
    int32_t x_exp = vectors_number(in);
    read_weights(in, &net);
    for (int32_t left = vectors_number(in); left > 0; left--) {
        size_t mark = platform_mark();
        add_number(out, add_prediction(out, &net, vectors_bytes(in, NULL), x_exp));
        platform_release(mark);
    }
}
