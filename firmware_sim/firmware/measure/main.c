/* Measures what training costs on the processor that it runs on. Prints a line for each net,
 *
 *     INSTRUCTIONS ARENA MEMORY STACK
 *
 * INSTRUCTIONS: mean of a training step; ARENA: bytes of arena that it asks for; MEMORY: the most
 * bytes that a round needed at once; STACK: bytes below the caller of the library. Before them
 *
 *     ISA
 *     PART LAYER
 *
 * the inner loops that run, and the sizes of the structs that memory is made of. The options
 * MEASURE_PULL and MEASURE_NORMALISER add what only some tasks call. */
#include "generated.h"
#include "measure.h"
#include "net/net.h"
#include "platform.h"
#include "print.h"

#define SEED      1
#define PULL_HALF 32768

extern uint32_t stack_top[]; /* board.ld */

/* A round under way. */
typedef struct {
    const measured_net *from;
    fdl_net net;
    fdl_sgd sgd;
    uint32_t examples; /* that were used so far */
    uint64_t instructions;
    size_t arena, taken, most; /* bytes of memory */
    uint32_t stack;
} device;

static void check(int error) {
    if (error == FDL_OK)
        return;
    platform_print("error -");
    print_decimal((uint32_t)-error);
    platform_print("\n");
    platform_exit(1);
}

static void *take(device *d, size_t size) {
    d->taken += size;
    d->most = d->most > d->taken ? d->most : d->taken;
    return platform_new(size);
}

static device new_device(const measured_net *from) {
    device d = {.from = from, .net = {.layers = from->layers, .layer_count = from->layer_count}};
    d.net.loss = from->loss;
    d.net.weight_count = fdl_weight_room(from->layers, from->layer_count);
    d.net.bias_count = fdl_bias_count(from->layers, from->layer_count);
    d.net.weights = take(&d, d.net.weight_count * sizeof *d.net.weights);
    d.net.biases = take(&d, d.net.bias_count * sizeof *d.net.biases);
    d.sgd = (fdl_sgd){.lr_q24 = from->lr_q24, .frozen = from->frozen};
    d.sgd.clip_q16 = from->clip_q16;
    d.sgd.momentum = from->momentum;
    return d;
}

static void add_velocity(device *d) {
    if (d->sgd.momentum == 0)
        return;
    d->sgd.velocity_count = fdl_weight_count(d->net.layers, d->net.layer_count) + d->net.bias_count;
    d->sgd.velocity = take(d, d->sgd.velocity_count * sizeof *d->sgd.velocity);
    for (size_t i = 0; i < d->sgd.velocity_count; i++)
        d->sgd.velocity[i] = 0;
}

static fdl_batch new_batch(device *d, const generated *data) {
    size_t n = d->from->batch, inputs = fdl_input_count(d->net.layers);
    size_t targets = generated_target_count(data);
    fdl_batch batch = {.x_len = n * inputs, .x_exp = FDL_INPUT_EXP - 1, .n = n};
    batch.targets_len = n * targets;
    batch.x = take(d, batch.x_len);
    batch.targets = take(d, batch.targets_len * generated_target_size(data));
    return batch;
}

static void fill_batch(device *d, const generated *data, const fdl_batch *batch) {
    int8_t *x = (int8_t *)(uintptr_t)batch->x;
    uint8_t *targets = (uint8_t *)(uintptr_t)batch->targets;
    size_t inputs = batch->x_len / batch->n;
    size_t target_size = generated_target_count(data) * generated_target_size(data);
    for (size_t b = 0; b < batch->n; b++, d->examples++) {
        generated_inputs(data, d->examples, x + b * inputs);
        generated_targets(data, d->examples, targets + b * target_size);
    }
}

/* Bytes of stack that have been in use below this frame. */
static uint32_t stack_below(const void *frame) {
    return platform_stack_used() - (uint32_t)((uintptr_t)stack_top - (uintptr_t)frame);
}

