/* One step of gradient descent (NUMERICS section 5). */
#include "step.h"
#include "../numbers/fixed.h"
#include "../numbers/numbers.h"

#include <string.h>

/* A step under way; all but this struct lies in the arena. */
typedef struct {
    fdl_run run;
    const fdl_net *net;
    const fdl_sgd *sgd;
    fdl_part *parts; /* with the inputs of each layer */
    int32_t *acc;
    size_t acc_count;
    int8_t *d; /* errors of the layer in work: of the last one, else in the place of its outputs */
    int32_t k; /* exponent of the learning rate */
} step_state;

/* Accumulators of n examples; and beside the errors that they become, a sum for each bias. */
static size_t acc_count(const fdl_sizes *sizes, size_t n) {
    return n * sizes->widest + (sizes->widest + 3) / 4;
}

/* 0 if it is more than 31 bits hold. */
static size_t arena_size(const fdl_net *net, const fdl_sizes *sizes, size_t n) {
    uint64_t acc = fdl_round_up(acc_count(sizes, n) * sizeof(int32_t));
    uint64_t errors = fdl_round_up(n * sizes->outputs);
    uint64_t held = (uint64_t)n * sizes->held + net->layer_count * FDL_ARENA_ALIGN;
    uint64_t size = fdl_round_up(net->layer_count * sizeof(fdl_part)) + acc + errors + held;
    return size <= INT32_MAX ? (size_t)size / FDL_ARENA_ALIGN * FDL_ARENA_ALIGN : 0;
}

static int batch_fits(const fdl_sizes *sizes, size_t n) {
    return n >= 1 && n <= (FDL_WITHOUT_BATCH ? 1 : FDL_MAX_BATCH) &&
           (uint64_t)n * sizes->positions <= FDL_MAX_TERMS;
}

size_t fdl_step_arena_size(const fdl_net *net, size_t n) {
    fdl_sizes sizes;
    if (fdl_measure_net(net, &sizes) != FDL_OK || !batch_fits(&sizes, n))
        return 0;
    return arena_size(net, &sizes, n);
}

static int check_sgd(const fdl_net *net, const fdl_sizes *sizes, const fdl_sgd *sgd) {
    if (sgd->lr_q24 < 1 || sgd->lr_q24 > FDL_MAX_RATE || sgd->momentum > 255 ||
        sgd->frozen >= net->layer_count)
        return FDL_E_RATE;
    if ((sgd->clip_q16 && FDL_WITHOUT_CLIP) || (sgd->momentum && FDL_WITHOUT_MOMENTUM))
        return FDL_E_ABSENT;
    if (sgd->momentum == 0)
        return FDL_OK;
    if (sgd->velocity == NULL)
        return FDL_E_NULL;
    return sgd->velocity_count == sizes->weights + sizes->biases ? FDL_OK : FDL_E_LENGTH;
}

static int check_call(const fdl_net *net, const fdl_sizes *sizes, const void *arena,
                      size_t arena_len, const fdl_batch *batch, const fdl_sgd *sgd) {
    if (batch == NULL || sgd == NULL)
        return FDL_E_NULL;
    size_t needed = batch_fits(sizes, batch->n) ? arena_size(net, sizes, batch->n) : 0;
    if (needed == 0)
        return FDL_E_BATCH;
    int error = check_sgd(net, sizes, sgd);
    if (!error)
        error = fdl_check_arena(arena, arena_len, needed);
    if (!error)
        error = fdl_check_inputs(net, batch->x, batch->x_len, batch->x_exp, batch->n);
    if (!error)
        error = fdl_check_targets(net->loss, batch, sizes->outputs);
    return error;
}

/* The place of a layer's inputs; the first layer reads the caller's if it wants no padding. */
static int8_t *take_inputs(uint8_t **rest, const fdl_part *part, size_t n) {
    return fdl_take(rest, n * part->stored);
}

static void lay_out(step_state *s, const fdl_sizes *sizes, void *arena, const fdl_batch *batch) {
    uint8_t *rest = arena;
    size_t n = batch->n;
    fdl_part *parts = fdl_take(&rest, s->net->layer_count * sizeof *parts);
    fdl_split_net(s->net, parts);
    s->acc_count = acc_count(sizes, n);
    s->acc = fdl_take(&rest, s->acc_count * sizeof(int32_t));
    s->d = fdl_take(&rest, n * sizes->outputs);
    parts[0].x = batch->x;
    if (fdl_is_padded(&parts[0])) {
        int8_t *x = take_inputs(&rest, &parts[0], n);
        fdl_store_inputs(&parts[0], batch->x, n, x);
        parts[0].x = x;
    }
    parts[0].x_exp = batch->x_exp;
    for (size_t l = 1; l < s->net->layer_count; l++)
        parts[l].x = take_inputs(&rest, &parts[l], n);
    s->parts = parts;
}

/* The inputs of a layer but the first: the arena's, so that they may change. */
static int8_t *inputs_of(const fdl_part *part) {
    return (int8_t *)(uintptr_t)part->x;
}

/* Leaves the logits in acc; returns their exponent. */
static int32_t run_forward(step_state *s) {
    for (size_t l = 0;; l++) {
        fdl_part *part = &s->parts[l], *next = part + 1;
        int32_t e = fdl_forward(&s->run, part, s->acc);
        if (l + 1 == s->net->layer_count)
            return e;
        next->x_exp = e + fdl_requantise(&s->run, part, s->acc, next, inputs_of(next));
    }
}

/* Errors of a magnitude to int8; returns the shift. */
static int32_t narrow_errors(const step_state *s, size_t count, uint32_t magnitude, int8_t *d) {
    int32_t shift = fdl_int8_shift(magnitude);
    s->run.kernels->narrow(s->acc, count, shift, -127, d);
    return shift;
}

