"""Integers, most of them small, in few bytes; models on a grid, and their changes (section 11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedling_native._core import ffi, lib
from fedling_native.arguments import int32s
from fedling_native.errors import check
from fedling_native.layers import Layer
from fedling_native.model import c_layers, weights_size

if TYPE_CHECKING:
    from typing_extensions import Buffer


def write_integers(values: Buffer) -> bytes:
    """Write int32 values of magnitudes below 16,384. Raises NativeError on others, and on none."""
    given = int32s(values)
    out = bytearray(lib.fdl_integers_room(len(given)))
    written = ffi.new("size_t *")
    check(lib.fdl_write_integers(given, len(given), ffi.from_buffer(out), len(out), written))
    return bytes(memoryview(out)[: written[0]])


def read_integers(message: Buffer, count: int) -> bytes:
    """Read so many int32 values. Raises NativeError when nothing writes such a message."""
    given, out = ffi.from_buffer("uint8_t[]", message), bytearray(4 * count)
    values = ffi.from_buffer("int32_t[]", out)
    check(lib.fdl_read_integers(given, len(given), values, count))
    return bytes(out)


def read_model(layers: Sequence[Layer], message: Buffer) -> bytes:
    """Read a whole model on a grid as canonical bytes. Raises NativeError."""
    return _read(layers, ffi.NULL, message, bytearray(weights_size(layers)))


def read_change(
    layers: Sequence[Layer], shifts: Sequence[int], message: Buffer, held: Buffer
) -> bytes:
    """Read the model that a held one, as canonical bytes, becomes. Raises NativeError.

    shifts: by how much the exponent of each layer grew
    """
    steps = ffi.new("int8_t[]", [max(-128, min(shift, 127)) for shift in shifts])
    return _read(layers, steps, message, bytearray(held))


def _read(layers: Sequence[Layer], shifts: object, message: Buffer, model: bytearray) -> bytes:
    given, into = ffi.from_buffer("uint8_t[]", message), ffi.from_buffer("uint8_t[]", model)
    check(
        lib.fdl_read_model(
            c_layers(layers), len(layers), shifts, given, len(given), into, len(model)
        )
    )
    return bytes(model)
