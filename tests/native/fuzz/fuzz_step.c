/* fdl_step on any net and batch, right or spoiled in one place: refused with nothing changed, or
 * the same bits from every table of inner loops, whatever the arena held before. */
#include "fuzz.h"

#define MOST_PRODUCTS (1 << 16) /* of a step: what it may cost */
#define MOST_VALUES   (1 << 14) /* weights, or inputs of a batch */

typedef struct {
    fdl_net *net;
    void *arena;
    size_t arena_len;
    fdl_batch *batch;
    fdl_sgd *sgd;
} call;

static int run(const call *c) {
    return fdl_step(c->net, c->arena, c->arena_len, c->batch, c->sgd);
}

static size_t parameters(const fdl_net *net) {
    return fdl_weight_count(net->layers, net->layer_count) + net->bias_count;
}

/* ---- Calls that are right ---- */

static const void *take_targets(input *in, uint32_t loss, size_t n, size_t outputs, size_t *len) {
    *len = loss == FDL_RECONSTRUCTION ? 0 : loss == FDL_SOFTMAX ? n : n * outputs;
    size_t size = loss == FDL_SQUARED ? sizeof(int16_t) : 1;
    uint8_t *targets = new_memory(*len * size);
    fill(in, targets, *len * size);
    for (size_t j = 0; j < *len && loss <= FDL_SIGMOID; j++)
        targets[j] = (uint8_t)(targets[j] % (loss == FDL_SOFTMAX ? outputs : 2));
    return *len ? targets : NULL;
}

static fdl_batch take_batch(input *in, const fdl_net *net, size_t n) {
    size_t askew = take_below(in, 4); /* bytes: inputs may lie anywhere */
    fdl_batch batch = {.x_len = n * input_values(net), .n = n};
    batch.x_exp = (int32_t)take_below(in, 32) - 24;
    batch.x = take_inputs(in, askew + batch.x_len) + askew;
    batch.targets = take_targets(in, net->loss, n, outputs_of(net), &batch.targets_len);
    return batch;
}

static fdl_sgd take_sgd(input *in, const fdl_net *net, int32_t *velocity) {
    fdl_sgd sgd = {.velocity = velocity, .velocity_count = parameters(net)};
    sgd.lr_q24 = ((uint32_t)1 << take_below(in, 29)) - take_below(in, 2);
    sgd.lr_q24 += sgd.lr_q24 == 0;
    sgd.clip_q16 = take_below(in, 2) ? take_word(in) >> take_below(in, 32) : 0;
    sgd.momentum = take_below(in, 2) ? take_byte(in) : 0;
    sgd.frozen = take_below(in, 2) ? take_below(in, (uint32_t)net->layer_count) : 0;
    if (sgd.momentum == 0 && take_below(in, 2)) {
        sgd.velocity = NULL;
        sgd.velocity_count = 0;
    }
    return sgd;
}

/* ---- Calls with one thing wrong: the error that must come of it, FDL_OK if it is not wrong ---- */

static int spoil_net(call *c, uint32_t way) {
    switch (way) {
    case 0:
        c->net = NULL;
        return FDL_E_NULL;
    case 1:
        c->net->layers = NULL;
        return FDL_E_NULL;
    case 2:
        c->net->weights = NULL;
        return FDL_E_NULL;
    case 3:
        c->net->biases = NULL;
        return FDL_E_NULL;
    case 4:
        c->net->layer_count = 0;
        return FDL_E_LAYERS;
    case 5:
        c->net->weight_count++;
        return FDL_E_LENGTH;
    case 6:
        c->net->bias_count--;
        return FDL_E_LENGTH;
    default:
        c->net->loss = 4;
        return FDL_E_LAYERS;
    }
}

static int spoil_batch(call *c, uint32_t way) {
    switch (way) {
    case 0:
        c->batch = NULL;
        return FDL_E_NULL;
    case 1:
        c->batch->x = NULL;
        return FDL_E_NULL;
    case 2:
        c->batch->x_len--;
        return FDL_E_LENGTH;
    case 3:
        c->batch->targets_len++;
        return c->batch->targets == NULL && c->net->loss != FDL_RECONSTRUCTION ? FDL_E_NULL
                                                                               : FDL_E_LENGTH;
    case 4:
        c->batch->n = 0;
        return FDL_E_BATCH;
    case 5:
        c->batch->n = FDL_MAX_BATCH + 1;
        return FDL_E_BATCH;
    case 6:
        c->batch->x_exp = FDL_MIN_EXPONENT - 1;
        return FDL_E_EXPONENT;
    default:
        c->batch->x_exp = FDL_MAX_EXPONENT + 1;
        return FDL_E_EXPONENT;
    }
}

