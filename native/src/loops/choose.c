/* Which inner loops this processor runs: those that the build names by FDL_ISA_..., else the
 * fastest that the processor has. */
#include "fedling.h"
#include "isa.h"

#if FDL_NEON && defined(__linux__)
#include <sys/auxv.h>
#endif

const fdl_kernels *fdl_kernels_here(void) {
#if defined(FDL_ISA_PLAIN)
    return &fdl_plain;
#elif defined(FDL_ISA_AVX2)
    return &fdl_avx2;
#elif defined(FDL_ISA_AVX512VNNI)
    return &fdl_avx512vnni;
#elif defined(FDL_ISA_NEON)
    return &fdl_neon;
#elif defined(FDL_ISA_DOTPROD)
    return &fdl_dotprod;
#elif defined(FDL_ISA_DSP)
    return &fdl_dsp;
#elif FDL_X86
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
        return &fdl_avx512vnni;
    return __builtin_cpu_supports("avx2") ? &fdl_avx2 : &fdl_plain;
#elif FDL_NEON && defined(__linux__)
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? &fdl_dotprod : &fdl_neon;
#elif FDL_NEON && defined(__ARM_FEATURE_DOTPROD)
    return &fdl_dotprod;
#elif FDL_NEON
    return &fdl_neon;
#elif FDL_DSP
    return &fdl_dsp;
#else
    return &fdl_plain;
#endif
}

const char *fdl_isa(void) {
    return fdl_kernels_here()->name;
}
