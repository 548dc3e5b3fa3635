/* Integers, most of them small, in few bytes; models on a grid and their changes as such
 * (NUMERICS section 11). */
#include "rans.h"
#include "../net/net.h"
#include "tables.h"

#include <string.h>

#if FDL_WITHOUT_CODEC

size_t fdl_integers_room(size_t count) {
    (void)count;
    return 0;
}

int fdl_write_integers(const int32_t *values, size_t count, uint8_t *out, size_t out_room,
                       size_t *out_len) {
    (void)values, (void)count, (void)out, (void)out_room, (void)out_len;
    return FDL_E_ABSENT;
}

int fdl_read_integers(const uint8_t *message, size_t message_len, int32_t *values, size_t count) {
    (void)message, (void)message_len, (void)values, (void)count;
    return FDL_E_ABSENT;
}

int fdl_read_model(const fdl_layer *layers, size_t layer_count, const int8_t *shifts,
                   const uint8_t *message, size_t message_len, uint8_t *model, size_t model_len) {
    (void)layers, (void)layer_count, (void)shifts, (void)message, (void)message_len, (void)model;
    (void)model_len;
    return FDL_E_ABSENT;
}

#else

#define RUN         1024
#define RUN_BITS    5
#define ZEROS       FDL_CODE_TABLES /* in place of a table: a run of zeros */
#define LEAPS       (ZEROS - 1)     /* a leap is added to it, and comes before the table */
#define MOST_LEAP   (31 - LEAPS)
#define HEADER      8   /* bytes: the states */
#define MOST_LEVELS 256 /* of the tables below */

typedef struct {
    const uint16_t *share; /* of 0, of each sign of a magnitude, of what is beyond */
    uint32_t levels;
} alphabet;

static alphabet alphabet_of(uint32_t table) {
    const fdl_code_table *found = &fdl_code_tables[FDL_SCALAR][table];
    return (alphabet){found->frequency[0], found->levels[0]};
}

/* ---- Writing ---- */

/* Bits in 1/256 of a symbol with such a share; between powers of two on a line. */
static uint32_t cost_of(uint32_t share) {
    uint32_t bits = (uint32_t)fdl_bit_length(share);
    return 256 * (15 - bits) - ((share << 8) >> (bits - 1)) + 256;
}

static uint32_t cost_of_run(alphabet by, const uint16_t count[MOST_LEVELS], uint32_t far) {
    uint32_t cost = 0;
    for (uint32_t k = 0; k < MOST_LEVELS; k++) {
        size_t symbol = smaller(k, by.levels + 1);
        cost += count[k] * (cost_of(by.share[symbol]) + (k > by.levels ? FDL_RAW_BITS * 256 : 0));
    }
    return cost + far * (cost_of(by.share[by.levels + 1]) + FDL_RAW_BITS * 256);
}

/* The largest leap that all values are multiples of. */
static uint32_t leap_of(const int32_t *values, size_t n) {
    uint32_t factor = 0, leap = MOST_LEAP;
    for (size_t i = 0; i < n && factor != 1; i++)
        factor = fdl_common_factor(fdl_magnitude(values[i]), factor);
    while (factor % leap != 0)
        leap--;
    return leap;
}

/* The table of least cost for values in leaps, or ZEROS. */
static uint32_t table_for(const int32_t *values, size_t n, uint32_t leap) {
    uint16_t count[MOST_LEVELS] = {0};
    uint32_t far = 0, best = 0, least = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        uint32_t k = fdl_magnitude(values[i]) / leap;
        if (k < MOST_LEVELS)
            count[k]++;
        else
            far++;
    }
    if (count[0] == n)
        return ZEROS;
    for (uint32_t t = 0; t < FDL_CODE_TABLES; t++) {
        uint32_t cost = cost_of_run(alphabet_of(t), count, far);
        if (cost < least) {
            least = cost;
            best = t;
        }
    }
    return best;
}

/* Number i uses state i & 1, here and in reading. */
static void put_raw(fdl_sink *sink, uint32_t i, uint32_t number, uint32_t bits) {
    sink->state[i & 1] = fdl_put_raw(sink, sink->state[i & 1], number, bits);
}

static void put_symbol(fdl_sink *sink, uint32_t i, uint32_t share, uint32_t before) {
    sink->state[i & 1] = fdl_put_share(sink, sink->state[i & 1], share | before << 16);
}