static int spoil_values(input *in, call *c, uint32_t way) {
    uint8_t *targets = (uint8_t *)(uintptr_t)c->batch->targets;
    if (way % 2) {
        int8_t *x = (int8_t *)(uintptr_t)c->batch->x;
        x[take_below(in, 65536) % c->batch->x_len] = -128;
        return FDL_E_INPUT;
    }
    if (targets == NULL)
        return FDL_OK;
    if (way == 4) {
        c->batch->targets = NULL;
        return FDL_E_NULL;
    }
    if (c->net->loss == FDL_SQUARED) {
        c->batch->targets = targets + 1;
        return FDL_E_TARGET;
    }
    size_t limit = c->net->loss == FDL_SOFTMAX ? outputs_of(c->net) : 2; /* 256: any byte is one */
    targets[take_below(in, 65536) % c->batch->targets_len] = way ? 0xff : (uint8_t)limit;
    return limit > 0xff ? FDL_OK : FDL_E_TARGET;
}

static int spoil_sgd(call *c, uint32_t way) {
    switch (way) {
    case 0:
        c->sgd = NULL;
        return FDL_E_NULL;
    case 1:
        c->sgd->lr_q24 = 0;
        return FDL_E_RATE;
    case 2:
        c->sgd->lr_q24 = FDL_MAX_RATE + 1;
        return FDL_E_RATE;
    case 3:
        c->sgd->momentum = 256;
        return FDL_E_RATE;
    case 4:
        c->sgd->frozen = (uint32_t)c->net->layer_count;
        return FDL_E_RATE;
    case 5:
        c->sgd->velocity = NULL;
        return c->sgd->momentum ? FDL_E_NULL : FDL_OK;
    default:
        c->sgd->velocity_count--;
        return !c->sgd->momentum ? FDL_OK : c->sgd->velocity ? FDL_E_LENGTH : FDL_E_NULL;
    }
}

static int spoil_arena(call *c, uint32_t way) {
    if (way == 0) {
        c->arena = NULL;
        return FDL_E_NULL;
    }
    if (way == 8)
        c->arena_len--;
    else
        c->arena = (uint8_t *)new_memory(c->arena_len + way) + way;
    return FDL_E_ARENA;
}

static int spoil(input *in, call *c) {
    uint32_t what = take_below(in, 8), way = take_below(in, 256);
    switch (what) {
    case 1:
        return spoil_net(c, way % 8);
    case 2:
        return spoil_batch(c, way % 8);
    case 3:
        return spoil_values(in, c, way % 6);
    case 4:
        return spoil_sgd(c, way % 7);
    case 5:
        return spoil_arena(c, way % 9);
    default:
        return FDL_OK;
    }
}

/* ---- What must be true ---- */

static void check_refused(const call *c, int error, const fdl_net *net, const int32_t *velocity) {
    const void *weights = new_copy(net->weights, net->weight_count * sizeof *net->weights);
    const void *biases = new_copy(net->biases, net->bias_count * sizeof *net->biases);
    const void *before = new_copy(velocity, parameters(net) * sizeof *velocity);
    expect(run(c) == error);
    expect(memcmp(weights, net->weights, net->weight_count * sizeof *net->weights) == 0);
    expect(memcmp(biases, net->biases, net->bias_count * sizeof *net->biases) == 0);
    expect(memcmp(before, velocity, parameters(net) * sizeof *velocity) == 0);
}

/* The weights, biases and velocities of the first layers are what they were. */
static void check_frozen(const call *c, const uint8_t *before, const uint8_t *after,
                         const int32_t *velocity_before, const int32_t *velocity_after) {
    const fdl_net *net = c->net;
    const fdl_layer *learning = net->layers + c->sgd->frozen;
    size_t count = net->layer_count - c->sgd->frozen;
    size_t all = fdl_weight_count(net->layers, net->layer_count);
    size_t weights = all - fdl_weight_count(learning, count);
    size_t biases = net->bias_count - fdl_bias_count(learning, count);
    size_t start = 2 * all; /* of the biases in bytes */
    expect(memcmp(before, after, 2 * weights) == 0);
    expect(memcmp(before + start, after + start, 4 * biases) == 0);
    if (c->sgd->momentum == 0) {
        weights = all;
        biases = net->bias_count;
    }
    start = all;
    expect(memcmp(velocity_before, velocity_after, weights * sizeof *velocity_after) == 0);
    expect(memcmp(velocity_before + start, velocity_after + start,
                  biases * sizeof *velocity_after) == 0);
}

