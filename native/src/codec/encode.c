/* Values into a message, from the last chain of blocks to the first. */
#include "codec.h"
#include "scale.h"
#include "symbols.h"
#include "trellis.h"
#include "../bytes/bytes.h"
#include "../net/net.h"

#include <string.h>

#if !FDL_WITHOUT_CODEC

#define MOST_PIECES 14 /* of a chain: 7 blocks, and a rest of 6 powers of two and a filled one */

/* The place that is farthest from zero, of equals the first; z = 0: there is none. */
typedef struct {
    size_t place;
    int32_t z;
} peak;

/* What a message is made of. block: a chain; gains: of its pieces */
typedef struct {
    const fdl_kernels *loops;
    const fdl_code *code;
    const int32_t *values;
    const uint16_t *dither;
    int32_t *block;
    int8_t gains[MOST_PIECES];
    fdl_order order;
    fdl_spread spread;
    fdl_sums sums, of_block;
    fdl_scalar scalar;
    fdl_trellis trellis;
    fdl_writer writer;
    peak alone; /* all other places become 0 */
} encoding;

static void gather(const encoding *e, int32_t *block, fdl_piece piece) {
    size_t filled = fdl_filled(piece, e->code->kept);
    e->loops->gather(block, filled, fdl_order_at(e->order, piece.start), e->values);
    memset(block + filled, 0, (piece.length - filled) * sizeof *block);
}

/* Over the values that are kept. */
static void measure(const encoding *e, fdl_measured *measured, int32_t down) {
    size_t kept = e->code->kept;
    if (kept == e->order.count) {
        e->loops->measure(measured, e->values, kept, down);
        return;
    }
    for (size_t start = 0; start < kept; start += FDL_BLOCK) {
        size_t length = smaller(kept - start, FDL_BLOCK);
        e->loops->gather(e->block, length, fdl_order_at(e->order, start), e->values);
        e->loops->measure(measured, e->block, length, down);
    }
}

/* Most values need no shift: then they are read once. */
static void find_spread(encoding *e) {
    fdl_measured measured = {0, 0};
    measure(e, &measured, 0);
    int32_t down = fdl_first_down(measured.magnitude);
    if (down > 0) {
        measured = (fdl_measured){0, 0};
        measure(e, &measured, down);
    }
    e->spread = fdl_find_spread(&measured, down, fdl_places(e->code->kept));
}

static int32_t floor_divide(int32_t a, int32_t b) {
    return a / b - (a % b < 0);
}

static void quantise_dither(encoding *e, int32_t *block, fdl_piece piece) {
    const fdl_code_table *table = fdl_table_of(e->code);
    int32_t step = table->step;
    for (size_t i = 0; i < piece.length; i++) {
        int32_t u = fdl_dither_of(table, e->dither[piece.start + i]);
        int32_t z = block[i];
        int32_t k = floor_divide(z + u + step / 2, step);
        e->of_block.squares += (uint64_t)((int64_t)z * z);
        e->of_block.products += (int64_t)z * fdl_dithered_level(table, k, u);
        block[i] = k;
    }
}

static void quantise(encoding *e, int32_t *block, fdl_piece piece) {
    e->of_block = (fdl_sums){0, 0};
    if (e->code->quantiser == FDL_DITHER)
        quantise_dither(e, block, piece);
#if !FDL_WITHOUT_TRELLIS
    else if (fdl_has_trellis(e->code))
        fdl_go_back(&e->trellis, block, piece.length, &e->of_block);
#endif
    else
        e->loops->quantise(block, piece.length, &e->scalar, &e->of_block);
}

/* Blocks differ in energy: of one with more a quantiser would keep a larger part. */
static int32_t level_out(const encoding *e, int32_t *block, size_t length) {
    uint64_t squares = e->loops->to_spread(block, length, &e->spread.unit);
    int32_t gain = fdl_find_gain(squares, length);
    fdl_unit unit = fdl_gain_unit(gain);
    e->loops->to_spread(block, length, &unit);
    return gain;
}

