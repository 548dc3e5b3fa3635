/* Softmax and sigmoid in integers (NUMERICS section 4): 2^-x from a table, one division each. */
#include "numbers.h"
#include "../without.h"
#include "fixed.h"

/* round(32768 * 2^(-i/64)) */
const uint16_t fdl_exp2[64] = {
    32768, 32415, 32066, 31720, 31379, 31041, 30706, 30376, 30048, 29725, 29405, 29088, 28774,
    28464, 28158, 27855, 27554, 27258, 26964, 26674, 26386, 26102, 25821, 25543, 25268, 24995,
    24726, 24460, 24196, 23936, 23678, 23423, 23170, 22921, 22674, 22430, 22188, 21949, 21713,
    21479, 21247, 21019, 20792, 20568, 20347, 20127, 19911, 19696, 19484, 19274, 19066, 18861,
    18658, 18457, 18258, 18061, 17867, 17674, 17484, 17296, 17109, 16925, 16743, 16562,
};

/* A shift of 31 leaves at most 1 of 32 bits, which is no step: as good as any further one. */
fdl_exp_steps fdl_exp_steps_of(int32_t z_exp) {
    int32_t before = fdl_clamp32(-z_exp - 12, 0, 31);
    int32_t after = z_exp < -12 ? 18 : fdl_max32(0, 6 - z_exp);
    return (fdl_exp_steps){(uint8_t)before, (uint8_t)after};
}

/* 2^15 * exp(-d * 2^z_exp). d is cut to 17 bits, so that its product with 5909 = 64 * 64 * log2(e)
 * fits in 30; what is cut off is past the end of the table already. */
static inline uint32_t exp_q15(uint32_t d, fdl_exp_steps by) {
    d >>= by.before;
    d = d < 0x1ffff ? d : 0x1ffff;
    uint32_t t = (d * 5909u) >> by.after;
    t = t < 1023 ? t : 1023;
    return (uint32_t)fdl_exp2[t % 64] >> (t / 64);
}

static void softmax_one(int32_t *z, size_t classes, fdl_exp_steps by) {
    int32_t highest = z[0];
    for (size_t c = 1; c < classes; c++)
        highest = fdl_max32(highest, z[c]);
    uint32_t sum = 0;
    for (size_t c = 0; c < classes; c++) {
        uint32_t p = exp_q15((uint32_t)highest - (uint32_t)z[c], by);
        sum += p;
        z[c] = (int32_t)p;
    }
    uint32_t reciprocal = 0x7fffffffu / sum;
    for (size_t c = 0; c < classes; c++)
        z[c] = (int32_t)(((uint32_t)z[c] * reciprocal) >> 16);
}

void fdl_softmax(int32_t *z, size_t n, size_t classes, fdl_exp_steps by, const uint8_t *labels) {
    for (; n > 0; n--, z += classes) {
        softmax_one(z, classes, by);
        if (labels != NULL)
            z[*labels++] -= 32768;
    }
}

#if !FDL_WITHOUT_SIGMOID
int32_t fdl_sigmoid(int32_t z, int32_t z_exp) {
    uint32_t p = exp_q15(fdl_magnitude(z), fdl_exp_steps_of(z_exp));
    int32_t q = (int32_t)((1u << 30) / (32768 + p));
    return z < 0 ? 32768 - q : q;
}
#endif
