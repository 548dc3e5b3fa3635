/* AVX-512 in C, for processors without it: SIMDe, and what SIMDe 0.7 does not have of what
 * native/src/loops/avx512.c uses. Taken by -DFDL_IMMINTRIN='"tests/native/emulated_avx512.h"'. */
#ifndef EMULATED_AVX512_H
#define EMULATED_AVX512_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <stdint.h>
#include <string.h>

/* Masked loads and stores touch only what the mask asks for: a sanitiser sees what they touch. */
static inline void copy_masked(uint64_t mask, uint8_t *to, const uint8_t *from, size_t size) {
    for (; mask != 0; mask >>= 1, to += size, from += size)
        if (mask & 1)
            memcpy(to, from, size);
}

#define MASKED_LOAD(name, vector, mask_type, size)                                                 \
    static inline vector name(mask_type mask, const void *from) {                                  \
        vector v;                                                                                  \
        memset(&v, 0, sizeof v);                                                                   \
        copy_masked(mask, (uint8_t *)&v, from, size);                                              \
        return v;                                                                                  \
    }
#define MASKED_STORE(name, vector, mask_type, size)                                                \
    static inline void name(void *to, mask_type mask, vector v) {                                  \
        copy_masked(mask, to, (const uint8_t *)&v, size);                                          \
    }

#ifndef _mm_maskz_loadu_epi8
MASKED_LOAD(_mm_maskz_loadu_epi8, __m128i, uint16_t, 1)
#endif
#ifndef _mm512_maskz_loadu_epi8
MASKED_LOAD(_mm512_maskz_loadu_epi8, __m512i, uint64_t, 1)
#endif
#ifndef _mm512_maskz_loadu_epi16
MASKED_LOAD(_mm512_maskz_loadu_epi16, __m512i, uint32_t, 2)
#endif
#ifndef _mm512_maskz_loadu_epi32
MASKED_LOAD(_mm512_maskz_loadu_epi32, __m512i, uint16_t, 4)
#endif
#ifndef _mm_mask_storeu_epi8
MASKED_STORE(_mm_mask_storeu_epi8, __m128i, uint16_t, 1)
#endif
#ifndef _mm512_mask_storeu_epi8
MASKED_STORE(_mm512_mask_storeu_epi8, __m512i, uint64_t, 1)
#endif
#ifndef _mm512_mask_storeu_epi16
MASKED_STORE(_mm512_mask_storeu_epi16, __m512i, uint32_t, 2)
#endif
#ifndef _mm512_mask_storeu_epi32
MASKED_STORE(_mm512_mask_storeu_epi32, __m512i, uint16_t, 4)
#endif

#ifndef _mm512_sra_epi32
static inline __m512i _mm512_sra_epi32(__m512i v, __m128i count) {
    int32_t lane[16];
    memcpy(lane, &v, sizeof v);
    for (size_t i = 0; i < 16; i++)
        lane[i] >>= _mm_cvtsi128_si32(count);
    memcpy(&v, lane, sizeof v);
    return v;
}
#endif

/* Each of 16 lanes `a`, with the same lane `b` of a second vector. */
#define LANEWISE(name, type, expression)                                                           \
    static inline __m512i name(__m512i first, __m512i second) {                                    \
        type x[16], y[16];                                                                         \
        memcpy(x, &first, sizeof x);                                                               \
        memcpy(y, &second, sizeof y);                                                              \
        for (size_t i = 0; i < 16; i++) {                                                          \
            type a = x[i], b = y[i];                                                               \
            x[i] = (expression);                                                                   \
        }                                                                                          \
        memcpy(&first, x, sizeof x);                                                               \
        return first;                                                                              \
    }
/* 16 bytes to 16 lanes. */
#define EXTENSION(name, from, type)                                                                \
    static inline __m512i name(__m128i bytes) {                                                    \
        from byte[16];                                                                             \
        type lane[16];                                                                             \
        __m512i v;                                                                                 \
        memcpy(byte, &bytes, sizeof byte);                                                         \
        for (size_t i = 0; i < 16; i++)                                                            \
            lane[i] = byte[i];                                                                     \
        memcpy(&v, lane, sizeof v);                                                                \
        return v;                                                                                  \
    }

