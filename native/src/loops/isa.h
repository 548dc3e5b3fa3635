/* The tables of inner loops that this build can choose from, beside fdl_plain, and what they share. */
#ifndef FDL_ISA_H
#define FDL_ISA_H

#include "kernels.h"

/* What must not become a call: intrinsics are a function each, and sums stay in registers only
 * within one. Who counts what was reached wants calls: of a copy, constants leave branches out. */
#ifndef INLINE
#define INLINE inline __attribute__((always_inline))
#endif

/* One set of flags compiles every file: what a processor may lack is asked for function by
 * function. A build that takes the intrinsics from elsewhere (FDL_IMMINTRIN, an emulation for
 * tests) gets them without. */
#if defined(__x86_64__)
#define FDL_X86 1
#ifdef FDL_IMMINTRIN
#define FDL_TARGET(features)
#else
#define FDL_IMMINTRIN        <immintrin.h>
#define FDL_TARGET(features) __attribute__((target(features)))
#endif
extern const fdl_kernels fdl_avx2;
extern const fdl_kernels fdl_avx512vnni;
#else
#define FDL_X86 0
#endif

#if defined(__aarch64__) && !defined(__AARCH64EB__)
#define FDL_NEON 1
extern const fdl_kernels fdl_neon;
extern const fdl_kernels fdl_dotprod;
#else
#define FDL_NEON 0
#endif

/* Microcontrollers; another ARM if the build says so. */
#if defined(__ARM_FEATURE_DSP) && !defined(__ARM_BIG_ENDIAN) &&                                    \
    (__ARM_ARCH_PROFILE == 'M' || defined(FDL_ISA_DSP))
#define FDL_DSP 1
extern const fdl_kernels fdl_dsp;
#else
#define FDL_DSP 0
#endif

static inline size_t fours_of(size_t len) {
    return (len + 3) / 4;
}

/* Where the values of each window begin that lie one window after the other. */
static inline void count_off(uint32_t to[FDL_WINDOWS], size_t n, size_t values) {
    for (size_t m = 0; m < n; m++)
        to[m] = (uint32_t)(m * values);
}

#endif
