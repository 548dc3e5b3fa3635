/* New weights and biases of a layer (NUMERICS section 5, number 4). */
#include "step.h"
#include "../numbers/fixed.h"
#include "../numbers/numbers.h"

#if FDL_HAS_GRADIENT
/* What the gradient of a piece of weights does to them. */
typedef struct {
    const fdl_run *run;
    const fdl_part *part;
    const fdl_change *change;
} update;

static void subtract(void *context, const fdl_slice *slice, const int32_t *g) {
    const update *u = context;
    int16_t *stored = u->part->weights + slice->first;
    int32_t shift = u->change->shift;
    if (shift >= 1) {
        u->run->kernels->apply(stored, g, slice->count, fdl_min32(shift, 30));
        return;
    }
    for (size_t i = 0; i < slice->count; i++)
        stored[i] = (int16_t)fdl_sat16(stored[i] - fdl_sat16(fdl_shift(g[i], shift, 32768)));
}
#endif

#if !FDL_WITHOUT_MOMENTUM
static int32_t new_velocity(int32_t velocity, uint32_t momentum, int32_t g, int32_t shift) {
    int64_t kept = ((int64_t)velocity * momentum + 128) >> 8;
    return fdl_sat32(kept + fdl_shift(g, shift - 8, INT32_MAX));
}

/* A velocity in the unit of what it moves, of which it has 8 bits more. */
static int64_t whole(int32_t velocity) {
    return ((int64_t)velocity + 128) >> 8;
}

static void roll_weight(const fdl_change *change, int16_t *stored, int32_t *velocity, int32_t g) {
    *velocity = new_velocity(*velocity, change->momentum, g, change->shift);
    int64_t step = fdl_clamp64(whole(*velocity), INT16_MIN, INT16_MAX);
    *stored = (int16_t)fdl_sat16(*stored - (int32_t)step);
}

/* Velocities lie row by row, so that they mean the same on every processor. */
static void roll(void *context, const fdl_slice *slice, const int32_t *g) {
    const update *u = context;
    int16_t *stored = u->part->weights + slice->first;
    for (size_t r = 0; r < slice->rows; r++) {
        int32_t *velocity =
            u->change->velocity + (slice->row + r) * u->part->row_weights + slice->start;
        for (size_t i = 0; i < slice->len; i++) {
            size_t j = fdl_woven(u->part, r, i);
            roll_weight(u->change, stored + j, velocity + i, g[j]);
        }
    }
}

static void roll_sums(const fdl_change *change, int32_t *biases, int32_t *velocity,
                      const int32_t *sums, size_t count) {
    for (size_t o = 0; o < count; o++) {
        velocity[o] = new_velocity(velocity[o], change->momentum, sums[o], change->bias_shift);
        biases[o] = fdl_sat32(biases[o] - whole(velocity[o]));
    }
}
#endif

static void update_biases(const fdl_run *run, const fdl_part *part, const fdl_change *change) {
    int32_t *sums = run->spare;
    run->kernels->add_up(sums, change->d, fdl_window_count(run, part), part->bias_count);
#if !FDL_WITHOUT_MOMENTUM
    if (change->momentum) {
        roll_sums(change, part->biases, change->bias_velocity, sums, part->bias_count);
        return;
    }
#endif
    run->kernels->subtract(part->biases, sums, part->bias_count, change->bias_shift);
}

static void update_weights(const fdl_run *run, const fdl_part *part, const fdl_change *change) {
#if FDL_HAS_GRADIENT
    update context = {run, part, change};
#if !FDL_WITHOUT_MOMENTUM
    if (change->momentum) {
        fdl_each_gradient(run, part, change->d, roll, &context);
        return;
    }
#endif
    if (part->layer->kind != FDL_DEPTHWISE && fdl_conv_descend(run, part, change->d, change->shift))
        return;
    fdl_each_gradient(run, part, change->d, subtract, &context);
#else
    fdl_conv_descend(run, part, change->d, change->shift);
#endif
}

void fdl_update(const fdl_run *run, const fdl_part *part, const fdl_change *change) {
    update_weights(run, part, change);
    update_biases(run, part, change);
}
