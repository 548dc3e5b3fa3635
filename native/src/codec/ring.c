/* Values into elements of a ring, of which sums can be read and single ones need not be (NUMERICS
 * section 12). */
#include "codec.h"
#include "scale.h"
#include "../net/net.h"

#include <string.h>

#define LEAST_EXPONENT 8
#define MOST_SHARE     32768
#define MOST_VALUE     1048576 /* in 1/256 of a step, before the rotation */
#define MOST_TOTAL     524288  /* in 1/16 of a step */
#define TOTAL_SHIFT    5       /* from 1/512 */
#define MOST_SHIFT     54
#define LEAST_SHIFT    (-27)

static int check_ring(const fdl_ring *ring, size_t count) {
    if (FDL_WITHOUT_CODEC)
        return FDL_E_ABSENT;
    if (ring == NULL)
        return FDL_E_NULL;
    if (count < 1 || count > FDL_MAX_CODED)
        return FDL_E_LENGTH;
    if (ring->bits < FDL_LEAST_RING_BITS || ring->bits > FDL_MOST_RING_BITS)
        return FDL_E_CODE;
    if (ring->kept < 1 || ring->kept > FDL_BLOCK || ring->step < LEAST_EXPONENT * 1024)
        return FDL_E_CODE;
    return FDL_OK;
}

#if !FDL_WITHOUT_CODEC

/* What both directions walk over: all values, in the order of the round. */
typedef struct {
    const fdl_kernels *loops;
    fdl_code code;
    fdl_order order;
    uint32_t kept; /* of 1,024 */
    int32_t *block;
} walk;

static walk start(const fdl_ring *ring, size_t count, void *arena) {
    uint8_t *free = arena;
    walk w = {.loops = fdl_kernels_here(), .kept = ring->kept};
    w.code = (fdl_code){FDL_DITHER, 0, (uint32_t)count, {ring->seed[0], ring->seed[1]}};
    w.order = fdl_start_order(&w.code, count);
    w.block = fdl_take(&free, FDL_BLOCK * sizeof *w.block);
    return w;
}

/* Places of a block that are sent. */
static size_t sent_of(size_t length, uint32_t kept) {
    return (length * kept + FDL_BLOCK - 1) / FDL_BLOCK;
}

static uint32_t mantissa_of(const fdl_ring *ring) {
    return 1024 + ring->step % 1024u;
}

/* ---- Into the ring ---- */

/* What a value is multiplied with, and by how much the product is shifted, to be in 1/256 of a
 * step. */
typedef struct {
    int32_t factor, shift;
} into_steps;

static into_steps find_steps(const fdl_ring *ring, uint32_t share) {
    int32_t factor = (int32_t)(((uint64_t)share << 25) / mantissa_of(ring));
    return (into_steps){factor, ring->step / 1024 - LEAST_EXPONENT};
}

static int32_t in_steps(int32_t value, into_steps by) {
    int64_t product = (int64_t)value * by.factor;
    if (by.shift > 0)
        product = ((product >> (by.shift - 1)) + 1) >> 1;
    return (int32_t)fdl_clamp64(product, -MOST_VALUE, MOST_VALUE);
}

static void load(const walk *w, fdl_piece piece, const int32_t *values, into_steps by) {
    size_t filled = fdl_filled(piece, w->code.kept);
    w->loops->gather(w->block, filled, fdl_order_at(w->order, piece.start), values);
    for (size_t i = 0; i < filled; i++)
        w->block[i] = in_steps(w->block[i], by);
    memset(w->block + filled, 0, (piece.length - filled) * sizeof *w->block);
}

static void encode(const walk *w, const int32_t *values, into_steps by, const uint8_t *dither,
                   uint32_t mask, uint16_t *elements) {
    for (size_t place = 0; place < w->code.kept;) {
        fdl_piece piece = fdl_piece_from(place, w->code.kept);
        load(w, piece, values, by);
        fdl_rotate(w->block, w->loops, &w->code, piece);
        size_t sent = sent_of(piece.length, w->kept);
        for (size_t i = 0; i < sent; i++)
            *elements++ = (uint16_t)((uint32_t)((w->block[i] + *dither++) >> 8) & mask);
        place += piece.length;
    }
}

/* ---- Back, of a sum ---- */

/* From a total to an estimate in 1/256 of a value's unit. */
static fdl_gain find_gain(const fdl_ring *ring, size_t length, size_t sent, uint32_t weight) {
    fdl_quotient of = fdl_divide((uint64_t)mantissa_of(ring) * length, (uint64_t)sent * weight);
    int32_t shift = of.e + 15 - ring->step / 1024;
    return (fdl_gain){(int32_t)((of.h + 32) >> 6), fdl_clamp32(shift, LEAST_SHIFT, MOST_SHIFT)};
}

static void unload(const walk *w, fdl_piece piece, const int32_t *totals, size_t sent) {
    for (size_t i = 0; i < sent; i++) {
        int32_t total = ((totals[i] >> (TOTAL_SHIFT - 1)) + 1) >> 1;
        w->block[i] = fdl_clamp32(total, -MOST_TOTAL, MOST_TOTAL);
    }
    memset(w->block + sent, 0, (piece.length - sent) * sizeof *w->block);
}

