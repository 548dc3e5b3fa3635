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
