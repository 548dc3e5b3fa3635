/* Values to elements of any ring, messages of any bytes, sums of any integers back to a mean. */
#include "fuzz.h"

#define MOST_VALUES 3000

/* A case: a ring of `count` values, and what calls with it need. */
typedef struct {
    fdl_ring ring;
    size_t count, elements;
    int32_t *values, *totals;
    uint8_t *dither;
    void *arena;
} scene;

static int32_t *take_words(input *in, size_t count) {
    int32_t *words = new_memory(count * sizeof *words);
    fill(in, words, count * sizeof *words);
    uint32_t fewer = take_below(in, 32);
    for (size_t j = 0; j < count; j++)
        words[j] >>= fewer;
    return words;
}

static scene take_scene(input *in) {
    scene s = {.count = 1 + take_below(in, MOST_VALUES)};
    s.ring.bits = (uint8_t)(FDL_LEAST_RING_BITS + take_below(in, 9));
    s.ring.step = (uint16_t)(8192 + take_below(in, 57344));
    s.ring.kept = (uint16_t)(1 + take_below(in, 1024));
    s.ring.seed[0] = take_word(in);
    s.ring.seed[1] = take_word(in);
    s.values = take_words(in, s.count);
    s.elements = fdl_ring_elements(&s.ring, s.count);
    expect(s.elements > 0 && s.elements < s.count + 16);
    s.totals = take_words(in, s.elements);
    s.dither = new_memory(s.elements);
    fill(in, s.dither, s.elements);
    s.arena = new_memory(FDL_RING_ARENA);
    return s;
}

/* ---- Calls ---- */

static int encode(const scene *s, uint32_t share, uint16_t *elements) {
    return fdl_ring_encode(&s->ring, s->values, s->count, share, s->dither, s->arena,
                           FDL_RING_ARENA, elements, s->elements);
}

static int decode(const scene *s, uint32_t weight, int32_t *estimate) {
    return fdl_ring_decode(&s->ring, s->totals, s->elements, weight, s->arena, FDL_RING_ARENA,
                           estimate, s->count);
}

/* ---- What must hold ---- */

/* Each table of inner loops gives the same. */
static uint16_t *check_tables(const scene *s, uint32_t share, uint32_t weight) {
    size_t size = s->elements * sizeof(uint16_t), read = s->count * sizeof(int32_t);
    uint16_t *elements = new_memory(size), *again = new_memory(size);
    int32_t *mean = new_memory(read), *other = new_memory(read);
    size_t tables = use_table(0);
    expect(encode(s, share, elements) == FDL_OK && decode(s, weight, mean) == FDL_OK);
    for (size_t t = 1; t < tables; t++) {
        use_table(t);
        expect(encode(s, share, again) == FDL_OK && memcmp(elements, again, size) == 0);
        expect(decode(s, weight, other) == FDL_OK && memcmp(mean, other, read) == 0);
    }
    return elements;
}

/* A message adds what was packed, and is the only one that does. */
static void check_messages(const scene *s, const uint16_t *elements) {
    size_t len = fdl_ring_bytes(&s->ring, s->elements);
    uint8_t *message = new_memory(len);
    uint16_t *sum = new_memory(s->elements * sizeof *sum);
    memset(sum, 0, s->elements * sizeof *sum);
    expect(fdl_ring_pack(&s->ring, elements, s->elements, message, len) == FDL_OK);
    expect(fdl_ring_add(&s->ring, message, len, sum, s->elements) == FDL_OK);
    expect(memcmp(sum, elements, s->elements * sizeof *sum) == 0);
    expect(fdl_ring_add(&s->ring, message, len - 1, sum, s->elements) == FDL_E_LENGTH);
    expect(fdl_ring_pack(&s->ring, elements, s->elements, message, len - 1) == FDL_E_LENGTH);
}

/* Any bytes are elements or are refused. */
static void check_hostile(input *in, const scene *s) {
    size_t len = fdl_ring_bytes(&s->ring, s->elements);
    uint8_t *message = new_memory(len), *back = new_memory(len);
    uint16_t *sum = new_memory(s->elements * sizeof *sum);
    memset(sum, 0, s->elements * sizeof *sum);
    fill(in, message, len);
    if (take_byte(in) % 4)
        message[len - 1] = 0;
    int error = fdl_ring_add(&s->ring, message, len, sum, s->elements);
    expect(error == FDL_OK || error == FDL_E_MESSAGE);
    if (error != FDL_OK)
        return;
    count_past();
    for (size_t i = 0; i < s->elements; i++)
        expect(sum[i] >> s->ring.bits == 0);
    expect(fdl_ring_pack(&s->ring, sum, s->elements, back, len) == FDL_OK);
    expect(memcmp(back, message, len) == 0);
}

/* One thing that is wrong. */
static void check_refusals(input *in, scene s) {
    uint16_t elements[1];
    int32_t estimate[1];
    uint32_t share = take_below(in, 32769), weight = 1;
    int error = FDL_E_CODE, is_ring = 0;
    switch (take_below(in, 6)) {
    case 0:
        s.ring.bits = take_byte(in) % 2 ? FDL_LEAST_RING_BITS - 1 : FDL_MOST_RING_BITS + 1;
        break;
    case 1:
        s.ring.step = (uint16_t)take_below(in, 8192);
        break;
    case 2:
        s.ring.kept = take_byte(in) % 2 ? 0 : 1025;
        break;
    case 3:
        s.count = take_byte(in) % 2 ? 0 : FDL_MAX_CODED + 1;
        error = FDL_E_LENGTH;
        break;
    case 4:
        s.elements++;
        error = FDL_E_LENGTH;
        is_ring = 1;
        break;
    default:
        share = 32769 + take_word(in) % 1000;
        weight = 0;
        is_ring = 1;
    }
    expect(is_ring == (fdl_ring_elements(&s.ring, s.count) > 0));
    expect(encode(&s, share, elements) == error);
    expect(decode(&s, weight, estimate) == error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    scene s = take_scene(&in);
    uint32_t share = take_below(&in, 32769), weight = take_word(&in) | 1u;
    check_messages(&s, check_tables(&s, share, weight));
    check_hostile(&in, &s);
    check_refusals(&in, s);
    free_memory();
    return 0;
}