/* The step, on a copy; velocity becomes the new one. Returns the new weights. */
static uint8_t *step_copy(const call *c, size_t table, const uint8_t *before, int32_t *velocity) {
    use_table(table);
    fdl_net net = new_net_like(c->net, before);
    fdl_sgd sgd = *c->sgd;
    if (sgd.velocity != NULL)
        sgd.velocity = velocity;
    memset(c->arena, table == 0 ? 0 : 0x7f, c->arena_len);
    call copy = {&net, c->arena, c->arena_len, c->batch, &sgd};
    expect(run(&copy) == FDL_OK);
    return pack(&net);
}

/* Steps the net by the first table and compares the others. */
static void check_step(const call *c, int32_t *velocity) {
    size_t size = parameters(c->net) * sizeof *velocity, tables = use_table(0);
    uint8_t *before = pack(c->net);
    int32_t *first = new_copy(velocity, size);
    uint8_t *after = step_copy(c, 0, before, first);
    check_frozen(c, before, after, velocity, first);
    for (size_t table = 1; table <= tables; table++) { /* the last is the first again */
        int32_t *other = new_copy(velocity, size);
        expect(memcmp(after, step_copy(c, table % tables, before, other), packed_size(c->net)) ==
               0);
        expect(memcmp(first, other, size) == 0);
    }
    memcpy(velocity, first, size);
    use_table(0);
    expect(fdl_unpack_weights(c->net, after, packed_size(c->net)) == FDL_OK);
}

/* ---- A case ---- */

static void try_step(input *in, const fdl_net *net, size_t n, int32_t *velocity) {
    fdl_net changed = *net;
    fdl_batch batch = take_batch(in, net, n);
    fdl_sgd sgd = take_sgd(in, net, velocity);
    size_t arena_len = fdl_step_arena_size(net, n);
    call c = {&changed, new_memory(arena_len), arena_len, &batch, &sgd};
    int error = spoil(in, &c);
    if (error)
        check_refused(&c, error, net, velocity);
    else
        check_step(&c, velocity);
}

static void refuse_step(const fdl_net *net, size_t n, int error) {
    uint64_t arena[64];
    int8_t x = 0;
    int32_t velocity = 0;
    fdl_batch batch = {.x = &x, .x_len = 1, .n = n};
    fdl_sgd sgd = {.lr_q24 = 1, .velocity = &velocity};
    expect(fdl_step_arena_size(net, n) == 0);
    expect(fdl_step((fdl_net *)(uintptr_t)net, arena, sizeof arena, &batch, &sgd) == error);
}

static void try_layers(input *in, const fdl_layer *layers, size_t count) {
    if (fdl_weight_count(layers, count) > MOST_VALUES)
        return;
    fdl_net net = take_net(in, layers, count);
    size_t n = 1 + (take_below(in, 4) == 3 ? take_below(in, 256) : take_below(in, 5));
    int error = fdl_check_net(&net);
    if (error || fdl_step_arena_size(&net, n) == 0) {
        refuse_step(&net, n, error ? error : FDL_E_BATCH);
        return;
    }
    if (n * count_products(layers, count) > MOST_PRODUCTS || n * input_values(&net) > MOST_VALUES)
        return;
    count_past();
    int32_t *velocity = new_memory(parameters(&net) * sizeof *velocity);
    fill(in, velocity, parameters(&net) * sizeof *velocity);
    for (size_t steps = 1 + take_below(in, 3); steps > 0; steps--)
        try_step(in, &net, n, velocity);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    size_t count;
    use_table(0);
    const fdl_layer *layers = take_layers(&in, &count);
    int error = fdl_check_layers(layers, count);
    if (error) {
        fdl_net net = {.layers = layers, .layer_count = count};
        refuse_step(&net, 1, error);
    } else {
        try_layers(&in, layers, count);
    }
    free_memory();
    return 0;
}
