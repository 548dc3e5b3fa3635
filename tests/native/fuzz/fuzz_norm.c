/* A normaliser fitted piece by piece, and applied; and normalisers that no fit gives. */
#include "fuzz.h"

#define MOST_ROWS 300

typedef struct {
    size_t channels, len; /* len: values of all channels */
    int16_t *samples;
} recording;

static recording take_recording(input *in) {
    recording r = {.channels = 1 + take_below(in, 5)};
    r.len = r.channels * take_below(in, MOST_ROWS);
    r.samples = new_memory(r.len * sizeof *r.samples);
    fill(in, r.samples, r.len * sizeof *r.samples);
    return r;
}

/* The recording in pieces, each in memory of its own. */
static void read_pieces(input *in, const recording *r, fdl_norm_fit *fit) {
    for (size_t start = 0, len; start < r->len; start += len) {
        len = r->channels * (8 + take_below(in, 100));
        if (len > r->len - start)
            len = r->len - start;
        const int16_t *piece = new_copy(r->samples + start, len * sizeof *piece);
        expect(fdl_norm_sum(fit, r->channels, piece, len) == FDL_OK);
    }
}

/* Lengths and pointers that are wrong change nothing. */
static void check_refusals(const recording *r, fdl_norm_fit *fit) {
    size_t size = r->channels * sizeof *fit;
    const void *before = new_copy(fit, size);
    const int16_t sample = 0;
    expect(fdl_norm_start(NULL, 1) == FDL_E_NULL && fdl_norm_start(fit, 0) == FDL_E_LENGTH);
    expect(fdl_norm_sum(NULL, 1, &sample, 1) == FDL_E_NULL);
    expect(fdl_norm_sum(fit, r->channels, NULL, r->channels) == FDL_E_NULL);
    expect(fdl_norm_sum(fit, 0, &sample, 1) == FDL_E_LENGTH);
    if (r->channels > 1)
        expect(fdl_norm_sum(fit, r->channels, &sample, 1) == FDL_E_LENGTH);
    expect(memcmp(before, fit, size) == 0);
}

static void check_finish_refusals(const recording *r, const fdl_norm_fit *fit, fdl_norm *norm) {
    expect(fdl_norm_finish(NULL, norm, r->channels) == FDL_E_NULL);
    expect(fdl_norm_finish(fit, NULL, r->channels) == FDL_E_NULL);
    expect(fdl_norm_finish(fit, norm, 0) == FDL_E_LENGTH);
}

static int norm_is_valid(const fdl_norm *norm) {
    if (norm->mean < INT16_MIN || norm->mean > INT16_MAX)
        return 0;
    return norm->mantissa ? norm->mantissa >= 128 && norm->mantissa <= 255 && norm->shift >= -6 &&
                                norm->shift <= 18
                          : norm->shift == 0;
}

static void check_apply(const recording *r, const fdl_norm *norm, int error) {
    int8_t *x = new_memory(r->len);
    expect(fdl_norm_apply(NULL, r->channels, r->samples, r->len, x, r->len) == FDL_E_NULL);
    expect(fdl_norm_apply(norm, 0, r->samples, r->len, x, r->len) == FDL_E_LENGTH);
    expect(fdl_norm_apply(norm, r->channels, r->samples, r->len, x, r->len + 1) == FDL_E_LENGTH);
    if (r->len > 0) {
        expect(fdl_norm_apply(norm, r->channels, NULL, r->len, x, r->len) == FDL_E_NULL);
        expect(fdl_norm_apply(norm, r->channels, r->samples, r->len, NULL, r->len) == FDL_E_NULL);
    }
    expect(fdl_norm_apply(norm, r->channels, r->samples, r->len, x, r->len) == error);
    for (size_t j = 0; j < r->len && error == FDL_OK; j++) {
        expect(x[j] != -128);
        expect(norm[j % r->channels].mantissa || x[j] == 0);
    }
}

static void check_fit(input *in, const recording *r) {
    size_t size = r->channels * sizeof(fdl_norm_fit);
    fdl_norm_fit *fit = new_memory(size), *whole = new_memory(size);
    fdl_norm *norm = new_memory(r->channels * sizeof *norm);
    expect(fdl_norm_start(fit, r->channels) == FDL_OK);
    expect(fdl_norm_start(whole, r->channels) == FDL_OK);
    check_refusals(r, fit);
    if (r->len == 0) {
        expect(fdl_norm_finish(fit, norm, r->channels) == FDL_E_SAMPLES);
        return;
    }
    read_pieces(in, r, fit);
    expect(fdl_norm_sum(whole, r->channels, r->samples, r->len) == FDL_OK);
    expect(memcmp(fit, whole, size) == 0);
    check_finish_refusals(r, fit, norm);
    expect(fdl_norm_finish(fit, norm, r->channels) == FDL_OK);
    for (size_t c = 0; c < r->channels; c++)
        expect(norm_is_valid(&norm[c]));
    check_apply(r, norm, FDL_OK);
}

/* Sums from somewhere else: refused, or a normaliser like any other. */
static void check_foreign_sums(input *in, const recording *r) {
    fdl_norm_fit *fit = new_memory(r->channels * sizeof *fit);
    fdl_norm *norm = new_memory(r->channels * sizeof *norm);
    fill(in, fit, r->channels * sizeof *fit);
    for (size_t c = 0; c < r->channels && take_below(in, 4); c++) {
        fit[c].count &= 0xFFFF;
        fit[c].sum = (int16_t)fit[c].sum * (int64_t)fit[c].count;
        fit[c].squares &= ((uint64_t)1 << (31 + take_below(in, 16))) - 1;
    }
    int error = fdl_norm_finish(fit, norm, r->channels);
    expect(error == FDL_OK || error == FDL_E_SAMPLES);
    for (size_t c = 0; c < r->channels && error == FDL_OK; c++)
        expect(norm_is_valid(&norm[c]));
}

/* A normaliser from somewhere else, mostly near one that a fit gives. */
static void check_foreign(input *in, const recording *r) {
    fdl_norm *norm = new_memory(r->channels * sizeof *norm);
    int error = FDL_OK;
    for (size_t c = 0; c < r->channels; c++) {
        uint32_t is_wild = take_below(in, 8) == 7;
        norm[c].mean = is_wild ? (int32_t)take_word(in) : (int16_t)take_word(in);
        norm[c].mantissa = is_wild ? take_word(in) : 127 + take_below(in, 130);
        norm[c].shift = is_wild ? (int8_t)take_byte(in) : (int32_t)take_below(in, 27) - 7;
        if (!norm_is_valid(&norm[c]))
            error = FDL_E_NORMALISER;
    }
    check_apply(r, norm, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    uint32_t is_foreign = take_below(&in, 2);
    recording r = take_recording(&in);
    if (r.len > 0)
        count_past();
    if (is_foreign)
        check_foreign(&in, &r);
    else
        check_fit(&in, &r);
    check_foreign_sums(&in, &r);
    free_memory();
    return 0;
}
