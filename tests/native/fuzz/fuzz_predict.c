/* fdl_predict and fdl_logits on any net and example, right or spoiled in one place: refused with
 * nothing written, or the same answer from every table of inner loops, in its range. */
#include "fuzz.h"

#define MOST_PRODUCTS (1 << 16)
#define MOST_VALUES   (1 << 14)

typedef struct {
    const fdl_net *net;
    void *arena;
    size_t arena_len;
    const int8_t *x;
    size_t x_len;
    int32_t x_exp;
    size_t outputs_len;
} call;

typedef struct {
    int32_t *logits, *outputs;
    int32_t exponent;
    uint32_t label;
} answer;

static answer new_answer(size_t outputs) {
    size_t size = outputs * sizeof(int32_t);
    return (answer){new_memory(size), new_memory(size), 99, 99};
}

static int run_logits(const call *c, answer *a) {
    return fdl_logits(c->net, c->arena, c->arena_len, c->x, c->x_len, c->x_exp, a->logits,
                      c->outputs_len, &a->exponent);
}

static int run_predict(const call *c, answer *a) {
    return fdl_predict(c->net, c->arena, c->arena_len, c->x, c->x_len, c->x_exp, a->outputs,
                       c->outputs_len, &a->label);
}

/* The error that must come of it; FDL_OK: nothing is wrong. */
static int spoil(input *in, call *c) {
    switch (take_below(in, 24)) {
    case 1:
        c->net = NULL;
        return FDL_E_NULL;
    case 2:
        c->arena = NULL;
        return FDL_E_NULL;
    case 3:
        c->x = NULL;
        return FDL_E_NULL;
    case 4:
        c->arena_len--;
        return FDL_E_ARENA;
    case 5:
        c->arena = (uint8_t *)c->arena + 4;
        return FDL_E_ARENA;
    case 6:
        c->x_len++;
        return FDL_E_LENGTH;
    case 7:
        c->outputs_len--;
        return FDL_E_LENGTH;
    case 8:
        c->x_exp = take_byte(in) % 2 ? FDL_MAX_EXPONENT + 1 : FDL_MIN_EXPONENT - 1;
        return FDL_E_EXPONENT;
    case 9:
        ((int8_t *)(uintptr_t)c->x)[take_below(in, 65536) % c->x_len] = -128;
        return FDL_E_INPUT;
    default:
        return FDL_OK;
    }
}

static void check_refused(const call *c, int error, size_t outputs) {
    size_t size = outputs * sizeof(int32_t);
    answer a = new_answer(outputs), before = new_answer(outputs);
    expect(run_logits(c, &a) == error && run_predict(c, &a) == error);
    expect(memcmp(a.logits, before.logits, size) == 0);
    expect(memcmp(a.outputs, before.outputs, size) == 0);
    expect(a.exponent == 99 && a.label == 99);
}

/* Nowhere to write an answer to. */
static void check_nowhere(const call *c, size_t outputs) {
    answer a = new_answer(outputs);
    expect(fdl_predict(c->net, c->arena, c->arena_len, c->x, c->x_len, c->x_exp, a.outputs, outputs,
                       NULL) == FDL_E_NULL);
    expect(fdl_logits(c->net, c->arena, c->arena_len, c->x, c->x_len, c->x_exp, a.logits, outputs,
                      NULL) == FDL_E_NULL);
    a.logits = a.outputs = NULL;
    expect(run_logits(c, &a) == FDL_E_NULL && run_predict(c, &a) == FDL_E_NULL);
}

static answer answer_by(const call *c, size_t table, const uint8_t *packed, size_t outputs) {
    answer a = new_answer(outputs);
    use_table(table);
    fdl_net net = new_net_like(c->net, packed);
    call copy = *c;
    copy.net = &net;
    memset(c->arena, table == 0 ? 0 : 0x7f, c->arena_len);
    expect(run_logits(&copy, &a) == FDL_OK);
    expect(run_predict(&copy, &a) == FDL_OK);
    return a;
}

static void check_label(const answer *a, size_t outputs) {
    expect(a->label < outputs);
    for (size_t j = 0; j < outputs; j++)
        expect(j < a->label ? a->logits[j] < a->logits[a->label]
                            : a->logits[j] <= a->logits[a->label]);
}

static void check_range(uint32_t loss, const answer *a, size_t outputs) {
    int32_t low = loss <= FDL_SIGMOID ? 0 : -(1 << 20);
    int32_t high = loss == FDL_SOFTMAX ? 32767 : loss == FDL_SIGMOID ? 32768 : 1 << 20;
    int64_t sum = 0;
    for (size_t j = 0; j < outputs; j++) {
        expect(a->outputs[j] >= low && a->outputs[j] <= high);
        sum += a->outputs[j];
    }
    if (loss == FDL_SOFTMAX) /* two roundings down an output */
        expect(sum <= 32768 && sum >= 32768 - 2 * (int64_t)outputs);
}

static void check_answer(const call *c, size_t outputs) {
    size_t size = outputs * sizeof(int32_t), tables = use_table(0);
    const uint8_t *packed = pack(c->net);
    answer a = answer_by(c, 0, packed, outputs);
    check_label(&a, outputs);
    check_range(c->net->loss, &a, outputs);
    for (size_t table = 1; table <= tables; table++) { /* the last is the first again */
        answer b = answer_by(c, table % tables, packed, outputs);
        expect(memcmp(a.logits, b.logits, size) == 0 && a.exponent == b.exponent);
        expect(memcmp(a.outputs, b.outputs, size) == 0 && a.label == b.label);
    }
    use_table(0);
}

static void try_net(input *in, const fdl_net *net) {
    size_t outputs = outputs_of(net);
    call c = {.net = net, .arena_len = fdl_predict_arena_size(net), .outputs_len = outputs};
    c.arena = new_memory(c.arena_len);
    c.x_len = input_values(net);
    c.x_exp = (int32_t)take_below(in, 32) - 24;
    size_t askew = take_below(in, 4);
    c.x = take_inputs(in, askew + c.x_len) + askew;
    int error = spoil(in, &c);
    if (error) {
        check_refused(&c, error, outputs);
    } else {
        check_nowhere(&c, outputs);
        check_answer(&c, outputs);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    size_t count;
    use_table(0);
    const fdl_layer *layers = take_layers(&in, &count);
    uint64_t products = count_products(layers, count);
    fdl_net net = {.layers = layers, .layer_count = count};
    if (products <= MOST_PRODUCTS && fdl_weight_count(layers, count) <= MOST_VALUES)
        net = take_net(&in, layers, count);
    if (fdl_check_net(&net) == FDL_OK && input_values(&net) <= MOST_VALUES) {
        count_past();
        try_net(&in, &net);
    } else if (fdl_check_net(&net)) {
        expect(fdl_predict_arena_size(&net) == 0);
    }
    free_memory();
    return 0;
}
