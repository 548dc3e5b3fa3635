/* Scratch memory of the caller, cut into pieces; and the checks of what comes with it. */
#include "internal.h"

static size_t round_up(size_t bytes) {
    return (bytes + FDL_ARENA_ALIGN - 1) / FDL_ARENA_ALIGN * FDL_ARENA_ALIGN;
}

size_t fdl_arena_words(size_t count) {
    return round_up(count * sizeof(int32_t));
}

size_t fdl_arena_bytes(size_t count) {
    return round_up(count);
}

int32_t *fdl_take_words(uint8_t **arena, size_t count) {
    int32_t *piece = (int32_t *)(void *)*arena;
    *arena += fdl_arena_words(count);
    return piece;
}

int8_t *fdl_take_bytes(uint8_t **arena, size_t count) {
    int8_t *piece = (int8_t *)*arena;
    *arena += fdl_arena_bytes(count);
    return piece;
}

int fdl_check_arena(const void *arena, size_t arena_len, size_t needed) {
    if (arena == NULL)
        return FDL_E_NULL;
    if (arena_len < needed || (uintptr_t)arena % FDL_ARENA_ALIGN != 0)
        return FDL_E_ARENA;
    return FDL_OK;
}

int fdl_check_examples(const fdl_net *net, const int8_t *x, size_t x_len, int32_t x_exp, size_t n) {
    if (x == NULL)
        return FDL_E_NULL;
    if (x_len != n * net->layers[0].in)
        return FDL_E_LENGTH;
    if (x_exp < FDL_MIN_EXPONENT || x_exp > FDL_MAX_EXPONENT)
        return FDL_E_EXPONENT;
    int32_t lowest = 0;
    for (size_t i = 0; i < x_len; i++)
        lowest = fdl_min32(lowest, x[i]);
    return lowest < -127 ? FDL_E_INPUT : FDL_OK;
}