/* 0: it cannot be written. */
static int put_value(fdl_sink *sink, alphabet by, const uint16_t before[MOST_LEVELS], uint32_t i,
                     int32_t value) {
    uint32_t k = fdl_magnitude(value), sign = value < 0;
    if (k <= by.levels) {
        put_symbol(sink, i, by.share[k], before[k] + (sign ? by.share[k] : 0u));
        return 1;
    }
    uint32_t over = k - by.levels - 1;
    if (over >= 1u << (FDL_RAW_BITS - 1))
        return 0;
    put_raw(sink, i, 2 * over + sign, FDL_RAW_BITS);
    put_symbol(sink, i, by.share[by.levels + 1], before[by.levels + 1]);
    return 1;
}

static int put_run(fdl_sink *sink, const int32_t *values, size_t n, size_t first) {
    uint32_t leap = leap_of(values, n), table = table_for(values, n, leap);
    if (table != ZEROS) {
        alphabet by = alphabet_of(table);
        uint16_t before[MOST_LEVELS] = {0};
        for (uint32_t k = 0; k <= by.levels; k++)
            before[k + 1] = (uint16_t)(before[k] + by.share[k] * (k == 0 ? 1u : 2u));
        for (size_t i = n; i-- > 0;)
            if (!put_value(sink, by, before, (uint32_t)(first + i), values[i] / (int32_t)leap))
                return 0;
    }
    put_raw(sink, 0, table, RUN_BITS);
    if (table != ZEROS && leap > 1)
        put_raw(sink, 0, LEAPS + leap, RUN_BITS);
    return 1;
}

size_t fdl_integers_room(size_t count) {
    return HEADER + 4 + 4 * count + 2 * (count / RUN);
}

int fdl_write_integers(const int32_t *values, size_t count, uint8_t *out, size_t out_room,
                       size_t *out_len) {
    if (values == NULL || out == NULL || out_len == NULL)
        return FDL_E_NULL;
    if (count == 0 || count > FDL_MAX_CODED || out_room < fdl_integers_room(count))
        return FDL_E_LENGTH;
    fdl_sink sink = fdl_start_sink(out + HEADER, out + out_room);
    for (size_t end = count; end > 0;) {
        size_t first = (end - 1) / RUN * RUN;
        if (!put_run(&sink, values + first, end - first, first))
            return FDL_E_CODE;
        end = first;
    }
    size_t words = (size_t)(out + out_room - sink.at);
    memmove(out + HEADER, sink.at, words);
    fdl_write32(out, (int32_t)sink.state[0]);
    fdl_write32(out + 4, (int32_t)sink.state[1]);
    *out_len = HEADER + words;
    return FDL_OK;
}

/* ---- Reading ---- */

typedef struct {
    fdl_source source;
    uint32_t i; /* of the value that comes next */
    uint32_t table;
    uint32_t leap; /* what its values are multiples of */
    uint32_t is_wrong;
} reading;

static reading begin(const uint8_t *message, size_t len) {
    uint32_t even = (uint32_t)fdl_read32(message), odd = (uint32_t)fdl_read32(message + 4);
    return (reading){{{even, odd}, message + HEADER, message + len, 0},
                     0,
                     ZEROS,
                     1,
                     even < FDL_FIRST || odd < FDL_FIRST};
}

static int32_t take_value(reading *r) {
    alphabet by = alphabet_of(r->table);
    uint32_t *state = &r->source.state[r->i & 1], offset = fdl_slot(*state), k = 0, sign = 0;
    while (k <= by.levels && offset >= by.share[k] * (k == 0 ? 1u : 2u)) {
        offset -= by.share[k] * (k == 0 ? 1u : 2u);
        k++;
    }
    if (k > 0 && k <= by.levels && offset >= by.share[k]) {
        offset -= by.share[k];
        sign = 1;
    }
    *state = fdl_take_share(&r->source, *state, by.share[k], offset);
    if (k > by.levels) {
        uint32_t raw = fdl_take_raw(&r->source, state, FDL_RAW_BITS);
        k += raw / 2;
        sign = raw % 2;
    }
    k *= r->leap;
    return sign ? -(int32_t)k : (int32_t)k;
}

