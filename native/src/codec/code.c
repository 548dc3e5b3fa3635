/* Codes: which there are, what they send of the values, and in which pieces. */
#include "codec.h"
#include "../net/net.h"

#define IS_LEFT_OUT(code) (FDL_WITHOUT_TRELLIS && fdl_has_trellis(code))

int fdl_check_code(const fdl_code *code, size_t count) {
    if (FDL_WITHOUT_CODEC)
        return FDL_E_ABSENT;
    if (code == NULL)
        return FDL_E_NULL;
    if (count < 1 || count > FDL_MAX_CODED)
        return FDL_E_LENGTH;
    if (code->quantiser >= FDL_QUANTISERS || code->table >= FDL_CODE_TABLES)
        return FDL_E_CODE;
    if (code->kept < 1 || code->kept > count)
        return FDL_E_CODE;
    return IS_LEFT_OUT(code) ? FDL_E_ABSENT : FDL_OK;
}

#if !FDL_WITHOUT_CODEC
int fdl_check_coding(const fdl_code *code, size_t count, const uint16_t *dither,
                     size_t dither_count, const void *arena, size_t arena_len, size_t needed) {
    int error = fdl_check_code(code, count);
    if (error)
        return error;
    size_t wanted = code->quantiser == FDL_DITHER ? fdl_places(code->kept) : 0;
    if (wanted > 0 && dither == NULL)
        return FDL_E_NULL;
    if (dither_count != wanted)
        return FDL_E_LENGTH;
    return fdl_check_arena(arena, arena_len, needed);
}

/* ---- Pieces ---- */

/* The largest power of two that is not more than this, 16 to 1,024. */
static size_t largest_block(size_t left) {
    size_t length = FDL_BLOCK;
    while (length > left && length > FDL_LEAST_BLOCK)
        length /= 2;
    return length;
}

fdl_piece fdl_piece_from(size_t start, size_t kept) {
    return (fdl_piece){start, largest_block(kept - start)};
}

/* Pieces grow shorter, each begins at a multiple of its length. */
fdl_piece fdl_piece_before(size_t end, size_t kept) {
    size_t length = smaller(end & (~end + 1), FDL_BLOCK);
    if (end > kept)
        length = FDL_LEAST_BLOCK;
    return (fdl_piece){end - length, length};
}

size_t fdl_places(size_t kept) {
    return (kept + FDL_LEAST_BLOCK - 1) / FDL_LEAST_BLOCK * FDL_LEAST_BLOCK;
}

fdl_piece fdl_chain_before(const fdl_code *code, size_t end) {
    fdl_piece last = fdl_piece_before(end, code->kept);
    size_t start = last.start;
    while (!fdl_begins_chain(code->quantiser, start))
        start = fdl_piece_before(start, code->kept).start;
    return (fdl_piece){start, end - start};
}

size_t fdl_longest_chain(const fdl_code *code) {
    if (code->quantiser != FDL_TRELLIS_32 || code->kept < FDL_BLOCK)
        return FDL_BLOCK;
    return smaller(fdl_places(code->kept), FDL_CHAIN);
}

/* ---- Rotation ---- */

/* By how much a round shifts: half of the bits of a block's length, the second time rounded up. */
static int32_t shift_of(size_t length, uint32_t round) {
    return (fdl_bit_length((uint32_t)length) - (round == 0)) / 2;
}

/* A piece below 32 has a part of a word. */
static void draw_signs(uint32_t signs[FDL_SIGN_WORDS], const fdl_kernels *loops,
                       const fdl_code *code, fdl_piece piece, uint32_t round) {
    loops->words(signs, (piece.length + 31) / 32, (uint32_t)(piece.start / 32), round, code->seed);
    signs[0] >>= piece.start % 32;
}

void fdl_rotate(int32_t *block, const fdl_kernels *loops, const fdl_code *code, fdl_piece piece) {
    uint32_t signs[FDL_SIGN_WORDS];
    for (uint32_t round = 0; round < 2; round++) {
        draw_signs(signs, loops, code, piece, round);
        loops->rotate(block, piece.length, signs, shift_of(piece.length, round));
    }
}

void fdl_rotate_back(int32_t *block, const fdl_kernels *loops, const fdl_code *code,
                     fdl_piece piece) {
    uint32_t signs[FDL_SIGN_WORDS];
    for (uint32_t round = 2; round-- > 0;) {
        draw_signs(signs, loops, code, piece, round);
        loops->rotate_back(block, piece.length, signs, shift_of(piece.length, round));
    }
}

/* ---- The order ---- */

uint32_t fdl_common_factor(uint32_t a, uint32_t b) {
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* floor(word * count / 2^32). */
static uint32_t word_below(const fdl_code *code, uint32_t i, size_t count) {
    return (uint32_t)((uint64_t)fdl_word(i, 2, code->seed) * count >> 32);
}

fdl_order fdl_start_order(const fdl_code *code, size_t count) {
    uint32_t step = 1 + word_below(code, 1, count), n = (uint32_t)count;
    while (fdl_common_factor(step, n) != 1)
        step++;
    return (fdl_order){word_below(code, 0, count), step % n, n};
}

fdl_order fdl_order_at(fdl_order order, size_t first) {
    uint32_t at = (uint32_t)(((uint64_t)order.step * first + order.at) % order.count);
    return (fdl_order){at, order.step, order.count};
}
#endif
