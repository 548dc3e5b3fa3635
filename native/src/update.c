/* New weights and biases of a layer (NUMERICS section 5, number 4). */
#include "internal.h"

/* What the gradient of a piece of weights does to them. */
typedef struct {
    const fdl_run *run;
    const fdl_part *part;
    const fdl_change *change;
} update;

static void subtract(void *context, size_t row, size_t start, const int32_t *g, size_t len) {
    const update *u = context;
    int16_t *stored = u->part->weights + row * u->part->row_weights + start;
    int32_t shift = u->change->shift;
    if (shift >= 1) {
        u->run->kernels->apply(stored, g, len, fdl_min32(shift, 30));
        return;
    }
    for (size_t i = 0; i < len; i++)
        stored[i] = (int16_t)fdl_sat16(stored[i] - fdl_shift(g[i], shift, INT16_MIN, INT16_MAX));
}

static int32_t new_velocity(int32_t velocity, uint32_t momentum, int32_t g, int32_t shift) {
    int64_t kept = ((int64_t)velocity * momentum + 128) >> 8;
    return fdl_sat32(kept + fdl_shift(g, shift - 8, INT32_MIN, INT32_MAX));
}

/* A velocity in the unit of what it moves, of which it has 8 bits more. */
static int64_t whole(int32_t velocity) {
    return ((int64_t)velocity + 128) >> 8;
}

static void roll(void *context, size_t row, size_t start, const int32_t *g, size_t len) {
    const update *u = context;
    size_t first = row * u->part->row_weights + start;
    int16_t *stored = u->part->weights + first;
    int32_t *velocity = u->change->velocity + first;
    for (size_t i = 0; i < len; i++) {
        velocity[i] = new_velocity(velocity[i], u->change->momentum, g[i], u->change->shift);
        int64_t step = fdl_clamp64(whole(velocity[i]), INT16_MIN, INT16_MAX);
        stored[i] = (int16_t)fdl_sat16(stored[i] - (int32_t)step);
    }
}

static void update_bias(const fdl_part *part, const fdl_change *change, size_t o, int32_t sum) {
    int64_t step;
    if (FDL_HAS_MOMENTUM && change->momentum) {
        int32_t *velocity = &change->bias_velocity[o];
        *velocity = new_velocity(*velocity, change->momentum, sum, change->bias_shift);
        step = whole(*velocity);
    } else {
        step = fdl_shift(sum, change->bias_shift, INT32_MIN, INT32_MAX);
    }
    part->biases[o] = fdl_sat32(part->biases[o] - step);
}

static void update_biases(const fdl_run *run, const fdl_part *part, const fdl_change *change) {
    size_t total = run->n * fdl_positions(part);
    for (size_t o = 0; o < part->bias_count; o++) {
        int32_t sum = 0;
        for (size_t m = 0; m < total; m++)
            sum += change->d[m * part->bias_count + o];
        update_bias(part, change, o, sum);
    }
}

void fdl_update(const fdl_run *run, const fdl_part *part, const fdl_change *change) {
    update context = {run, part, change};
    int is_matrix = !FDL_HAS_DEPTHWISE || part->layer->kind != FDL_DEPTHWISE;
    if (FDL_HAS_MOMENTUM && change->momentum)
        fdl_each_gradient(run, part, change->d, roll, &context);
    else if (!is_matrix || !fdl_conv_descend(run, part, change->d, change->shift))
        fdl_each_gradient(run, part, change->d, subtract, &context);
    update_biases(run, part, change);
}
