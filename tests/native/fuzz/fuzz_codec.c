/* Values to a message and back with any code, and messages that no encoder wrote. */
#include "fuzz.h"

#define MOST_VALUES 3000
#define QUANTISERS  4
#define TABLES      22

/* A case: a code of `count` values, and what calls with it need. */
typedef struct {
    fdl_code code;
    size_t count, arena_len, dither_count;
    int32_t *values;
    uint16_t *dither;
    void *arena;
} scene;

static scene take_scene(input *in) {
    scene s = {.count = 1 + take_below(in, MOST_VALUES)};
    s.code.quantiser = (uint8_t)take_below(in, QUANTISERS);
    s.code.table = (uint8_t)take_below(in, TABLES);
    s.code.kept = take_byte(in) % 2 ? (uint32_t)s.count : 1 + take_below(in, (uint32_t)s.count);
    s.code.seed[0] = take_word(in);
    s.code.seed[1] = take_word(in);
    s.values = new_memory(s.count * sizeof *s.values);
    fill(in, s.values, s.count * sizeof *s.values);
    uint32_t fewer = take_below(in, 32);
    for (size_t j = 0; j < s.count; j++)
        s.values[j] >>= fewer;
    if (s.code.quantiser == FDL_DITHER)
        s.dither_count = fdl_code_places(&s.code, s.count);
    s.dither = new_memory(s.dither_count * sizeof *s.dither);
    fill(in, s.dither, s.dither_count * sizeof *s.dither);
    if (s.dither_count == 0)
        s.dither = NULL;
    s.arena_len = fdl_code_arena_size(&s.code, s.count);
    s.arena = new_memory(s.arena_len);
    return s;
}

/* ---- Calls ---- */

typedef struct {
    uint8_t *bytes;
    size_t len;
} message;

static int encode(const scene *s, uint8_t *out, size_t room, size_t *len) {
    return fdl_encode(&s->code, s->values, s->count, s->dither, s->dither_count, s->arena,
                      s->arena_len, out, room, len);
}

static int decode(const scene *s, const message *m, int32_t *estimate) {
    return fdl_decode(&s->code, m->bytes, m->len, s->dither, s->dither_count, s->arena,
                      s->arena_len, estimate, s->count);
}

/* In memory of its own length. */
static message encode_all(const scene *s) {
    size_t room = fdl_encoded_room(&s->code, s->count), len = room + 1;
    uint8_t *out = new_memory(room);
    expect(encode(s, out, room, &len) == FDL_OK && len <= room);
    return (message){new_copy(out, len), len};
}

/* ---- What must hold ---- */

/* Each table of inner loops writes and reads the same, in no more room than it takes. */
static message check_round_trip(const scene *s) {
    size_t tables = use_table(0);
    message first = encode_all(s);
    int32_t *wanted = new_memory(s->count * sizeof *wanted);
    expect(decode(s, &first, wanted) == FDL_OK);
    for (size_t t = 1; t < tables; t++) {
        use_table(t);
        message again = encode_all(s);
        expect(again.len == first.len && memcmp(again.bytes, first.bytes, first.len) == 0);
        int32_t *got = new_memory(s->count * sizeof *got);
        expect(decode(s, &first, got) == FDL_OK);
        expect(memcmp(got, wanted, s->count * sizeof *got) == 0);
    }
    size_t len;
    expect(encode(s, new_memory(first.len), first.len, &len) == FDL_OK && len == first.len);
    if (first.len > 0)
        expect(encode(s, new_memory(first.len - 1), first.len - 1, &len) == FDL_E_LENGTH);
    return first;
}

static uint32_t read_state(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static int header_is_right(const scene *s, const message *m) {
    return m->len >= 11 && m->bytes[0] == s->code.quantiser && read_state(m->bytes + 3) >= 65536 &&
           read_state(m->bytes + 7) >= 65536;
}

/* Any bytes are read or refused, by all tables alike. */
static void check_hostile(const scene *s, const message *m) {
    size_t tables = use_table(0), size = s->count * sizeof(int32_t);
    int32_t *wanted = new_memory(size);
    int error = decode(s, m, wanted);
    expect(error == FDL_OK || error == FDL_E_MESSAGE);
    if (header_is_right(s, m))
        count_past();
    else
        expect(error == (m->len == 0 ? FDL_OK : FDL_E_MESSAGE));
    for (size_t t = 1; t < tables; t++) {
        int32_t *got = new_memory(size);
        use_table(t);
        expect(decode(s, m, got) == error);
        expect(error != FDL_OK || memcmp(got, wanted, size) == 0);
    }
}

/* A message with some bytes changed, cut off or more; or one of any bytes. */
static message take_message(input *in, const message *from) {
    size_t len =
        take_byte(in) % 4 ? from->len : from->len * take_byte(in) / 256 + take_below(in, 9);
    message m = {new_memory(len), len};
    if (take_byte(in) % 4 == 0)
        fill(in, m.bytes, len);
    else
        memcpy(m.bytes, from->bytes, len < from->len ? len : from->len);
    for (uint32_t changes = take_below(in, 5); changes > 0 && len > 0; changes--)
        m.bytes[take_below(in, len < 65536 ? (uint32_t)len : 65536)] ^= (uint8_t)take_byte(in);
    if (take_byte(in) % 8 && len > 0)
        m.bytes[0] = from->len > 0 ? from->bytes[0] : 0;
    return m;
}

/* One thing that is wrong. */
static void check_refusals(input *in, scene s) {
    size_t len = 7;
    uint8_t out[1];
    int error = FDL_E_CODE;
    switch (take_below(in, 6)) {
    case 0:
        s.code.quantiser = QUANTISERS;
        break;
    case 1:
        s.code.table = TABLES;
        break;
    case 2:
        s.code.kept = take_byte(in) % 2 ? 0 : (uint32_t)s.count + 1;
        break;
    case 3:
        s.arena_len--;
        error = FDL_E_ARENA;
        break;
    case 4:
        s.dither_count++;
        error = FDL_E_LENGTH;
        break;
    default:
        s.count = take_byte(in) % 2 ? 0 : FDL_MAX_CODED + 1;
        error = FDL_E_LENGTH;
    }
    message none = {NULL, 0};
    int32_t estimate[1];
    expect(encode(&s, out, 1, &len) == error && len == 7);
    expect(decode(&s, &none, estimate) == error);
}

/* Few bytes of a case are a budget of a code. */
static void check_choice(input *in) {
    fdl_code code = {.seed = {5, 6}};
    uint32_t quantiser = take_below(in, QUANTISERS + 1);
    size_t count = take_word(in) >> take_below(in, 32), bytes = take_word(in);
    int error = fdl_choose_code((uint8_t)quantiser, count, bytes, &code);
    if (quantiser >= QUANTISERS || count < 1 || count > FDL_MAX_CODED) {
        expect(error == FDL_E_CODE || error == FDL_E_LENGTH);
        return;
    }
    expect(error == FDL_OK && code.seed[0] == 5 && code.seed[1] == 6);
    expect(code.quantiser == quantiser && code.table < TABLES);
    expect(code.kept >= 1 && code.kept <= count);
    expect(fdl_code_places(&code, count) >= code.kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    scene s = take_scene(&in);
    message right = check_round_trip(&s), wrong = take_message(&in, &right);
    check_hostile(&s, &wrong);
    check_refusals(&in, s);
    check_choice(&in);
    free_memory();
    return 0;
}
