"""The codec of updates (native/NUMERICS.md section 10): what training changed, in few bytes.

What is read back is an estimate: a value in 1/256 of the unit that its weight or bias has, whose
mean over seeds is what was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from fedling_native._core import ffi, lib
from fedling_native.arguments import new_arena
from fedling_native.errors import NativeError, check
from fedling_native.layers import Layer
from fedling_native.model import c_layers, parameter_counts

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fedling_native._core import CData

ESTIMATE_BITS: Final = 8  # an estimate is in 2^-8 of its value's unit
FEW: Final = 200  # bytes, in which a trellis has too few paths to be better than a scalar
Seed = tuple[int, int]


class Quantiser(IntEnum):
    """What the encoder rounds with; a message says it, so that a reader need not know."""

    SCALAR = lib.FDL_SCALAR
    TRELLIS = lib.FDL_TRELLIS  # less error in as many bytes, for twice the work of who encodes
    TRELLIS_32 = lib.FDL_TRELLIS_32  # still less, for a quarter more work and eight blocks


def encode(
    layers: Sequence[Layer],
    exponents: Sequence[int],
    change: Buffer,
    size: int,
    seed: Seed,
    quantiser: Quantiser | None = None,
) -> bytes:
    """What delta() gave, in about so many bytes. Raises NativeError.

    quantiser: None: the one that tells more in so many bytes
    """
    if quantiser is None:
        quantiser = Quantiser.TRELLIS_32 if size >= FEW else Quantiser.SCALAR
    code = _Code.choose(quantiser, layers, size, seed)
    values = ffi.new("int32_t[]", code.count)
    given = ffi.from_buffer("uint8_t[]", change)
    array = c_layers(layers, exponents)
    check(lib.fdl_delta_values(array, len(layers), given, len(given), values, code.count))
    return code.encode(values)


def decode(
    layers: Sequence[Layer], exponents: Sequence[int], message: bytes, size: int, seed: Seed
) -> bytearray:
    """Read a message: an int32 for each weight and bias, in the order of delta().

    Raises NativeError on a message that no encoder wrote. Work and memory are the model's, whatever
    the message says.
    """
    code = _Code.choose(_quantiser_of(message), layers, size, seed)
    estimate = bytearray(4 * code.count)
    values = ffi.from_buffer("int32_t[]", estimate)
    code.decode(message, values)
    check(lib.fdl_own_units(c_layers(layers, exponents), len(layers), values, code.count))
    return estimate


def room(layers: Sequence[Layer], size: int) -> int:
    """The most bytes that a message may have which shall have `size`."""
    codes = [_Code.choose(quantiser, layers, size, (0, 0)) for quantiser in Quantiser]
    return max(lib.fdl_encoded_room(code.code, code.count) for code in codes)


def _quantiser_of(message: bytes) -> Quantiser:
    """An empty message is of any."""
    try:
        return Quantiser(message[0]) if message else Quantiser.SCALAR
    except ValueError:
        raise NativeError(lib.FDL_E_MESSAGE) from None


@dataclass(frozen=True, slots=True)
class _Code:
    """How so many values become bytes."""

    code: CData
    count: int

    @staticmethod
    def choose(quantiser: Quantiser, layers: Sequence[Layer], size: int, seed: Seed) -> _Code:
        count = sum(parameter_counts(layers))
        code = ffi.new("fdl_code *", {"seed": seed})
        check(lib.fdl_choose_code(quantiser, count, size, code))
        return _Code(code, count)

    def encode(self, values: CData) -> bytes:
        arena, size = self._arena()
        most = lib.fdl_encoded_room(self.code, self.count)
        out, length = bytearray(most), ffi.new("size_t *")
        check(
            lib.fdl_encode(
                self.code, values, self.count, ffi.NULL, 0, arena, size,
                ffi.from_buffer("uint8_t[]", out), most, length,
            )
        )  # fmt: skip
        return bytes(memoryview(out)[: length[0]])

    def decode(self, message: bytes, estimate: CData) -> None:
        arena, size = self._arena()
        given = ffi.from_buffer("uint8_t[]", message)
        check(
            lib.fdl_decode(
                self.code, given, len(given), ffi.NULL, 0, arena, size, estimate, self.count
            )
        )

    def _arena(self) -> tuple[CData, int]:
        arena = new_arena(lib.fdl_code_arena_size(self.code, self.count))
        return arena, ffi.sizeof(arena)
