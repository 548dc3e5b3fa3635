/* Puts a table of inner loops of our choice under the library: it is linked with
 * --wrap=fdl_kernels_here. */
#include "fuzz.h"

#include "loops/isa.h"

const fdl_kernels *__real_fdl_kernels_here(void);
const fdl_kernels *__wrap_fdl_kernels_here(void);

static const fdl_kernels *chosen = &fdl_plain;

const fdl_kernels *__wrap_fdl_kernels_here(void) {
    return chosen;
}

/* Plain C, what this processor runs, and what a lesser one of its kind runs. */
size_t use_table(size_t index) {
    const fdl_kernels *tables[3] = {&fdl_plain}, *here = __real_fdl_kernels_here();
    size_t count = 1;
    if (here != &fdl_plain)
        tables[count++] = here;
#if FDL_X86
    if (count == 2 && here != &fdl_avx2)
        tables[count++] = &fdl_avx2;
#elif FDL_NEON
    if (count == 2 && here != &fdl_neon)
        tables[count++] = &fdl_neon;
#endif
    expect(index < count);
    chosen = tables[index];
    return count;
}
