/* The most products of int8 that a core adds up in a second, by the best instruction of its own. */
#include <time.h>

#if defined(__AVX512VNNI__)
#include <immintrin.h>
typedef __m512i vec;
#define NAME     "vpdpbusd of 512 bits"
#define PRODUCTS 64
#define REGISTER "v"
static inline vec add_products(vec sum, vec x, vec w) {
    return _mm512_dpbusd_epi32(sum, x, w);
}

#elif defined(__AVX2__)
#include <immintrin.h>
typedef __m256i vec;
/* Without VNNI int8 is widened: vpmaddubsw, which is not, saturates. */
#define NAME     "vpmaddwd and vpaddd of 256 bits, on 16-bit values"
#define PRODUCTS 16
#define REGISTER "x"
static inline vec add_products(vec sum, vec x, vec w) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
}

#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
typedef int32x4_t vec;
#define NAME     "sdot of 128 bits"
#define PRODUCTS 16
#define REGISTER "w"
static inline vec add_products(vec sum, vec x, vec w) {
    return vdotq_s32(sum, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(w));
}

#elif defined(__ARM_NEON)
#include <arm_neon.h>
typedef int32x4_t vec;
#define NAME     "smull and sadalp of 128 bits"
#define PRODUCTS 8
#define REGISTER "w"
static inline vec add_products(vec sum, vec x, vec w) {
    int8x16_t a = vreinterpretq_s8_s32(x), b = vreinterpretq_s8_s32(w);
    return vpadalq_s16(sum, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
}
#endif

enum { SUMS = 10, ROUNDS = 20000 }; /* independent sums: they hide how long an instruction takes */

const char *peak_name(void) {
#ifdef NAME
    return NAME;
#else
    return "";
#endif
}

/* Operations a second, two for a product that is added; 0 where no loop is written. */
double peak_rate(void) {
#ifdef NAME
    vec sums[SUMS] = {0}, x = {0}, w = {0};
    struct timespec start, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    for (int n = 0; n < ROUNDS; n++) {
        for (int i = 0; i < SUMS; i++) {
            /* Both may be others each time, so nothing can be computed before. */
            __asm__ volatile("" : "+" REGISTER(x), "+" REGISTER(w));
            sums[i] = add_products(sums[i], x, w);
        }
    }
    for (int i = 0; i < SUMS; i++)
        __asm__ volatile("" ::REGISTER(sums[i]));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double seconds =
        (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
    return 2.0 * PRODUCTS * SUMS * ROUNDS / seconds;
#else
    return 0;
#endif
}
