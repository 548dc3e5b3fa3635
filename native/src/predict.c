/* Prediction: one example at a time, so that an answer never depends on its neighbours. */
#include "internal.h"

size_t fdl_predict_arena_size(const fdl_net *net) {
    if (fdl_check_net(net) != FDL_OK)
        return 0;
    return fdl_arena_words(fdl_widest(net)) + fdl_arena_bytes(fdl_widest(net));
}

static int check_call(const fdl_net *net, const void *arena, size_t arena_len, const int8_t *x,
                      size_t x_len, int32_t x_exp, size_t classes) {
    int error = fdl_check_net(net);
    if (!error)
        error = fdl_check_arena(arena, arena_len, fdl_predict_arena_size(net));
    if (!error)
        error = fdl_check_examples(net, x, x_len, x_exp, 1);
    if (!error && classes != net->layers[net->layer_count - 1].out)
        error = FDL_E_LENGTH;
    return error;
}

/* The last layer's accumulators, in the arena. */
static int32_t *run(const fdl_net *net, void *arena, const int8_t *x, int32_t x_exp,
                    int32_t *z_exp) {
    fdl_part parts[FDL_MAX_LAYERS];
    fdl_split_net(net, parts);
    uint8_t *rest = arena;
    int32_t *acc = fdl_take_words(&rest, fdl_widest(net));
    int8_t *hidden = fdl_take_bytes(&rest, fdl_widest(net));
    int32_t e = x_exp;
    for (size_t l = 0; l < net->layer_count; l++) {
        e += parts[l].w_exp;
        fdl_forward(&parts[l], x, 1, e, acc);
        if (l + 1 < net->layer_count)
            e += fdl_requantise(acc, parts[l].out, hidden);
        x = hidden;
    }
    *z_exp = e;
    return acc;
}

int fdl_predict(const fdl_net *net, void *arena, size_t arena_len, const int8_t *x, size_t x_len,
                int32_t x_exp, uint16_t *probabilities, size_t classes, uint32_t *label) {
    int error = check_call(net, arena, arena_len, x, x_len, x_exp, classes);
    if (error)
        return error;
    if (probabilities == NULL || label == NULL)
        return FDL_E_NULL;
    int32_t z_exp;
    int32_t *z = run(net, arena, x, x_exp, &z_exp);
    uint32_t best = 0;
    for (uint32_t c = 1; c < classes; c++)
        if (z[c] > z[best])
            best = c;
    *label = best;
    fdl_softmax(z, classes, z_exp);
    for (size_t c = 0; c < classes; c++)
        probabilities[c] = (uint16_t)z[c];
    return FDL_OK;
}

int fdl_logits(const fdl_net *net, void *arena, size_t arena_len, const int8_t *x, size_t x_len,
               int32_t x_exp, int32_t *logits, size_t classes, int32_t *exponent) {
    int error = check_call(net, arena, arena_len, x, x_len, x_exp, classes);
    if (error)
        return error;
    if (logits == NULL || exponent == NULL)
        return FDL_E_NULL;
    const int32_t *z = run(net, arena, x, x_exp, exponent);
    for (size_t c = 0; c < classes; c++)
        logits[c] = z[c];
    return FDL_OK;
}
