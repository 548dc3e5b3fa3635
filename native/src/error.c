#include "fedling.h"

const char *fdl_describe_error(int error) {
    switch (error) {
    case FDL_OK:
        return "no error";
    case FDL_E_NULL:
        return "a pointer is NULL";
    case FDL_E_LAYERS:
        return "the layers are not a model: 1 to 8 of them, each as wide as the next one's inputs, "
               "2 to 256 "
               "classes, ReLU on all but the last, if any, below 2^31 bytes in all";
    case FDL_E_EXPONENT:
        return "an exponent is outside -24..7";
    case FDL_E_LENGTH:
        return "a buffer has not the length that the model asks for";
    case FDL_E_ARENA:
        return "the arena is too small or not aligned to 8 bytes";
    case FDL_E_BATCH:
        return "a step takes 1 to 256 examples";
    case FDL_E_RATE:
        return "the learning rate is outside 1..2^28 (in 2^-24)";
    case FDL_E_LABEL:
        return "a label is not a class of the model";
    case FDL_E_INPUT:
        return "an input is -128: the range is -127..127";
    case FDL_E_SAMPLES:
        return "a fit takes 1 to 2^24 - 1 samples a channel, as many in the second pass";
    case FDL_E_NORMALISER:
        return "no fit gives this mantissa or shift";
    default:
        return "unknown error";
    }
}