/* From the first piece of a chain to the last, all ways that quantisation may take. */
static size_t prepare(encoding *e, fdl_piece chain) {
    size_t pieces = 0, kept = e->code->kept;
#if !FDL_WITHOUT_TRELLIS
    if (fdl_has_trellis(e->code))
        fdl_begin_ways(&e->trellis);
#endif
    for (size_t done = 0; done < chain.length; pieces++) {
        fdl_piece piece = fdl_piece_from(chain.start + done, kept);
        int32_t *block = e->block + done;
        gather(e, block, piece);
        e->gains[pieces] = (int8_t)level_out(e, block, piece.length);
        fdl_rotate(block, e->loops, e->code, piece);
#if !FDL_WITHOUT_TRELLIS
        if (fdl_has_trellis(e->code))
            fdl_go_on(&e->trellis, block, piece.length);
#endif
        done += piece.length;
    }
    return pieces;
}

static peak find_peak(encoding *e) {
    peak found = {0, 0};
    for (size_t end = fdl_places(e->code->kept); end > 0;) {
        fdl_piece chain = fdl_chain_before(e->code, end);
        prepare(e, chain);
        for (size_t i = chain.length; i-- > 0;)
            if (fdl_magnitude(e->block[i]) >= fdl_magnitude(found.z))
                found = (peak){chain.start + i, e->block[i]};
        end = chain.start;
    }
    return found;
}

/* Up to the place that is not 0 all are in state 0. */
static uint32_t state_alone(const encoding *e, fdl_register by, size_t start, size_t place) {
    uint32_t state = 0;
    if (e->alone.place < start)
        return state;
    for (size_t i = e->alone.place; i < place; i++)
        state = fdl_next_state(by, state, i == e->alone.place);
    return state;
}

/* As quantise() does it. start: of the piece's chain */
static void keep_alone(encoding *e, int32_t *block, fdl_piece piece, size_t start) {
    const fdl_code_table *table = fdl_table_of(e->code);
    fdl_register by = fdl_register_of(e->code->quantiser);
    uint32_t state = state_alone(e, by, start, piece.start);
    e->of_block = (fdl_sums){0, 0};
    for (size_t i = 0; i < piece.length; i++) {
        int32_t z = block[i], one = piece.start + i == e->alone.place, k = z < 0 ? -one : one;
        e->of_block.squares += (uint64_t)((int64_t)z * z);
        if (one)
            e->of_block.products = (int64_t)fdl_magnitude(z) * fdl_level(table, 0, 1);
        uint32_t q = fdl_subset_of(table->mask, state);
        block[i] = fdl_has_trellis(e->code) ? 2 * k + (int32_t)q : k;
        state = fdl_next_state(by, state, (uint32_t)one);
    }
}

static void encode_blocks(encoding *e) {
    size_t kept = e->code->kept;
    for (size_t end = fdl_places(kept); end > 0;) {
        fdl_piece chain = fdl_chain_before(e->code, end);
        for (size_t pieces = prepare(e, chain); pieces-- > 0;) {
            fdl_piece piece = fdl_piece_before(end, kept);
            int32_t *block = e->block + (piece.start - chain.start);
            if (e->alone.z == 0)
                quantise(e, block, piece);
            else
                keep_alone(e, block, piece, chain.start);
            fdl_add_sums(&e->sums, &e->of_block, e->gains[pieces]);
            fdl_put_block(&e->writer, block, piece.length, e->gains[pieces]);
            end = piece.start;
        }
    }
}

/* The header before the words, which move to the front. */
static size_t finish(const encoding *e, uint32_t scale, uint8_t *out, const uint8_t *end) {
    size_t words = (size_t)(end - e->writer.sink.at);
    memmove(out + FDL_HEADER, e->writer.sink.at, words);
    out[0] = e->code->quantiser;
    fdl_write16(out + 1, (int16_t)scale);
    fdl_write32(out + 3, (int32_t)e->writer.sink.state[0]);
    fdl_write32(out + 7, (int32_t)e->writer.sink.state[1]);
    return FDL_HEADER + words;
}

static size_t levels_size(const fdl_code *code) {
    return (fdl_table_of(code)->levels[0] + 1u) * sizeof(uint32_t);
}

