#include "fedling.h"

const char *fdl_describe_error(int error) {
    switch (error) {
    case FDL_OK:
        return "no error";
    case FDL_E_NULL:
        return "a pointer is NULL";
    case FDL_E_LAYERS:
        return "the layers are not a model: 1 to 16 of them, each with as many inputs as the one "
               "before has outputs, kernels that fit, no ReLU on the last, as many outputs as the "
               "loss takes, below 2^31 bytes in all";
    case FDL_E_EXPONENT:
        return "an exponent is outside -24..7";
    case FDL_E_LENGTH:
        return "a buffer has not the length that the model asks for";
    case FDL_E_ARENA:
        return "the arena is too small or not aligned to 8 bytes";
    case FDL_E_BATCH:
        return "a step takes 1 to 256 examples, and examples * positions of a layer up to 65536";
    case FDL_E_RATE:
        return "learning rate not in 1..2^28 (in 2^-24), momentum not below 256, pull not in "
               "1..65535, "
               "or no layer left to learn";
    case FDL_E_TARGET:
        return "a target is not one that the loss takes: a class, 0 or 1, or aligned int16 values";
    case FDL_E_INPUT:
        return "an input is -128: the range is -127..127";
    case FDL_E_SAMPLES:
        return "sums that no 1 to 2^31 - 1 samples a channel have";
    case FDL_E_NORMALISER:
        return "no fit gives this mantissa or shift";
    case FDL_E_CODE:
        return "no such quantiser or table, or not 1 to all of the values are kept";
    case FDL_E_MESSAGE:
        return "a message that no encoder wrote with this code";
    case FDL_E_ABSENT:
        return "this build leaves out a kind of layer, a loss or an option that was asked for";
    default:
        return "unknown error";
    }
}
