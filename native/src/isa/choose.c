/* Which inner loops this processor runs. */
#include "../kernels.h"
#include "fedling.h"

const fdl_kernels *fdl_kernels_here(void) {
    return &fdl_plain;
}

const char *fdl_isa(void) {
    return fdl_kernels_here()->name;
}
