#include "fedling.h"

const char *fdl_version(void) {
    return "0.1.0";
}