static void decode(const walk *w, const fdl_ring *ring, const int32_t *totals, uint32_t weight,
                   int32_t *estimate) {
    for (size_t place = 0; place < w->code.kept;) {
        fdl_piece piece = fdl_piece_from(place, w->code.kept);
        size_t sent = sent_of(piece.length, w->kept);
        unload(w, piece, totals, sent);
        fdl_rotate_back(w->block, w->loops, &w->code, piece);
        w->loops->scatter(estimate, fdl_order_at(w->order, place), w->block,
                          fdl_filled(piece, w->code.kept),
                          find_gain(ring, piece.length, sent, weight));
        totals += sent;
        place += piece.length;
    }
}
#endif

/* ---- Calls ---- */

size_t fdl_ring_elements(const fdl_ring *ring, size_t count) {
    size_t elements = 0;
#if !FDL_WITHOUT_CODEC
    if (check_ring(ring, count) != FDL_OK)
        return 0;
    for (size_t place = 0; place < count;) {
        fdl_piece piece = fdl_piece_from(place, count);
        elements += sent_of(piece.length, ring->kept);
        place += piece.length;
    }
#else
    (void)ring, (void)count;
#endif
    return elements;
}

int fdl_ring_encode(const fdl_ring *ring, const int32_t *values, size_t count, uint32_t share,
                    const uint8_t *dither, void *arena, size_t arena_len, uint16_t *elements,
                    size_t element_count) {
    int error = check_ring(ring, count);
    if (error)
        return error;
#if FDL_WITHOUT_CODEC
    (void)values, (void)share, (void)dither, (void)arena, (void)arena_len, (void)elements;
    (void)element_count;
#else
    if (values == NULL || dither == NULL || elements == NULL)
        return FDL_E_NULL;
    if (share > MOST_SHARE)
        return FDL_E_CODE;
    if (element_count != fdl_ring_elements(ring, count))
        return FDL_E_LENGTH;
    error = fdl_check_arena(arena, arena_len, FDL_RING_ARENA);
    if (error)
        return error;
    walk w = start(ring, count, arena);
    encode(&w, values, find_steps(ring, share), dither, (1u << ring->bits) - 1, elements);
#endif
    return FDL_OK;
}

int fdl_ring_decode(const fdl_ring *ring, const int32_t *totals, size_t total_count,
                    uint32_t weight, void *arena, size_t arena_len, int32_t *estimate,
                    size_t count) {
    int error = check_ring(ring, count);
    if (error)
        return error;
#if FDL_WITHOUT_CODEC
    (void)totals, (void)total_count, (void)weight, (void)arena, (void)arena_len, (void)estimate;
#else
    if (totals == NULL || estimate == NULL)
        return FDL_E_NULL;
    if (weight < 1)
        return FDL_E_CODE;
    if (total_count != fdl_ring_elements(ring, count))
        return FDL_E_LENGTH;
    error = fdl_check_arena(arena, arena_len, FDL_RING_ARENA);
    if (error)
        return error;
    walk w = start(ring, count, arena);
    decode(&w, ring, totals, weight, estimate);
#endif
    return FDL_OK;
}

/* ---- Elements as bytes ---- */

static size_t bytes_of(const fdl_ring *ring, size_t element_count) {
    return (element_count * ring->bits + 7) / 8;
}

/* Bits of the last byte that are of no element are 0. */
static int ends_in_zeros(const fdl_ring *ring, const uint8_t *message, size_t element_count) {
    size_t bits = element_count * ring->bits % 8;
    return bits == 0 || message[bytes_of(ring, element_count) - 1] >> bits == 0;
}

size_t fdl_ring_bytes(const fdl_ring *ring, size_t element_count) {
    return check_ring(ring, element_count) == FDL_OK ? bytes_of(ring, element_count) : 0;
}

int fdl_ring_pack(const fdl_ring *ring, const uint16_t *elements, size_t element_count,
                  uint8_t *message, size_t message_len) {
    int error = check_ring(ring, element_count);
    if (error)
        return error;
    if (elements == NULL || message == NULL)
        return FDL_E_NULL;
    if (message_len != bytes_of(ring, element_count))
        return FDL_E_LENGTH;
    uint32_t held = 0, bits = 0;
    for (size_t i = 0; i < element_count; i++) {
        held |= (uint32_t)elements[i] << bits;
        for (bits += ring->bits; bits >= 8; bits -= 8, held >>= 8)
            *message++ = (uint8_t)held;
    }
    if (bits > 0)
        *message = (uint8_t)held;
    return FDL_OK;
}

int fdl_ring_add(const fdl_ring *ring, const uint8_t *message, size_t message_len, uint16_t *sum,
                 size_t element_count) {
    int error = check_ring(ring, element_count);
    if (error)
        return error;
    if (message == NULL || sum == NULL)
        return FDL_E_NULL;
    if (message_len != bytes_of(ring, element_count))
        return FDL_E_LENGTH;
    if (!ends_in_zeros(ring, message, element_count))
        return FDL_E_MESSAGE;
    uint32_t held = 0, bits = 0, mask = (1u << ring->bits) - 1;
    for (size_t i = 0; i < element_count; i++, held >>= ring->bits, bits -= ring->bits) {
        for (; bits < ring->bits; bits += 8)
            held |= (uint32_t)*message++ << bits;
        sum[i] = (uint16_t)((sum[i] + held) & mask);
    }
    return FDL_OK;
}
