/* Differences of weights and biases as values in one unit, and back (NUMERICS section 7). */
#include "../bytes/bytes.h"
#include "../net/net.h"
#include "../numbers/fixed.h"
#include "fedling.h"

#if !FDL_WITHOUT_CODEC

#define BIAS_EXP   (-16)
#define MOST_SHIFT 15

/* 2^u: that of biases or of the finest weights. */
static int32_t common_exponent(const fdl_layer *layers, size_t layer_count) {
    int32_t u = BIAS_EXP;
    for (size_t l = 0; l < layer_count; l++) {
        fdl_part part;
        fdl_shape_part(&part, &layers[l]);
        if (fdl_has_weights(&part))
            u = fdl_min32(u, layers[l].w_exp - 8);
    }
    return u;
}

/* By how many bits a value of this exponent is shifted into the unit. */
static int32_t shift_of(int32_t exponent, int32_t u) {
    return fdl_min32(MOST_SHIFT, exponent - u);
}

/* Values from number `start` on that are shifted alike: a layer's weights, or all biases. */
typedef struct {
    size_t start, count;
    int32_t shift;
} run;

static run weights_of(const fdl_layer *layer, size_t start, int32_t u) {
    fdl_part part;
    fdl_shape_part(&part, layer);
    return (run){start, fdl_part_weights(&part), shift_of(layer->w_exp - 8, u)};
}

static int check_values(const fdl_layer *layers, size_t layer_count, const int32_t *values,
                        size_t count) {
    int error = fdl_check_layers(layers, layer_count);
    if (error)
        return error;
    if (values == NULL)
        return FDL_E_NULL;
    size_t all = fdl_weight_count(layers, layer_count) + fdl_bias_count(layers, layer_count);
    return count == all ? FDL_OK : FDL_E_LENGTH;
}
#endif

int fdl_delta_values(const fdl_layer *layers, size_t layer_count, const uint8_t *delta,
                     size_t delta_len, int32_t *values, size_t count) {
#if FDL_WITHOUT_CODEC
    (void)layers, (void)layer_count, (void)delta, (void)delta_len, (void)values, (void)count;
    return FDL_E_ABSENT;
#else
    int error = check_values(layers, layer_count, values, count);
    if (error)
        return error;
    if (delta == NULL)
        return FDL_E_NULL;
    if (delta_len != fdl_packed_size(layers, layer_count))
        return FDL_E_LENGTH;
    int32_t u = common_exponent(layers, layer_count);
    size_t done = 0;
    for (size_t l = 0; l < layer_count; l++)
        for (run of = weights_of(&layers[l], done, u); done < of.start + of.count;
             done++, delta += 2)
            values[done] = fdl_read16(delta) * (1 << of.shift);
    for (; done < count; done++, delta += 4)
        values[done] = fdl_shift_left(fdl_read32(delta), shift_of(BIAS_EXP, u), INT32_MAX);
    return FDL_OK;
#endif
}

int fdl_own_units(const fdl_layer *layers, size_t layer_count, int32_t *estimate, size_t count) {
#if FDL_WITHOUT_CODEC
    (void)layers, (void)layer_count, (void)estimate, (void)count;
    return FDL_E_ABSENT;
#else
    int error = check_values(layers, layer_count, estimate, count);
    if (error)
        return error;
    int32_t u = common_exponent(layers, layer_count);
    size_t done = 0;
    for (size_t l = 0; l < layer_count; l++) {
        run of = weights_of(&layers[l], done, u);
        fdl_shift_all(estimate + done, estimate + done, of.count, of.shift, INT32_MAX);
        done += of.count;
    }
    fdl_shift_all(estimate + done, estimate + done, count - done, shift_of(BIAS_EXP, u), INT32_MAX);
    return FDL_OK;
#endif
}
