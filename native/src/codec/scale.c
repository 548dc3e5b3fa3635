/* Scales: large quotients as 31 bits and an exponent. */
#include "scale.h"
#include "../numbers/numbers.h"

#if !FDL_WITHOUT_CODEC

#define PRECISE      19 /* bits of a value that count */
#define SPREAD_BITS  10
#define MANTISSA_ONE 1024
#define MOST_WORD    65535
#define FRACTION     8 /* bits of an estimate */

int32_t fdl_first_down(uint32_t magnitude) {
    return fdl_max32(0, fdl_bit_length(magnitude) - PRECISE);
}

/* places / energy with an even number of bits behind the point, so that it has a root: 2^28 to
 * 2^30. */
static uint64_t inverse_energy(uint64_t places, uint64_t energy, int32_t *shift) {
    uint64_t whole = places / energy, rest = places % energy;
    for (*shift = 0; whole < (uint64_t)1 << 28; *shift += 2) {
        rest *= 4;
        whole = whole * 4 + rest / energy;
        rest %= energy;
    }
    return whole;
}

/* Half of the shift to the right is made by taking the high word of a product. */
fdl_spread fdl_find_spread(const fdl_measured *measured, int32_t down, size_t places) {
    if (measured->squares == 0)
        return (fdl_spread){.factor = 0};
    int32_t shift;
    uint32_t factor = fdl_square_root(inverse_energy(places, measured->squares, &shift));
    int32_t right = shift / 2 - SPREAD_BITS, left = 32 - right, of_factor = fdl_min32(left, 16);
    fdl_unit unit = {down, left - of_factor, (int32_t)(factor << of_factor)};
    return (fdl_spread){unit, factor, right + down};
}

/* round(2^14 * 2^(i/8)), round(2^14 * 2^(i/4)) */
#define EIGHTHS_BITS 14
static const uint16_t eighths[8] = {16384, 17867, 19484, 21247, 23170, 25268, 27554, 30048};
static const uint16_t quarters[8] = {16384, 19484, 23170, 27554, 32768, 38968, 46341, 55109};

static int32_t bit_length64(uint64_t x) {
    uint32_t high = (uint32_t)(x >> 32);
    return high ? 32 + fdl_bit_length(high) : fdl_bit_length((uint32_t)x);
}

/* floor(4 log2(squares / (length * 2^20)) + 1/2): the bits of the integer, then which of the odd
 * eighths of an octave are not above the rest. */
int32_t fdl_find_gain(uint64_t squares, size_t length) {
    static const uint32_t root[4] = {1170923762, 1392470869, 1655936265, 1969251188};
    if (squares == 0)
        return FDL_LEAST_GAIN;
    int32_t top = bit_length64(squares) - 1;
    uint64_t h = top > 30 ? squares >> (top - 30) : squares << (30 - top);
    int32_t gain = 4 * (top - 2 * SPREAD_BITS - (fdl_bit_length((uint32_t)length) - 1));
    for (int i = 0; i < 4; i++)
        gain += root[i] <= h;
    return fdl_max32(gain, FDL_LEAST_GAIN);
}

fdl_unit fdl_gain_unit(int32_t gain) {
    int32_t left = 32 - EIGHTHS_BITS + (-gain >> 3), of_factor = fdl_min32(left, 16);
    return (fdl_unit){0, left - of_factor, eighths[-gain & 7] << of_factor};
}

static int64_t times_square(int64_t sum, int32_t gain) {
    int64_t product = sum * quarters[gain & 7];
    int32_t left = 2 * (gain >> 3);
    return left >= 0 ? product * ((int64_t)1 << left)
                     : (product + ((int64_t)1 << (-left - 1))) >> -left;
}

void fdl_add_sums(fdl_sums *to, const fdl_sums *block, int32_t gain) {
    to->squares += (uint64_t)times_square((int64_t)block->squares, gain);
    to->products += times_square(block->products, gain);
}

fdl_quotient fdl_divide(uint64_t a, uint64_t b) {
    int32_t e = 0;
    for (; a / b >> 31 > 0; e--)
        b *= 2;
    uint64_t h = a / b, rest = a % b;
    for (; h < (uint64_t)1 << 30; e++) {
        rest *= 2;
        h = 2 * h + (rest >= b);
        rest -= rest >= b ? b : 0;
    }
    return (fdl_quotient){h, e};
}

/* Rounded up or down at random, so that the mean over seeds is exact; bits: 50 or 51. */
static uint64_t round_at_random(uint64_t product, int32_t bits, const fdl_code *code) {
    uint64_t random = fdl_word(2, 2, code->seed);
    return (product + (random << (bits - 32))) >> bits;
}

int32_t fdl_scale_word(const fdl_code *code, size_t count, const fdl_spread *spread,
                       const fdl_sums *sums) {
    int is_dithered = code->quantiser == FDL_DITHER;
    if (sums->products <= 0 && !is_dithered)
        return -1;
    fdl_quotient gain =
        is_dithered ? fdl_divide(1, 4) : fdl_divide(sums->squares, (uint64_t)sums->products);
    fdl_quotient part = fdl_divide(count, (uint64_t)code->kept * spread->factor);
    uint64_t product = gain.h * part.h;
    int32_t bits = bit_length64(product) - 11;
    uint64_t mantissa = round_at_random(product, bits, code);
    int32_t carry = mantissa == 2 * MANTISSA_ONE;
    int32_t exponent = spread->down_all - gain.e - part.e + bits + carry + FDL_SCALE_ZERO;
    if (exponent > 63)
        return MOST_WORD;
    if (exponent < 0)
        return -1;
    return exponent * MANTISSA_ONE + (carry ? 0 : (int32_t)mantissa - MANTISSA_ONE);
}

fdl_gain fdl_gain_of(uint32_t scale_word, int32_t gain) {
    int32_t mantissa = MANTISSA_ONE + (int32_t)(scale_word % MANTISSA_ONE);
    int32_t shift = FDL_SCALE_ZERO - (int32_t)(scale_word / MANTISSA_ONE) - FRACTION;
    return (fdl_gain){mantissa * eighths[gain & 7], shift + EIGHTHS_BITS - (gain >> 3)};
}

#endif
