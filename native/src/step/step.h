/* What a step is made of beside its layers: losses, clipping, new weights. */
#ifndef FDL_STEP_H
#define FDL_STEP_H

#include "../layers/layers.h"

/* ---- Losses ---- */

int fdl_check_targets(uint32_t loss, const fdl_batch *batch, size_t outputs);

/* Logits to what the net says (NUMERICS section 4), in place. */
void fdl_outputs(uint32_t loss, int32_t *z, size_t count, int32_t z_exp);

/* Logits [n][outputs] to err of NUMERICS section 5 number 2, in place, before the learning rate;
 * returns its exponent. */
int32_t fdl_output_error(const fdl_run *run, uint32_t loss, const fdl_batch *batch, int32_t *z,
                         size_t outputs, int32_t z_exp);

/* ---- Updates ---- */

/* The errors d [n][outputs] of a layer, and what they do to its weights. */
typedef struct fdl_change {
    int8_t *d;
    int32_t shift;      /* u of NUMERICS section 5 */
    int32_t bias_shift; /* ub */
    uint32_t momentum;
    int32_t *velocity, *bias_velocity; /* of this layer; unused without momentum */
} fdl_change;

void fdl_update(const fdl_run *run, const fdl_part *part, const fdl_change *change);

/* Clipping by norm: makes the errors d of a layer smaller where its gradient, which has exponent
 * g_exp, is longer than lr_clip / 2^40; returns what is to be added to the exponent of d. */
int32_t fdl_clip(const fdl_run *run, const fdl_part *part, int8_t *d, uint64_t lr_clip,
                 int32_t g_exp);

#endif