static fdl_scalar scalar_of(const fdl_code_table *table, uint32_t *level) {
    for (uint32_t k = 0; k <= table->levels[0]; k++)
        level[k] = table->level[0][k];
    uint32_t inverse = UINT32_MAX / table->step + 1;
    return (fdl_scalar){level, inverse, table->offset, table->levels[0], 4u * table->step};
}

static void start(encoding *e, void *arena, uint8_t *out, size_t out_room) {
    uint8_t *free = arena;
    e->block = fdl_take(&free, fdl_longest_chain(e->code) * sizeof *e->block);
    void *shares = fdl_take(&free, fdl_writer_size(e->code));
    size_t header = smaller(out_room, FDL_HEADER);
    fdl_start_writer(&e->writer, e->code, shares, out + header, out + out_room);
    if (e->code->quantiser == FDL_SCALAR)
        e->scalar = scalar_of(fdl_table_of(e->code), (void *)free);
#if !FDL_WITHOUT_TRELLIS
    if (fdl_has_trellis(e->code))
        fdl_start_trellis(&e->trellis, e->code, e->loops, free);
#endif
}

/* Where every place became 0: an empty message would leave those values out of the mean. */
static void encode_alone(encoding *e, void *arena, uint8_t *out, size_t out_room) {
    e->alone = find_peak(e);
    e->sums = (fdl_sums){0, 0};
    start(e, arena, out, out_room);
    if (e->alone.z != 0)
        encode_blocks(e);
}

static int encode(encoding *e, void *arena, uint8_t *out, size_t out_room, size_t *out_len) {
    *out_len = 0;
    start(e, arena, out, out_room);
    find_spread(e);
    if (e->spread.factor == 0)
        return FDL_OK;
    encode_blocks(e);
    if (e->sums.products <= 0 && e->code->quantiser != FDL_DITHER)
        encode_alone(e, arena, out, out_room);
    int32_t scale = fdl_scale_word(e->code, e->order.count, &e->spread, &e->sums);
    if (scale < 0)
        return FDL_OK;
    if (e->writer.sink.is_full || out_room < FDL_HEADER)
        return FDL_E_LENGTH;
    *out_len = finish(e, (uint32_t)scale, out, out + out_room);
    return FDL_OK;
}
/* What an encoder needs beside a block. */
static size_t encoding_size(const fdl_code *code) {
    size_t size = fdl_round_up(fdl_writer_size(code));
    if (code->quantiser == FDL_SCALAR)
        size += fdl_round_up(levels_size(code));
#if !FDL_WITHOUT_TRELLIS
    if (fdl_has_trellis(code))
        size += fdl_trellis_size(code);
#endif
    return size;
}
#endif

size_t fdl_code_arena_size(const fdl_code *code, size_t count) {
#if FDL_WITHOUT_CODEC
    (void)code, (void)count;
    return 0;
#else
    if (fdl_check_code(code, count) != FDL_OK)
        return 0;
    size_t writing = encoding_size(code), reading = fdl_reader_size(code);
    size_t block = FDL_BLOCK * sizeof(int32_t), chain = fdl_longest_chain(code) * sizeof(int32_t);
    return chain + writing > block + reading ? chain + writing : block + reading;
#endif
}

int fdl_encode(const fdl_code *code, const int32_t *values, size_t count, const uint16_t *dither,
               size_t dither_count, void *arena, size_t arena_len, uint8_t *out, size_t out_room,
               size_t *out_len) {
#if FDL_WITHOUT_CODEC
    (void)code, (void)values, (void)count, (void)dither, (void)dither_count, (void)arena;
    (void)arena_len, (void)out, (void)out_room, (void)out_len;
    return FDL_E_ABSENT;
#else
    if (values == NULL || out == NULL || out_len == NULL)
        return FDL_E_NULL;
    int error = fdl_check_coding(code, count, dither, dither_count, arena, arena_len,
                                 fdl_code_arena_size(code, count));
    if (error)
        return error;
    encoding e = {.loops = fdl_kernels_here(), .code = code, .values = values, .dither = dither};
    e.order = fdl_start_order(code, count);
    return encode(&e, arena, out, out_room, out_len);
#endif
}
