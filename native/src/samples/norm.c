/* Normalisation from sums over samples (NUMERICS section 6). */
#include "../numbers/fixed.h"
#include "../numbers/numbers.h"
#include "fedling.h"

/* Below 2^31 samples a sum of squares fits in 61 bits, the variance's shifted remainder in 47. */
#define MAX_SAMPLES ((1u << 31) - 1)
#define MOST_SQUARE ((uint64_t)1 << 30)
#define MOST_SUM    32768

static int check_samples(const void *state, size_t channels, const int16_t *samples, size_t len) {
    if (state == NULL || (samples == NULL && len > 0))
        return FDL_E_NULL;
    return channels < 1 || len % channels != 0 ? FDL_E_LENGTH : FDL_OK;
}

int fdl_norm_start(fdl_norm_fit *fit, size_t channels) {
    if (fit == NULL)
        return FDL_E_NULL;
    if (channels < 1)
        return FDL_E_LENGTH;
    for (size_t c = 0; c < channels; c++)
        fit[c] = (fdl_norm_fit){0};
    return FDL_OK;
}

int fdl_norm_sum(fdl_norm_fit *fit, size_t channels, const int16_t *samples, size_t samples_len) {
    int error = check_samples(fit, channels, samples, samples_len);
    if (error)
        return error;
    size_t rows = samples_len / channels;
    if (rows > MAX_SAMPLES - fit[0].count)
        return FDL_E_SAMPLES;
    for (size_t c = 0; c < channels; c++) {
        for (size_t t = 0; t < rows; t++) {
            uint32_t count = fdl_magnitude(samples[t * channels + c]);
            fit[c].sum += samples[t * channels + c];
            fit[c].squares += count * count;
        }
        fit[c].count += (uint32_t)rows;
    }
    return FDL_OK;
}

static int64_t floor_divide(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static int32_t mean_of(const fdl_norm_fit *fit) {
    int64_t count = fit->count;
    return (int32_t)floor_divide(2 * fit->sum + count, 2 * count);
}

/* The sum of squares around the mean. On the way it may pass 2^64, which it does not at the end. */
static uint64_t squares_around(const fdl_norm_fit *fit, int32_t mean) {
    uint64_t middle = (uint64_t)(int64_t)mean;
    return fit->squares - 2 * middle * (uint64_t)fit->sum + middle * middle * fit->count;
}

/* Sums come from other devices, too: such as no samples have are refused. */
static int sums_are_valid(const fdl_norm_fit *fit) {
    int64_t most = (int64_t)fit->count * MOST_SUM;
    if (fit->count == 0 || fit->count > MAX_SAMPLES)
        return 0;
    if (fit->sum > most || fit->sum < -most)
        return 0;
    if (fit->squares > fit->count * MOST_SQUARE)
        return 0;
    return squares_around(fit, mean_of(fit)) <= INT64_MAX; /* else they are below 0 */
}

/* The deviation in 2^-8 counts. */
static uint32_t deviation(uint64_t squares, uint32_t count) {
    uint64_t whole = squares / count, rest = squares % count;
    return fdl_square_root((whole << 16) + (rest << 16) / count);
}

int fdl_norm_finish(const fdl_norm_fit *fit, fdl_norm *norm, size_t channels) {
    int error = check_samples(fit, channels, NULL, 0);
    if (error)
        return error;
    if (norm == NULL)
        return FDL_E_NULL;
    for (size_t c = 0; c < channels; c++)
        if (!sums_are_valid(&fit[c]))
            return FDL_E_SAMPLES;
    for (size_t c = 0; c < channels; c++) {
        int32_t mean = mean_of(&fit[c]);
        uint32_t sd = deviation(squares_around(&fit[c], mean), fit[c].count);
        fdl_ratio inverse = sd == 0 ? (fdl_ratio){0, 7} : fdl_make_ratio(1 << 13, sd);
        norm[c] = (fdl_norm){mean, (uint32_t)inverse.mantissa, 7 - inverse.k};
    }
    return FDL_OK;
}

/* A deviation lies in 1..2^24, so that k lies in -11..13. */
static int norm_is_valid(const fdl_norm *norm) {
    if (norm->mean < INT16_MIN || norm->mean > INT16_MAX)
        return 0;
    if (norm->mantissa == 0)
        return norm->shift == 0;
    return norm->mantissa >= 128 && norm->mantissa <= 255 && norm->shift >= -6 && norm->shift <= 18;
}

int fdl_norm_apply(const fdl_norm *norm, size_t channels, const int16_t *samples,
                   size_t samples_len, int8_t *x, size_t x_len) {
    int error = check_samples(norm, channels, samples, samples_len);
    if (error)
        return error;
    if (x == NULL && x_len > 0)
        return FDL_E_NULL;
    if (x_len != samples_len)
        return FDL_E_LENGTH;
    for (size_t c = 0; c < channels; c++)
        if (!norm_is_valid(&norm[c]))
            return FDL_E_NORMALISER;
    for (size_t c = 0; c < channels; c++)
        for (size_t j = c; j < samples_len; j += channels) {
            int32_t scaled = (samples[j] - norm[c].mean) * (int32_t)norm[c].mantissa;
            x[j] = (int8_t)fdl_shift(scaled, norm[c].shift, 127);
        }
    return FDL_OK;
}
