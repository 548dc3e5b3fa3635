/* The error that reaches the inputs of a dense layer (NUMERICS section 5, number 3). */
#include "dot.h"
#include "internal.h"

void fdl_backward(const fdl_part *part, const int8_t *d, size_t n, int32_t *acc) {
    for (size_t b = 0; b < n; b++, acc += part->in, d += part->out) {
        for (size_t i = 0; i < part->in; i++)
            acc[i] = 0;
        for (size_t o = 0; o < part->out; o++)
            fdl_add_weights(acc, part->weights + o * part->in, d[o], part->in);
    }
}
