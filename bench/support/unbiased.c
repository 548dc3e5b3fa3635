/* The same values encoded and read again under many seeds, for bench/unbiased.py. */
#include "fedling.h"

#include <stdlib.h>

/* Sums over encodings: of each estimate in 1/256 and of its square; of slopes and their squares. */
typedef struct {
    double *sums, *squares;
    double slopes, slope_squares;
} totals;

typedef struct {
    size_t arena_len, room, places;
    void *arena;
    uint8_t *message;
    uint16_t *dither;
    int32_t *estimate;
} memory;

static uint64_t mixed(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void draw(fdl_code *code, const memory *m, uint64_t *random) {
    uint64_t seed = mixed(random);
    code->seed[0] = (uint32_t)seed;
    code->seed[1] = (uint32_t)(seed >> 32);
    for (size_t i = 0; i < m->places; i += 4) {
        uint64_t four = mixed(random);
        for (size_t j = 0; j < 4; j++)
            m->dither[i + j] = (uint16_t)(four >> (16 * j));
    }
}

static int there_and_back(const fdl_code *code, const int32_t *values, size_t count, memory *m) {
    const uint16_t *dither = m->places > 0 ? m->dither : NULL;
    size_t len;
    int error = fdl_encode(code, values, count, dither, m->places, m->arena, m->arena_len,
                           m->message, m->room, &len);
    return error ? error
                 : fdl_decode(code, m->message, len, dither, m->places, m->arena, m->arena_len,
                              m->estimate, count);
}

static void add(totals *to, const int32_t *values, size_t count, const int32_t *estimate,
                double energy) {
    double product = 0;
    for (size_t i = 0; i < count; i++) {
        double y = estimate[i];
        to->sums[i] += y;
        to->squares[i] += y * y;
        product += y * values[i];
    }
    double slope = product / (256 * energy);
    to->slopes += slope;
    to->slope_squares += slope * slope;
}

/* random: a seed of all seeds and dithers. Returns FDL_OK or what the codec says. */
int average(fdl_code *code, const int32_t *values, size_t count, size_t encodings, uint64_t random,
            totals *to) {
    memory m = {.arena_len = fdl_code_arena_size(code, count),
                .room = fdl_encoded_room(code, count),
                .places = code->quantiser == FDL_DITHER ? fdl_code_places(code, count) : 0};
    m.arena = aligned_alloc(64, (m.arena_len + 63) / 64 * 64);
    m.message = malloc(m.room);
    m.dither = malloc((m.places + 4) * sizeof *m.dither);
    m.estimate = malloc(count * sizeof *m.estimate);
    double energy = 0;
    for (size_t i = 0; i < count; i++)
        energy += (double)values[i] * values[i];
    int error = FDL_OK;
    for (size_t n = 0; n < encodings && error == FDL_OK; n++) {
        draw(code, &m, &random);
        error = there_and_back(code, values, count, &m);
        add(to, values, count, m.estimate, energy);
    }
    free(m.arena), free(m.message), free(m.dither), free(m.estimate);
    return error;
}
