/* Scratch memory of the caller, cut into pieces; and the checks of what comes with it. */
#include "net.h"

#include <string.h>

size_t fdl_round_up(size_t bytes) {
    return (bytes + FDL_ARENA_ALIGN - 1) / FDL_ARENA_ALIGN * FDL_ARENA_ALIGN;
}

void *fdl_take(uint8_t **arena, size_t bytes) {
    void *piece = *arena;
    *arena += fdl_round_up(bytes);
    return piece;
}

int fdl_check_arena(const void *arena, size_t arena_len, size_t needed) {
    if (arena == NULL)
        return FDL_E_NULL;
    if (arena_len < needed || (uintptr_t)arena % FDL_ARENA_ALIGN != 0)
        return FDL_E_ARENA;
    return FDL_OK;
}

int fdl_check_inputs(const fdl_net *net, const int8_t *x, size_t x_len, int32_t x_exp, size_t n) {
    if (x == NULL)
        return FDL_E_NULL;
    if (x_len != n * fdl_net_inputs(net))
        return FDL_E_LENGTH;
    if (x_exp < FDL_MIN_EXPONENT || x_exp > FDL_MAX_EXPONENT)
        return FDL_E_EXPONENT;
    return fdl_kernels_here()->has_lowest(x, x_len) ? FDL_E_INPUT : FDL_OK;
}

void fdl_store_inputs(const fdl_part *part, const int8_t *x, size_t n, int8_t *stored) {
    memset(stored, 0, n * part->stored);
    for (size_t b = 0; b < n; b++, stored += part->stored)
        for (size_t y = 0; y < part->rows; y++, x += part->row_len)
            memcpy(stored + part->origin + y * part->row_step, x, part->row_len);
}
