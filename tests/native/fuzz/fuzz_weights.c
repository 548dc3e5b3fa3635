/* Weights as bytes: unpack, pack, checksum, pull and delta. */
#include "fuzz.h"

#define MOST_BYTES (1 << 15)

static int32_t read_int(const uint8_t *at, size_t size) {
    uint32_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return size == 2 ? (int16_t)value : (int32_t)value;
}

/* CRC-32, bit by bit. */
static uint32_t crc_of(const uint8_t *bytes, size_t size) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void check_round_trip(fdl_net *net, const uint8_t *packed, size_t size) {
    expect(fdl_unpack_weights(net, packed, size) == FDL_OK);
    expect(memcmp(pack(net), packed, size) == 0);
    expect(checksum(net) == crc_of(packed, size));
}

/* Lengths, counts and pointers that are wrong by a little are refused and change nothing. */
static void check_refusals(fdl_net *net, const uint8_t *packed, size_t size) {
    uint32_t before = checksum(net), crc = 0;
    uint8_t *out = new_memory(size);
    expect(fdl_unpack_weights(net, packed, size - 1) == FDL_E_LENGTH);
    expect(fdl_unpack_weights(net, packed, size + 1) == FDL_E_LENGTH);
    expect(fdl_unpack_weights(net, NULL, size) == FDL_E_NULL);
    expect(fdl_unpack_weights(NULL, packed, size) == FDL_E_NULL);
    expect(fdl_pack_weights(net, out, size - 1) == FDL_E_LENGTH);
    expect(fdl_pack_weights(net, NULL, size) == FDL_E_NULL);
    expect(fdl_pack_weights(NULL, out, size) == FDL_E_NULL);
    expect(fdl_pull(net, packed, size - 1, 1) == FDL_E_LENGTH);
    expect(fdl_pull(net, NULL, size, 1) == FDL_E_NULL);
    expect(fdl_pull(NULL, packed, size, 1) == FDL_E_NULL);
    expect(fdl_pull(net, packed, size, 0) == FDL_E_RATE);
    expect(fdl_pull(net, packed, size, 65536) == FDL_E_RATE);
    expect(fdl_checksum(net, NULL) == FDL_E_NULL);
    expect(fdl_checksum(NULL, &crc) == FDL_E_NULL && crc == 0);
    expect(checksum(net) == before);
}

static void check_delta_refusals(const fdl_net *net, const uint8_t *packed, size_t size) {
    const fdl_layer *layers = net->layers;
    size_t count = net->layer_count;
    uint8_t *out = new_copy(packed, size);
    uint32_t s = 99;
    expect(fdl_delta(NULL, count, packed, size, packed, size, out, size, &s) == FDL_E_NULL);
    expect(fdl_delta(layers, count, NULL, size, packed, size, out, size, &s) == FDL_E_NULL);
    expect(fdl_delta(layers, count, packed, size, NULL, size, out, size, &s) == FDL_E_NULL);
    expect(fdl_delta(layers, count, packed, size, packed, size, NULL, size, &s) == FDL_E_NULL);
    expect(fdl_delta(layers, count, packed, size, packed, size, out, size, NULL) == FDL_E_NULL);
    expect(fdl_delta(layers, count, packed, size - 1, packed, size, out, size, &s) == FDL_E_LENGTH);
    expect(fdl_delta(layers, count, packed, size, packed, size + 1, out, size, &s) == FDL_E_LENGTH);
    expect(fdl_delta(layers, count, packed, size, packed, size, out, size - 1, &s) == FDL_E_LENGTH);
    expect(memcmp(out, packed, size) == 0 && s == 99);
}

/* A value of a net before, after and pulled; the difference cut to its type. */
static uint32_t check_value(const uint8_t *before, const uint8_t *after, const uint8_t *delta,
                            size_t size) {
    int64_t change = (int64_t)read_int(after, size) - read_int(before, size);
    int64_t most = size == 2 ? INT16_MAX : INT32_MAX, kept = read_int(delta, size);
    if (change > most)
        expect(kept == most);
    else if (change < -most - 1)
        expect(kept == -most - 1);
    else
        expect(kept == change);
    return kept != change;
}

static void check_delta(const fdl_net *net, const uint8_t *before, const uint8_t *after,
                        size_t size) {
    uint8_t *delta = new_memory(size), *in_place = new_copy(after, size);
    uint32_t saturated = 0, again = 0, expected = 0;
    expect(fdl_delta(net->layers, net->layer_count, before, size, after, size, delta, size,
                     &saturated) == FDL_OK);
    expect(fdl_delta(net->layers, net->layer_count, before, size, in_place, size, in_place, size,
                     &again) == FDL_OK);
    expect(memcmp(delta, in_place, size) == 0 && saturated == again);
    size_t weights = 2 * fdl_weight_count(net->layers, net->layer_count);
    for (size_t j = 0; j < size; j += j < weights ? 2 : 4)
        expected += check_value(before + j, after + j, delta + j, j < weights ? 2 : 4);
    expect(saturated == expected);
}

/* What a pull moves lies between where it was and where it is pulled to. */
static void check_pull(fdl_net *net, const uint8_t *start, size_t size, uint32_t pull) {
    const uint8_t *before = pack(net);
    expect(fdl_pull(net, start, size, pull) == FDL_OK);
    const uint8_t *after = pack(net);
    size_t weights = 2 * fdl_weight_count(net->layers, net->layer_count);
    for (size_t j = 0; j < size; j += j < weights ? 2 : 4) {
        size_t bytes = j < weights ? 2 : 4;
        int32_t a = read_int(before + j, bytes), b = read_int(after + j, bytes),
                c = read_int(start + j, bytes);
        expect(a <= c ? a <= b && b <= c : c <= b && b <= a);
    }
    uint32_t pulled = checksum(net);
    expect(fdl_pull(net, after, size, pull) == FDL_OK);
    expect(checksum(net) == pulled);
}

static void check_refused(const fdl_layer *layers, size_t count, int error) {
    uint8_t bytes[4] = {0};
    uint32_t saturated;
    expect(fdl_delta(layers, count, bytes, 4, bytes, 4, bytes, 4, &saturated) == error);
}

static void check_layers(input *in, const fdl_layer *layers, size_t count) {
    size_t size = fdl_packed_size(layers, count);
    if (size > MOST_BYTES)
        return;
    fdl_net net = take_net(in, layers, count);
    int error = fdl_check_net(&net);
    uint8_t *packed = new_memory(size), *start = new_memory(size);
    fill(in, packed, size);
    fill(in, start, size);
    if (error) { /* the loss */
        expect(fdl_unpack_weights(&net, packed, size) == error);
        expect(fdl_pack_weights(&net, packed, size) == error);
        return;
    }
    check_round_trip(&net, packed, size);
    check_refusals(&net, packed, size);
    check_delta_refusals(&net, packed, size);
    check_delta(&net, start, packed, size);
    check_pull(&net, start, size, 1 + take_below(in, 65535));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    size_t count;
    use_table(0);
    const fdl_layer *layers = take_layers(&in, &count);
    int error = fdl_check_layers(layers, count);
    if (error) {
        check_refused(layers, count, error);
    } else {
        count_past();
        check_layers(&in, layers, count);
    }
    free_memory();
    return 0;
}
