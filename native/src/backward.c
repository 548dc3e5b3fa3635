/* The error that reaches the inputs of a dense layer (NUMERICS section 5, number 3). */
#include "dot.h"
#include "internal.h"

/* The next up to four outputs from *o on whose error is not 0; returns how many. */
static size_t take_rows(fdl_four_weights *four, const fdl_part *part, const int8_t *d, size_t *o) {
    size_t found = 0;
    for (; *o < part->out && found < 4; ++*o) {
        if (d[*o] == 0)
            continue;
        four->row[found] = part->weights + *o * part->in;
        four->factor[found++] = d[*o];
    }
    for (size_t r = found; r < 4; r++) {
        four->row[r] = part->weights;
        four->factor[r] = 0;
    }
    return found;
}

void fdl_backward(const fdl_part *part, const int8_t *d, size_t n, int32_t *acc) {
    fdl_four_weights four;
    for (size_t b = 0; b < n; b++, acc += part->in, d += part->out) {
        for (size_t i = 0; i < part->in; i++)
            acc[i] = 0;
        for (size_t o = 0; take_rows(&four, part, d, &o) > 0;)
            fdl_add_weights(acc, &four, part->in);
    }
}
