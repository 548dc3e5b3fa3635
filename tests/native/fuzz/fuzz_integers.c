/* Integers to a message and back, models read from any bytes, and differences as values. */
#include "fuzz.h"

#define MOST_VALUES 3000
#define MOST_BYTES  (1 << 15)
#define BEYOND      16384 /* steps that are always written */
#define WEIGHT_MOST (63 * 256)

typedef struct {
    uint8_t *bytes;
    size_t len;
} message;

/* ---- Integers ---- */

static int32_t *take_values(input *in, size_t count) {
    int32_t *values = new_memory(count * sizeof *values);
    fill(in, values, count * sizeof *values);
    uint32_t fewer = take_below(in, 32);
    for (size_t j = 0; j < count; j++)
        values[j] >>= fewer;
    return values;
}

static int is_small(const int32_t *values, size_t count) {
    for (size_t j = 0; j < count; j++)
        if (values[j] <= -BEYOND || values[j] >= BEYOND)
            return 0;
    return 1;
}

static message write_all(const int32_t *values, size_t count) {
    size_t room = fdl_integers_room(count), len = 0;
    uint8_t *out = new_memory(room);
    int error = fdl_write_integers(values, count, out, room, &len);
    expect(error == FDL_OK || (error == FDL_E_CODE && !is_small(values, count)));
    return (message){new_copy(out, error == FDL_OK ? len : 0), error == FDL_OK ? len : 0};
}

static message check_round_trip(const int32_t *values, size_t count) {
    message m = write_all(values, count);
    if (m.len == 0)
        return m;
    int32_t *got = new_memory(count * sizeof *got);
    expect(fdl_read_integers(m.bytes, m.len, got, count) == FDL_OK);
    expect(memcmp(got, values, count * sizeof *got) == 0);
    expect(fdl_read_integers(m.bytes, m.len - 1, got, count) == FDL_E_MESSAGE);
    return m;
}

static void check_refusals(const int32_t *values, size_t count) {
    size_t len = 7, room = fdl_integers_room(count);
    uint8_t *out = new_memory(room);
    int32_t *got = new_memory(count * sizeof *got);
    expect(fdl_write_integers(NULL, count, out, room, &len) == FDL_E_NULL);
    expect(fdl_write_integers(values, count, NULL, room, &len) == FDL_E_NULL);
    expect(fdl_write_integers(values, count, out, room, NULL) == FDL_E_NULL);
    expect(fdl_write_integers(values, 0, out, room, &len) == FDL_E_LENGTH);
    expect(fdl_write_integers(values, FDL_MAX_CODED + 1, out, room, &len) == FDL_E_LENGTH);
    expect(fdl_write_integers(values, count, out, room - 1, &len) == FDL_E_LENGTH && len == 7);
    expect(fdl_read_integers(NULL, 9, got, count) == FDL_E_NULL);
    expect(fdl_read_integers(out, 9, NULL, count) == FDL_E_NULL);
    expect(fdl_read_integers(out, 7, got, count) == FDL_E_MESSAGE);
    expect(fdl_read_integers(out, 9, got, 0) == FDL_E_LENGTH);
    expect(fdl_read_integers(out, 9, got, FDL_MAX_CODED + 1) == FDL_E_LENGTH);
}

