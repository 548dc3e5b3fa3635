"""The integer kernel in C, called with any buffer: bytes, bytearray, memoryview, numpy arrays.

What it computes, bit by bit, is native/NUMERICS.md. Buffers hold native values (int8, uint8, int16)
without a header; weights travel as the canonical little-endian bytes of its section 2.
Type checkers know numpy arrays as buffers from Python 3.12 on; before it pass them `array.data`.

    NativeError
        the C library refused a call; `name` and `meaning` say why. Nothing has changed then.
"""

from __future__ import annotations

from fedling_native._core import ffi, lib
from fedling_native.errors import NativeError
from fedling_native.layers import (
    VALID,
    Kind,
    Layer,
    Loss,
    Pad,
    Shape,
    average_pool,
    conv,
    dense,
    depthwise,
    max_pool,
    same,
)
from fedling_native.model import check_model, delta, parameter_counts, weights_size
from fedling_native.net import INPUT_EXP, Net, Prediction
from fedling_native.normaliser import Normaliser, Summing, Sums

__all__ = [
    "INPUT_EXP",
    "MAX_BATCH",
    "MAX_CLASSES",
    "MAX_EXPONENT",
    "MAX_LAYERS",
    "MAX_RATE_Q24",
    "MAX_TERMS",
    "MAX_VALUES",
    "MAX_WIDTH",
    "MIN_EXPONENT",
    "VALID",
    "VALUE_EXP",
    "Kind",
    "Layer",
    "Loss",
    "NativeError",
    "Net",
    "Normaliser",
    "Pad",
    "Prediction",
    "Shape",
    "Summing",
    "Sums",
    "average_pool",
    "check_model",
    "conv",
    "delta",
    "dense",
    "depthwise",
    "isa",
    "max_pool",
    "parameter_counts",
    "same",
    "version",
    "weights_size",
]

MAX_BATCH: int = lib.FDL_MAX_BATCH
MAX_CLASSES: int = lib.FDL_MAX_CLASSES
MAX_EXPONENT: int = lib.FDL_MAX_EXPONENT
MAX_LAYERS: int = lib.FDL_MAX_LAYERS
MAX_RATE_Q24: int = lib.FDL_MAX_RATE
MAX_TERMS: int = lib.FDL_MAX_TERMS  # examples of a step * positions of a layer
MAX_VALUES: int = lib.FDL_MAX_VALUES  # inputs or outputs of a layer
MAX_WIDTH: int = lib.FDL_MAX_WIDTH  # products of one sum
MIN_EXPONENT: int = lib.FDL_MIN_EXPONENT
VALUE_EXP: int = lib.FDL_VALUE_EXP  # of targets and outputs that are values


def version() -> str:
    """The version of the C library."""
    return ffi.string(lib.fdl_version()).decode()


def isa() -> str:
    """The code that this processor runs: "plain", "avx2", ..., as fdl_isa() says."""
    return ffi.string(lib.fdl_isa()).decode()