static uint32_t take_head(reading *r) {
    return fdl_take_raw(&r->source, &r->source.state[0], RUN_BITS);
}

static void begin_run(reading *r) {
    r->leap = 1;
    r->table = take_head(r);
    if (r->table > ZEROS) {
        r->leap = r->table - LEAPS;
        r->table = take_head(r);
    }
    if (r->table > ZEROS) {
        r->is_wrong = 1;
        r->table = ZEROS;
    }
}

static int32_t next(reading *r) {
    if (r->i % RUN == 0)
        begin_run(r);
    int32_t value = r->table == ZEROS ? 0 : take_value(r);
    r->i++;
    return value;
}

static int is_whole(const reading *r) {
    return !r->is_wrong && fdl_is_whole(&r->source);
}

int fdl_read_integers(const uint8_t *message, size_t message_len, int32_t *values, size_t count) {
    if (message == NULL || values == NULL)
        return FDL_E_NULL;
    if (count == 0 || count > FDL_MAX_CODED)
        return FDL_E_LENGTH;
    if (message_len < HEADER)
        return FDL_E_MESSAGE;
    reading r = begin(message, message_len);
    for (size_t i = 0; i < count; i++)
        values[i] = next(&r);
    return is_whole(&r) ? FDL_OK : FDL_E_MESSAGE;
}

/* ---- Models ---- */

#define WEIGHT_GRID 8
#define BIAS_GRID   6
#define WEIGHT_MOST 63
#define BIAS_MOST   (INT32_MAX >> BIAS_GRID)
#define OFFSET      128     /* stored - master */
#define FAR         1048576 /* beyond the grid */

/* The nearest value of a grid, in its steps, after an exponent grew by `shift`. */
static int32_t steps_of(int32_t value, int32_t shift, int32_t grid, int32_t most) {
    int32_t moved = shift == 0 ? value : fdl_shift(value, shift, FAR);
    return fdl_clamp32(fdl_shift_right(moved, grid), -most, most);
}

static void read_weights(reading *r, uint8_t *model, size_t count, int has_before, int32_t shift) {
    for (uint8_t *at = model; at != model + 2 * count; at += 2) {
        int32_t before = has_before ? fdl_read16(at) - OFFSET : 0;
        int64_t steps = (int64_t)steps_of(before, shift, WEIGHT_GRID, WEIGHT_MOST) + next(r);
        if (steps < -WEIGHT_MOST || steps > WEIGHT_MOST) {
            r->is_wrong = 1;
            steps = 0;
        }
        fdl_write16(at, (int16_t)(steps * (1 << WEIGHT_GRID) + OFFSET));
    }
}

static void read_biases(reading *r, uint8_t *model, size_t count, int has_before) {
    for (uint8_t *at = model; at != model + 4 * count; at += 4) {
        int32_t before = has_before ? fdl_read32(at) : 0;
        int64_t steps = (int64_t)steps_of(before, 0, BIAS_GRID, BIAS_MOST) + next(r);
        if (steps < -BIAS_MOST || steps > BIAS_MOST) {
            r->is_wrong = 1;
            steps = 0;
        }
        fdl_write32(at, (int32_t)(steps * (1 << BIAS_GRID)));
    }
}

static size_t weights_of(const fdl_layer *layer) {
    fdl_part part;
    fdl_shape_part(&part, layer);
    return fdl_part_weights(&part);
}

int fdl_read_model(const fdl_layer *layers, size_t layer_count, const int8_t *shifts,
                   const uint8_t *message, size_t message_len, uint8_t *model, size_t model_len) {
    int error = fdl_check_layers(layers, layer_count);
    if (error)
        return error;
    if (message == NULL || model == NULL)
        return FDL_E_NULL;
    if (model_len != fdl_packed_size(layers, layer_count))
        return FDL_E_LENGTH;
    if (message_len < HEADER)
        return FDL_E_MESSAGE;
    reading r = begin(message, message_len);
    for (size_t l = 0; l < layer_count; l++) {
        size_t count = weights_of(&layers[l]);
        read_weights(&r, model, count, shifts != NULL, shifts == NULL ? 0 : shifts[l]);
        model += 2 * count;
    }
    read_biases(&r, model, fdl_bias_count(layers, layer_count), shifts != NULL);
    return is_whole(&r) ? FDL_OK : FDL_E_MESSAGE;
}

#endif