#ifndef _mm512_srav_epi32
LANEWISE(_mm512_srav_epi32, int32_t, a >> b)
#endif
#ifndef _mm512_srlv_epi32
LANEWISE(_mm512_srlv_epi32, uint32_t, b > 31 ? 0 : a >> b)
#endif
#ifndef _mm512_min_epu32
LANEWISE(_mm512_min_epu32, uint32_t, a < b ? a : b)
#endif
#ifndef _mm512_cvtepu8_epi32
EXTENSION(_mm512_cvtepu8_epi32, uint8_t, int32_t)
#endif
#ifndef _mm512_cvtepi8_epi32
EXTENSION(_mm512_cvtepi8_epi32, int8_t, int32_t)
#endif
#ifndef _mm512_srai_epi32
static inline __m512i _mm512_srai_epi32(__m512i v, unsigned int count) {
    return _mm512_sra_epi32(v, _mm_cvtsi32_si128((int)count));
}
#endif
#ifndef _mm512_sra_epi16
static inline __m512i _mm512_sra_epi16(__m512i v, __m128i count) {
    int16_t lane[32];
    memcpy(lane, &v, sizeof v);
    for (size_t i = 0; i < 32; i++)
        lane[i] = (int16_t)(lane[i] >> _mm_cvtsi128_si32(count));
    memcpy(&v, lane, sizeof v);
    return v;
}
#endif
#ifndef _mm_cmpgt_epi8_mask
static inline uint16_t _mm_cmpgt_epi8_mask(__m128i a, __m128i b) {
    return (uint16_t)_mm_movemask_epi8(_mm_cmpgt_epi8(a, b));
}
#endif
#ifndef _mm512_mask_loadu_epi32
static inline __m512i _mm512_mask_loadu_epi32(__m512i v, uint16_t mask, const void *from) {
    copy_masked(mask, (uint8_t *)&v, from, 4);
    return v;
}
#endif
#ifndef _mm512_test_epi32_mask
static inline uint16_t _mm512_test_epi32_mask(__m512i first, __m512i second) {
    int32_t a[16], b[16];
    uint16_t mask = 0;
    memcpy(a, &first, sizeof a);
    memcpy(b, &second, sizeof b);
    for (size_t i = 0; i < 16; i++)
        mask |= (uint16_t)(((a[i] & b[i]) != 0) << i);
    return mask;
}
#endif
#ifndef _mm512_permutex2var_epi16
static inline __m512i _mm512_permutex2var_epi16(__m512i first, __m512i places, __m512i second) {
    uint16_t table[64], lane[32];
    memcpy(table, &first, sizeof first);
    memcpy(table + 32, &second, sizeof second);
    memcpy(lane, &places, sizeof lane);
    for (size_t i = 0; i < 32; i++)
        lane[i] = table[lane[i] % 64];
    memcpy(&first, lane, sizeof lane);
    return first;
}
#endif
#ifndef _mm512_reduce_max_epi32
static inline int32_t _mm512_reduce_max_epi32(__m512i v) {
    int32_t lane[16], most = INT32_MIN;
    memcpy(lane, &v, sizeof v);
    for (size_t i = 0; i < 16; i++)
        most = lane[i] > most ? lane[i] : most;
    return most;
}
#endif

#ifndef _mm512_reduce_add_epi32
static inline int32_t _mm512_reduce_add_epi32(__m512i v) {
    uint32_t lane[16], sum = 0;
    memcpy(lane, &v, sizeof v);
    for (size_t i = 0; i < 16; i++)
        sum += lane[i];
    return (int32_t)sum;
}
#endif

#ifndef _mm512_reduce_or_epi32
static inline int32_t _mm512_reduce_or_epi32(__m512i v) {
    int32_t lane[16], all = 0;
    memcpy(lane, &v, sizeof v);
    for (size_t i = 0; i < 16; i++)
        all |= lane[i];
    return all;
}
#endif

#endif