static uint32_t read_state(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* A message with some bytes changed, cut off or more; or one of any bytes. */
static message take_message(input *in, message from) {
    size_t len = take_byte(in) % 4 && from.len > 0 ? from.len : take_below(in, 200);
    message m = {new_memory(len), len};
    fill(in, m.bytes, len);
    if (take_byte(in) % 4)
        memcpy(m.bytes, from.bytes, len < from.len ? len : from.len);
    for (uint32_t changes = take_below(in, 5); changes > 0 && len > 0; changes--)
        m.bytes[take_below(in, (uint32_t)len)] ^= (uint8_t)take_byte(in);
    if (len >= 8 && read_state(m.bytes) >= 65536 && read_state(m.bytes + 4) >= 65536)
        count_past();
    return m;
}

static void check_hostile(message m, size_t count) {
    int32_t *got = new_memory(count * sizeof *got);
    int error = fdl_read_integers(m.bytes, m.len, got, count);
    expect(error == FDL_OK || error == FDL_E_MESSAGE);
}

/* ---- Models ---- */

static void expect_on_grid(const uint8_t *model, size_t weights, size_t biases) {
    for (size_t j = 0; j < weights; j++) {
        int32_t master = (int16_t)(model[2 * j] | model[2 * j + 1] << 8) - 128;
        expect(master % 256 == 0 && master >= -WEIGHT_MOST && master <= WEIGHT_MOST);
    }
    for (size_t j = 0; j < biases; j++)
        expect(model[2 * weights + 4 * j] % 64 == 0);
}

static void check_model(input *in, const fdl_layer *layers, size_t count, message m) {
    size_t size = fdl_packed_size(layers, count);
    int8_t *shifts = new_memory(count);
    fill(in, shifts, count);
    uint8_t *model = new_memory(size);
    fill(in, model, size);
    expect(fdl_read_model(NULL, count, shifts, m.bytes, m.len, model, size) == FDL_E_NULL);
    expect(fdl_read_model(layers, count, shifts, NULL, m.len, model, size) == FDL_E_NULL);
    expect(fdl_read_model(layers, count, shifts, m.bytes, m.len, NULL, size) == FDL_E_NULL);
    expect(fdl_read_model(layers, count, NULL, m.bytes, m.len, model, size + 1) == FDL_E_LENGTH);
    expect(fdl_read_model(layers, count, NULL, m.bytes, 7, model, size) == FDL_E_MESSAGE);
    for (int whole = 0; whole < 2; whole++) {
        int error =
            fdl_read_model(layers, count, whole ? NULL : shifts, m.bytes, m.len, model, size);
        expect(error == FDL_OK || error == FDL_E_MESSAGE);
        if (m.len >= 8)
            expect_on_grid(model, fdl_weight_count(layers, count), fdl_bias_count(layers, count));
    }
}

/* Any model moves to the grid when nothing of it changes. */
static void check_no_change(const fdl_layer *layers, size_t count) {
    size_t values = fdl_weight_count(layers, count) + fdl_bias_count(layers, count);
    int8_t *shifts = new_memory(count);
    memset(shifts, 0, count);
    int32_t *zeros = new_memory(values * sizeof *zeros);
    memset(zeros, 0, values * sizeof *zeros);
    message m = write_all(zeros, values);
    size_t size = fdl_packed_size(layers, count);
    uint8_t *model = new_memory(size), *again = new_memory(size);
    memset(model, 0x5a, size);
    expect(fdl_read_model(layers, count, shifts, m.bytes, m.len, model, size) == FDL_OK);
    memcpy(again, model, size);
    expect(fdl_read_model(layers, count, shifts, m.bytes, m.len, again, size) == FDL_OK);
    expect(memcmp(again, model, size) == 0);
}

/* ---- Differences as values ---- */

static void check_values(input *in, const fdl_layer *layers, size_t count) {
    size_t values = fdl_weight_count(layers, count) + fdl_bias_count(layers, count);
    size_t size = fdl_packed_size(layers, count);
    uint8_t *delta = new_memory(size);
    fill(in, delta, size);
    int32_t *got = new_memory(values * sizeof *got);
    expect(fdl_delta_values(layers, count, NULL, size, got, values) == FDL_E_NULL);
    expect(fdl_delta_values(layers, count, delta, size, NULL, values) == FDL_E_NULL);
    expect(fdl_delta_values(layers, count, delta, size + 1, got, values) == FDL_E_LENGTH);
    expect(fdl_delta_values(layers, count, delta, size, got, values + 1) == FDL_E_LENGTH);
    expect(fdl_own_units(layers, count, NULL, values) == FDL_E_NULL);
    expect(fdl_own_units(layers, count, got, values + 1) == FDL_E_LENGTH);
    expect(fdl_delta_values(layers, count, delta, size, got, values) == FDL_OK);
    expect(fdl_own_units(layers, count, got, values) == FDL_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    size_t count = 1 + take_below(&in, MOST_VALUES), layer_count;
    int32_t *values = take_values(&in, count);
    message right = check_round_trip(values, count), wrong = take_message(&in, right);
    check_refusals(values, count);
    check_hostile(wrong, count);
    fdl_layer *layers = take_layers(&in, &layer_count);
    if (fdl_check_layers(layers, layer_count) == FDL_OK &&
        fdl_packed_size(layers, layer_count) - 1 < MOST_BYTES) {
        check_model(&in, layers, layer_count, wrong);
        check_no_change(layers, layer_count);
        check_values(&in, layers, layer_count);
    }
    free_memory();
    return 0;
}
