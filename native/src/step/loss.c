/* Losses: what a target must be, and the error that a step begins with (NUMERICS section 5). */
#include "step.h"
#include "../numbers/fixed.h"
#include "../numbers/numbers.h"

#define VALUE_LIMIT (1 << 20)

static int check_bytes(const fdl_batch *batch, size_t count, uint32_t limit) {
    const uint8_t *targets = batch->targets;
    if (batch->targets_len != count)
        return FDL_E_LENGTH;
    for (size_t j = 0; j < count; j++)
        if (targets[j] >= limit)
            return FDL_E_TARGET;
    return FDL_OK;
}

int fdl_check_targets(uint32_t loss, const fdl_batch *batch, size_t outputs) {
    if (loss == FDL_RECONSTRUCTION)
        return batch->targets_len == 0 ? FDL_OK : FDL_E_LENGTH;
    if (batch->targets == NULL)
        return FDL_E_NULL;
    if (loss == FDL_SOFTMAX)
        return check_bytes(batch, batch->n, (uint32_t)outputs);
    if (loss == FDL_SIGMOID)
        return check_bytes(batch, batch->n * outputs, 2);
    if ((uintptr_t)batch->targets % sizeof(int16_t) != 0)
        return FDL_E_TARGET;
    return batch->targets_len == batch->n * outputs ? FDL_OK : FDL_E_LENGTH;
}

static int32_t value_of(int32_t z, int32_t z_exp) {
    return fdl_shift(z, FDL_VALUE_EXP - z_exp, VALUE_LIMIT);
}

/* In the unit of an output: Q15 for classes, else 2^FDL_VALUE_EXP. */
static int32_t target_of(uint32_t loss, const fdl_batch *batch, size_t j) {
    switch (loss) {
    case FDL_SIGMOID:
        return ((const uint8_t *)batch->targets)[j] ? 32768 : 0;
    case FDL_SQUARED:
        return ((const int16_t *)batch->targets)[j];
    default:
        return value_of(batch->x[j], batch->x_exp);
    }
}

void fdl_outputs(uint32_t loss, int32_t *z, size_t count, int32_t z_exp) {
    if (loss == FDL_SOFTMAX) {
        fdl_softmax(z, 1, count, fdl_exp_steps_of(z_exp), NULL);
        return;
    }
#if !FDL_WITHOUT_SIGMOID
    if (loss == FDL_SIGMOID)
        for (size_t j = 0; j < count; j++)
            z[j] = fdl_sigmoid(z[j], z_exp);
#endif
    if (!FDL_WITHOUT_VALUES && loss >= FDL_SQUARED)
        for (size_t j = 0; j < count; j++)
            z[j] = value_of(z[j], z_exp);
}

int32_t fdl_output_error(const fdl_run *run, uint32_t loss, const fdl_batch *batch, int32_t *z,
                         size_t outputs, int32_t z_exp) {
    if (loss == FDL_SOFTMAX) {
        run->kernels->softmax(z, batch->n, outputs, fdl_exp_steps_of(z_exp), batch->targets);
        return -15;
    }
    fdl_outputs(loss, z, batch->n * outputs, z_exp);
    for (size_t j = 0; j < batch->n * outputs; j++)
        z[j] = fdl_clamp32(z[j] - target_of(loss, batch, j), -VALUE_LIMIT, VALUE_LIMIT);
    return loss == FDL_SIGMOID ? -15 : FDL_VALUE_EXP;
}
