/* One step of gradient descent (NUMERICS section 5). */
#include "internal.h"

/* A step under way: what every layer read and the scratch that layers share. */
typedef struct {
    fdl_part parts[FDL_MAX_LAYERS];
    size_t count;
    size_t n;
    const int8_t *x[FDL_MAX_LAYERS]; /* inputs of a layer, n rows */
    int32_t x_exp[FDL_MAX_LAYERS];
    int8_t *hidden[FDL_MAX_LAYERS]; /* where x[l + 1] is written */
    int8_t *d;                      /* error of the layer in work, n rows */
    int8_t *d_below;
    int32_t *acc;
} step_state;

size_t fdl_step_arena_size(const fdl_net *net, size_t n) {
    if (fdl_check_net(net) != FDL_OK || n < 1 || n > FDL_MAX_BATCH)
        return 0;
    size_t widest = n * fdl_widest(net);
    size_t size = fdl_arena_words(widest) + 2 * fdl_arena_bytes(widest);
    for (size_t l = 0; l + 1 < net->layer_count; l++)
        size += fdl_arena_bytes(n * net->layers[l].out);
    return size;
}

static int check_labels(const fdl_net *net, const uint8_t *labels, size_t n) {
    if (labels == NULL)
        return FDL_E_NULL;
    for (size_t b = 0; b < n; b++)
        if (labels[b] >= net->layers[net->layer_count - 1].out)
            return FDL_E_LABEL;
    return FDL_OK;
}

static int check_call(const fdl_net *net, const void *arena, size_t arena_len, const int8_t *x,
                      size_t x_len, int32_t x_exp, const uint8_t *labels, size_t n,
                      uint32_t lr_q24) {
    int error = fdl_check_net(net);
    if (!error && (n < 1 || n > FDL_MAX_BATCH))
        error = FDL_E_BATCH;
    if (!error && (lr_q24 < 1 || lr_q24 > FDL_MAX_RATE))
        error = FDL_E_RATE;
    if (!error)
        error = fdl_check_arena(arena, arena_len, fdl_step_arena_size(net, n));
    if (!error)
        error = fdl_check_examples(net, x, x_len, x_exp, n);
    if (!error)
        error = check_labels(net, labels, n);
    return error;
}

static void lay_out(step_state *s, const fdl_net *net, void *arena, size_t n) {
    uint8_t *rest = arena;
    size_t widest = n * fdl_widest(net);
    fdl_split_net(net, s->parts);
    s->count = net->layer_count;
    s->n = n;
    s->acc = fdl_take_words(&rest, widest);
    s->d = fdl_take_bytes(&rest, widest);
    s->d_below = fdl_take_bytes(&rest, widest);
    for (size_t l = 0; l + 1 < s->count; l++)
        s->hidden[l] = fdl_take_bytes(&rest, n * s->parts[l].out);
}

/* Leaves the logits in acc; returns their exponent. */
static int32_t run_forward(step_state *s, const int8_t *x, int32_t x_exp) {
    for (size_t l = 0;; l++) {
        const fdl_part *part = &s->parts[l];
        int32_t e = x_exp + part->w_exp;
        s->x[l] = x;
        s->x_exp[l] = x_exp;
        fdl_forward(part, x, s->n, e, s->acc);
        if (l + 1 == s->count)
            return e;
        x_exp = e + fdl_requantise(s->acc, s->n * part->out, s->hidden[l]);
        x = s->hidden[l];
    }
}

/* Logits in acc to the error of the last layer in d; returns its exponent. The learning rate's
 * mantissa is part of it: it must come before the error is rounded to int8. */
static int32_t output_error(step_state *s, const uint8_t *labels, int32_t z_exp, int32_t mantissa) {
    size_t classes = s->parts[s->count - 1].out;
    for (size_t b = 0; b < s->n; b++) {
        int32_t *z = s->acc + b * classes;
        fdl_softmax(z, classes, z_exp);
        z[labels[b]] -= 32768;
        for (size_t c = 0; c < classes; c++)
            z[c] = (z[c] * mantissa + 64) >> 7;
    }
    return -15 + fdl_requantise(s->acc, s->n * classes, s->d);
}

/* The error of layer l in d to that of layer l - 1 in d_below; returns its exponent. */
static int32_t pass_error_down(step_state *s, size_t l, int32_t d_exp) {
    const fdl_part *part = &s->parts[l];
    const int8_t *h = s->x[l];
    size_t count = s->n * part->in;
    fdl_backward(part, s->d, s->n, s->acc);
    if (s->parts[l - 1].relu)
        for (size_t j = 0; j < count; j++)
            s->acc[j] = h[j] > 0 ? s->acc[j] : 0;
    return d_exp + part->w_exp + fdl_requantise(s->acc, count, s->d_below);
}

/* From the last layer to the first. A layer's weights change only after its error has gone down
 * through them, so that no more than two errors need memory at a time. */
static void run_backward(step_state *s, int32_t d_exp, int32_t k) {
    for (size_t l = s->count; l-- > 0;) {
        const fdl_part *part = &s->parts[l];
        int32_t below_exp = l > 0 ? pass_error_down(s, l, d_exp) : 0;
        fdl_update_weights(part, s->x[l], s->d, s->n, part->w_exp - 8 - s->x_exp[l] - d_exp - k);
        fdl_update_biases(part, s->d, s->n, -16 - d_exp - k);
        int8_t *done = s->d;
        s->d = s->d_below;
        s->d_below = done;
        d_exp = below_exp;
    }
}

int fdl_step(fdl_net *net, void *arena, size_t arena_len, const int8_t *x, size_t x_len,
             int32_t x_exp, const uint8_t *labels, size_t n, uint32_t lr_q24) {
    int error = check_call(net, arena, arena_len, x, x_len, x_exp, labels, n, lr_q24);
    if (error)
        return error;
    step_state s;
    lay_out(&s, net, arena, n);
    fdl_ratio rate = fdl_make_ratio(lr_q24, (uint64_t)n << 24);
    int32_t z_exp = run_forward(&s, x, x_exp);
    run_backward(&s, output_error(&s, labels, z_exp, rate.mantissa), rate.k);
    return FDL_OK;
}
