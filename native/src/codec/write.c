/* Symbols into words. */
#include "symbols.h"

#if !FDL_WITHOUT_CODEC

const uint16_t fdl_gain_frequency[FDL_GAIN_LEVELS + 2] = {
    12000, 900, 400, 250, 150, 100, 80, 60, 50, 40, 32, 26, 20, 16, 12, 10, 92};

#define GAIN_SHARES (2 * FDL_GAIN_LEVELS + 1)

static uint32_t subsets_of(const fdl_code *code) {
    return fdl_has_trellis(code) ? 2 : 1;
}

static uint32_t reach_of(uint32_t subsets, const uint16_t levels[2]) {
    uint32_t most = levels[0];
    if (subsets == 2 && levels[1] > most)
        most = levels[1];
    return subsets * most + subsets - 1;
}

size_t fdl_writer_size(const fdl_code *code) {
    uint32_t reach = reach_of(subsets_of(code), fdl_table_of(code)->levels);
    return (2 * reach + 1 + GAIN_SHARES) * sizeof(fdl_share);
}

/* The shares of a subset, in the order of their slots: 0, 1, -1, 2, -2, ..., the escape. */
static void share_out(fdl_alphabet *alphabet, uint32_t q, const uint16_t *frequency) {
    int32_t n = (int32_t)alphabet->subsets, levels = alphabet->levels[q];
    fdl_share *middle = alphabet->shares + alphabet->reach + q;
    uint32_t before = frequency[0];
    middle[0] = frequency[0];
    for (int32_t k = 1; k <= levels; k++) {
        middle[n * k] = frequency[k] | before << 16;
        before += frequency[k];
        middle[-n * k] = frequency[k] | before << 16;
        before += frequency[k];
    }
    alphabet->escape[q] = frequency[levels + 1] | before << 16;
}

static void start_alphabet(fdl_alphabet *alphabet, fdl_share *shares, uint32_t subsets,
                           const uint16_t levels[2], const uint16_t *const frequency[2]) {
    *alphabet =
        (fdl_alphabet){shares, {0, 0}, subsets, reach_of(subsets, levels), {levels[0], levels[1]}};
    for (uint32_t i = 0; i <= 2 * alphabet->reach; i++)
        shares[i] = 0;
    for (uint32_t q = 0; q < subsets; q++)
        share_out(alphabet, q, frequency[q]);
}

void fdl_start_writer(fdl_writer *writer, const fdl_code *code, void *memory, uint8_t *start,
                      uint8_t *end) {
    static const uint16_t levels[2] = {FDL_GAIN_LEVELS, FDL_GAIN_LEVELS};
    const fdl_code_table *table = fdl_table_of(code);
    fdl_share *shares = memory;
    const uint16_t *const frequency[2] = {fdl_gain_frequency, fdl_gain_frequency};
    start_alphabet(&writer->gains, shares, 1, levels, frequency);
    start_alphabet(&writer->values, shares + GAIN_SHARES, subsets_of(code), table->levels,
                   table->frequency);
    writer->sink = fdl_start_sink(start, end);
}

/* What has no symbol of its own, as a number after the escape. */
static uint32_t put_escaped(fdl_writer *writer, const fdl_alphabet *alphabet, uint32_t state,
                            int32_t value) {
    uint32_t q = alphabet->subsets == 2 ? (uint32_t)value & 1 : 0;
    int32_t k = alphabet->subsets == 2 ? value >> 1 : value;
    uint32_t over = fdl_magnitude(k) - alphabet->levels[q] - 1;
    uint32_t raw = (uint32_t)smaller(2 * over + (k < 0), (1u << FDL_RAW_BITS) - 1);
    state = fdl_put_raw(&writer->sink, state, raw, FDL_RAW_BITS);
    return fdl_put_share(&writer->sink, state, alphabet->escape[q]);
}

/* A value whose share is 0 or has no room. */
FDL_NOINLINE static uint32_t put_slowly(fdl_writer *writer, const fdl_alphabet *alphabet,
                                        uint32_t state, int32_t value, fdl_share share) {
    if (share == 0)
        return put_escaped(writer, alphabet, state, value);
    return fdl_add_share(fdl_put_word(&writer->sink, state), share);
}

/* A share of 0 has no room. `reach` is the alphabet's, in a register. */
static INLINE uint32_t put_value(fdl_writer *writer, const fdl_alphabet *alphabet, uint32_t state,
                                 int32_t value, const fdl_share *shares, uint32_t reach) {
    uint32_t i = (uint32_t)value + reach;
    fdl_share share = i <= 2 * reach ? shares[i] : 0;
    if (fdl_has_room(state, share))
        return fdl_add_share(state, share);
    return put_slowly(writer, alphabet, state, value, share);
}

void fdl_put_block(fdl_writer *writer, const int32_t *values, size_t length, int32_t gain) {
    uint32_t even = writer->sink.state[0], odd = writer->sink.state[1];
    const fdl_alphabet *of = &writer->values, *gains = &writer->gains;
    const fdl_share *shares = of->shares;
    uint32_t reach = of->reach;
    for (const int32_t *at = values + length; at != values; at -= 2) {
        odd = put_value(writer, of, odd, at[-1], shares, reach);
        even = put_value(writer, of, even, at[-2], shares, reach);
    }
    writer->sink.state[0] = put_value(writer, gains, even, gain, gains->shares, gains->reach);
    writer->sink.state[1] = odd;
}

#endif
