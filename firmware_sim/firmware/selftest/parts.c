/* Cases of what is around training: normalisation, deltas, and rules that everything stands on. */
#include "numbers/fixed.h"
#include "numbers/numbers.h"
#include "platform.h"
#include "selftest.h"
#include "step/step.h"

static void add_norm(outcome *out, const fdl_norm *norm, size_t channels) {
    for (size_t c = 0; c < channels; c++) {
        add_number(out, (uint32_t)norm[c].mean);
        add_number(out, norm[c].mantissa);
        add_number(out, (uint32_t)norm[c].shift);
    }
}

void run_normalisation(vectors_reader *in, outcome *out) {
    size_t size, channels = (size_t)vectors_number(in);
    const int16_t *samples = vectors_bytes(in, &size);
    size_t count = size / sizeof *samples;
    fdl_norm_fit *fit = platform_new(channels * sizeof *fit);
    fdl_norm *norm = platform_new(channels * sizeof *norm);
    int8_t *x = platform_new(count);
    check(fdl_norm_start(fit, channels));
    check(fdl_norm_sum(fit, channels, samples, count));
    check(fdl_norm_finish(fit, norm, channels));
    check(fdl_norm_apply(norm, channels, samples, count, x, count));
    add_norm(out, norm, channels);
    add_bytes(out, x, count);
}

void run_delta(vectors_reader *in, outcome *out) {
    fdl_net net = vectors_net(in);
    size_t before_size, after_size;
    const uint8_t *before = vectors_bytes(in, &before_size);
    const uint8_t *after = vectors_bytes(in, &after_size);
    uint8_t *delta = platform_new(after_size);
    uint32_t saturated;
    check(fdl_delta(net.layers, net.layer_count, before, before_size, after, after_size, delta,
                    after_size, &saturated));
    add_number(out, saturated);
    add_bytes(out, delta, after_size);
}

static uint64_t read_wide(vectors_reader *in) {
    uint64_t low = (uint32_t)vectors_number(in);
    return low | (uint64_t)(uint32_t)vectors_number(in) << 32;
}

/* rshift(), then ratio(), of NUMERICS section 1. */
void run_rounding(vectors_reader *in, outcome *out) {
    for (int32_t left = vectors_number(in); left > 0; left--) {
        int32_t x = vectors_number(in), shift = vectors_number(in);
        add_number(out, (uint32_t)fdl_shift(x, shift, INT32_MAX));
    }
    for (int32_t left = vectors_number(in); left > 0; left--) {
        uint64_t a = read_wide(in), b = read_wide(in);
        fdl_ratio ratio = fdl_make_ratio(a, b);
        add_number(out, (uint32_t)ratio.mantissa);
        add_number(out, (uint32_t)ratio.k);
    }
}

/* Logits to what the net says (NUMERICS section 4). */
void run_losses(vectors_reader *in, outcome *out) {
    uint32_t loss = (uint32_t)vectors_number(in);
    int32_t z_exp = vectors_number(in);
    size_t outputs = (size_t)vectors_number(in);
    int32_t *z = platform_new(outputs * sizeof *z);
    for (int32_t left = vectors_number(in); left > 0; left--) {
        for (size_t c = 0; c < outputs; c++)
            z[c] = vectors_number(in);
        fdl_outputs(loss, z, outputs, z_exp);
        add_numbers(out, z, outputs);
    }
}