static void train(device *d) {
    add_velocity(d);
    generated data = {.net = &d->net, .seed = SEED, .classes = d->from->classes, .run = 1};
    fdl_batch batch = new_batch(d, &data);
    d->arena = fdl_step_arena_size(&d->net, batch.n);
    void *arena = take(d, d->arena);
    platform_stack_clear();
    for (uint32_t i = 0; i < d->from->steps; i++) {
        fill_batch(d, &data, &batch);
        platform_count_start();
        int error = fdl_step(&d->net, arena, d->arena, &batch, &d->sgd);
        d->instructions += platform_count_stop();
        check(error);
    }
    d->stack = stack_below(__builtin_frame_address(0));
}

static void predict(device *d) {
    size_t arena_len = fdl_predict_arena_size(&d->net);
    size_t inputs = fdl_input_count(d->net.layers);
    size_t outputs = fdl_output_count(&d->net.layers[d->net.layer_count - 1]);
    void *arena = take(d, arena_len);
    int8_t *x = take(d, inputs);
    int32_t *said = take(d, outputs * sizeof *said);
    uint32_t label;
    memset(x, 0, inputs);
    check(fdl_predict(&d->net, arena, arena_len, x, inputs, FDL_INPUT_EXP, said, outputs, &label));
}

static void update(device *d) {
    size_t size = d->from->start_len;
    uint8_t *packed = take(d, size);
    uint32_t saturated;
    check(fdl_pack_weights(&d->net, packed, size));
    check(fdl_delta(d->net.layers, d->net.layer_count, d->from->start, size, packed, size, packed,
                    size, &saturated));
}

#ifdef MEASURE_PULL
static void pull(device *d) {
    check(fdl_pull(&d->net, d->from->start, d->from->start_len, PULL_HALF));
}
#endif

#ifdef MEASURE_NORMALISER
static void normalise(device *d) {
    fdl_norm_fit fit;
    fdl_norm norm;
    int16_t samples[2] = {-1, 1};
    int8_t x[2];
    (void)d;
    check(fdl_norm_start(&fit, 1));
    check(fdl_norm_sum(&fit, 1, samples, 2));
    check(fdl_norm_finish(&fit, &norm, 1));
    check(fdl_norm_apply(&norm, 1, samples, 2, x, 2));
}
#endif

/* In the order of a round. What one takes, the next may take again. */
static void (*const PHASES[])(device *) = {
#ifdef MEASURE_NORMALISER
    normalise,
#endif
    train,
#ifdef MEASURE_PULL
    pull,
#endif
    update,    predict,
};

static void run_phase(device *d, void (*phase)(device *)) {
    size_t mark = platform_mark(), taken = d->taken;
    phase(d);
    platform_release(mark);
    d->taken = taken;
}

static void print_row(const uint32_t *numbers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        print_decimal(numbers[i]);
        platform_print(i + 1 < count ? " " : "\n");
    }
}

static void measure(const measured_net *from) {
    size_t mark = platform_mark();
    device d = new_device(from);
    check(fdl_unpack_weights(&d.net, from->start, from->start_len));
    for (size_t i = 0; i < sizeof PHASES / sizeof PHASES[0]; i++)
        run_phase(&d, PHASES[i]);
    const uint32_t row[] = {(uint32_t)(d.instructions / from->steps), (uint32_t)d.arena,
                            (uint32_t)d.most, d.stack};
    print_row(row, sizeof row / sizeof row[0]);
    platform_release(mark);
}

int main(void) {
    platform_print(fdl_isa());
    platform_print("\n");
    const uint32_t row[] = {sizeof(fdl_part), sizeof(fdl_layer)};
    print_row(row, sizeof row / sizeof row[0]);
    for (size_t i = 0; i < measured_count; i++)
        measure(&measured_nets[i]);
    return 0;
}
