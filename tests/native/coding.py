"""The C codec, called with any code and any values: fedling_native.coded knows those of updates."""

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedling_native._core import ffi, lib
from fedling_native.arguments import new_arena
from fedling_native.errors import check
from fedling_native.layers import Layer
from fedling_native.model import c_layers, parameter_counts
from tests.native import reference as ref
from tests.native.reference.codec import Code
from tests.native.reference.tables import Quantiser

if TYPE_CHECKING:
    from fedling_native._core import CData


def encode(code: Code, values: ref.Int64, dither: ref.Int64) -> bytes:
    given, arena = _given(code), new_arena(lib.fdl_code_arena_size(_given(code), len(values)))
    room = lib.fdl_encoded_room(given, len(values))
    out, size = ffi.new("uint8_t[]", room), ffi.new("size_t *")
    x = ffi.from_buffer("int32_t[]", values.astype(np.int32).tobytes())
    noise = _noise(dither)
    check(
        lib.fdl_encode(
            given, x, len(x), noise, len(dither), arena, ffi.sizeof(arena), out, room, size
        )
    )
    return bytes(memoryview(ffi.buffer(out))[: size[0]])


def decode(code: Code, message: bytes, n: int, dither: ref.Int64) -> bytes:
    """Native int32. Raises NativeError."""
    given, arena = _given(code), new_arena(lib.fdl_code_arena_size(_given(code), n))
    estimate = array("i", bytes(4 * n))
    read = ffi.from_buffer("uint8_t[]", message)
    noise, out = _noise(dither), ffi.from_buffer("int32_t[]", estimate)
    check(
        lib.fdl_decode(given, read, len(read), noise, len(dither), arena, ffi.sizeof(arena), out, n)
    )
    return estimate.tobytes()


def choose(quantiser: Quantiser, n: int, size: int) -> tuple[int, int]:
    """The table, and how many values are kept."""
    code = ffi.new("uint32_t[]", 4)  # fdl_code: two bytes, kept, two words of a seed
    check(lib.fdl_choose_code(quantiser, n, size, ffi.cast("fdl_code *", code)))
    table = bytes(memoryview(ffi.buffer(code)))[1]
    return table, code[1]


def delta_values(layers: Sequence[Layer], exponents: Sequence[int], change: bytes) -> bytes:
    values = array("i", bytes(4 * sum(parameter_counts(layers))))
    given, out = ffi.from_buffer("uint8_t[]", change), ffi.from_buffer("int32_t[]", values)
    array_of = c_layers(layers, exponents)
    check(lib.fdl_delta_values(array_of, len(layers), given, len(given), out, len(values)))
    return values.tobytes()


def own_units(layers: Sequence[Layer], exponents: Sequence[int], estimate: bytes) -> bytes:
    values = array("i", estimate)
    out = ffi.from_buffer("int32_t[]", values)
    check(lib.fdl_own_units(c_layers(layers, exponents), len(layers), out, len(values)))
    return values.tobytes()


def _given(code: Code) -> "CData":
    return ffi.new(
        "fdl_code *",
        {
            "quantiser": code.quantiser,
            "table": code.table,
            "kept": code.kept,
            "seed": code.seed,
        },
    )


def _noise(dither: ref.Int64) -> "CData":
    """As uint16, or nothing."""
    if not len(dither):
        return ffi.NULL
    return ffi.from_buffer("uint16_t[]", dither.astype(np.uint16).tobytes())