/* Logits in acc to the error of the last layer in d; returns its exponent. The learning rate's
 * mantissa is part of it: it must come before the error is rounded to int8. */
static int32_t output_error(step_state *s, const fdl_batch *batch, int32_t z_exp,
                            int32_t mantissa) {
    size_t outputs = s->parts[s->net->layer_count - 1].outputs,
           count = outputs * fdl_examples(&s->run);
    int32_t e = fdl_output_error(&s->run, s->net->loss, batch, s->acc, outputs, z_exp);
    uint32_t magnitude = s->run.kernels->scale(s->acc, count, mantissa);
    return e + narrow_errors(s, count, magnitude, s->d);
}

/* Errors of inputs without the padding that is stored between them. */
static void close_up(const fdl_part *part, size_t n, int32_t *acc) {
    const int32_t *from = acc;
    for (size_t b = 0; b < n; b++, from += part->stored)
        for (size_t y = 0; y < part->rows; y++, acc += part->row_len)
            memmove(acc, from + part->origin + y * part->row_step, part->row_len * sizeof *acc);
}

/* The error of layer l in d to that of layer l - 1, which is left where acc begins; returns its
 * exponent. */
static int32_t pass_error_down(step_state *s, size_t l, int32_t d_exp) {
    const fdl_part *part = &s->parts[l];
    const fdl_kernels *kernels = s->run.kernels;
    size_t n = fdl_examples(&s->run), count = n * part[-1].outputs;
    int32_t e = d_exp + fdl_backward(&s->run, part, s->d, s->acc);
    uint32_t magnitude = 0, relu = part[-1].layer->relu;
    if (relu) /* 0 where it let nothing pass, in the padding too */
        magnitude = kernels->mask(s->acc, part->x, n * part->stored);
    if (fdl_is_padded(part))
        close_up(part, n, s->acc);
    if (!relu)
        magnitude = kernels->magnitude(s->acc, count, 0);
    return e + narrow_errors(s, count, magnitude, (int8_t *)s->acc);
}

#if !FDL_WITHOUT_MOMENTUM
/* Of the layers before layer l. */
static size_t weights_before(const step_state *s, size_t l) {
    size_t count = 0;
    while (l-- > 0)
        count += fdl_part_weights(&s->parts[l]);
    return count;
}

/* They lie as packed weights do: first those of all weights, then those of all biases. */
static void find_velocities(const step_state *s, size_t l, fdl_change *change) {
    const fdl_net *net = s->net;
    size_t weights = weights_before(s, net->layer_count);
    change->velocity = s->sgd->velocity + weights_before(s, l);
    change->bias_velocity = s->sgd->velocity + weights + (s->parts[l].biases - net->biases);
}
#endif

/* New weights of layer l from its error d. */
static void update_layer(step_state *s, size_t l, int32_t d_exp) {
    const fdl_part *part = &s->parts[l];
    if (!fdl_has_weights(part))
        return;
#if !FDL_WITHOUT_CLIP
    if (s->sgd->clip_q16)
        d_exp += fdl_clip(&s->run, part, s->d, (uint64_t)s->sgd->lr_q24 * s->sgd->clip_q16,
                          part->x_exp + d_exp + s->k);
#endif
    fdl_change change = {.d = s->d,
                         .shift = part->layer->w_exp - 8 - part->x_exp - d_exp - s->k,
                         .bias_shift = -16 - d_exp - s->k,
                         .momentum = s->sgd->momentum};
#if !FDL_WITHOUT_MOMENTUM
    if (s->sgd->momentum)
        find_velocities(s, l, &change);
#endif
    fdl_update(&s->run, part, &change);
}

/* What is free of acc behind errors of `count` values. */
static void spare_behind(step_state *s, size_t count) {
    size_t taken = (count + sizeof(int32_t) - 1) / sizeof(int32_t);
    s->run.spare = s->acc + taken;
#if FDL_TALL > 1
    s->run.spare_count = s->acc_count - taken;
#endif
}

/* From the last layer to the first that learns. A layer's weights change only after its error has
 * gone down through them. Its inputs are not needed after that: the error of the layer below, which
 * gave them, takes their place. */
static void run_backward(step_state *s, int32_t d_exp) {
    size_t l = s->net->layer_count - 1;
    for (; l > s->sgd->frozen; l--) {
        const fdl_part *part = &s->parts[l];
        size_t count = fdl_examples(&s->run) * part[-1].outputs;
        int32_t below_exp = pass_error_down(s, l, d_exp);
        spare_behind(s, count);
        update_layer(s, l, d_exp);
        s->d = inputs_of(part);
        memcpy(s->d, s->acc, count);
        d_exp = below_exp;
    }
    spare_behind(s, 0);
    update_layer(s, l, d_exp);
}

int fdl_step(fdl_net *net, void *arena, size_t arena_len, const fdl_batch *batch,
             const fdl_sgd *sgd) {
    fdl_sizes sizes;
    int error = fdl_measure_net(net, &sizes);
    if (!error)
        error = check_call(net, &sizes, arena, arena_len, batch, sgd);
    if (error)
        return error;
    fdl_ratio rate = fdl_make_ratio(sgd->lr_q24, (uint64_t)batch->n << 24);
    step_state s = {
        .run = {.kernels = fdl_kernels_here(), .n = batch->n}, .net = net, .sgd = sgd, .k = rate.k};
    lay_out(&s, &sizes, arena, batch);
    int32_t z_exp = run_forward(&s);
    run_backward(&s, output_error(&s, batch, z_exp, rate.mantissa));
    return FDL_OK;
}
