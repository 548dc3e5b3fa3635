"""Updates of which only a sum is read (native/NUMERICS.md section 12).

A device's update becomes elements of a ring, the integers modulo a power of two. Whoever adds up
those of a round reads their mean; a single one may be hidden under anything that cancels in the
sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fedling_native._core import ffi, lib
from fedling_native.arguments import int32s, new_arena, uint32
from fedling_native.errors import NativeError, check
from fedling_native.layers import Layer
from fedling_native.model import c_layers, parameter_counts

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fedling_native._core import CData

WHOLE_SHARE: Final = 32_768  # of an update that counts in full
BLOCK: Final = 1024  # places of a block, of which `kept` are sent
LEAST_BITS: Final[int] = lib.FDL_LEAST_RING_BITS
MOST_BITS: Final[int] = lib.FDL_MOST_RING_BITS


@dataclass(frozen=True, slots=True)
class Ring:
    """What all devices of a round have in common.

    bits: of an element, 4 to 12
    step: what one is, (1,024 + step mod 1,024) * 2^(step div 1,024 - 40) units of a value, 8,192 to
        65,535
    kept: places of 1,024 that are sent, 1 to 1,024
    seed: two uint32, of the order and the rotation
    """

    bits: int
    step: int
    kept: int
    seed: tuple[int, int]

    def elements(self, layers: Sequence[Layer]) -> int:
        """How many a model's update has. Raises NativeError on a ring that is none."""
        found = int(lib.fdl_ring_elements(self._given(), sum(parameter_counts(layers))))
        if not found:
            raise NativeError(lib.FDL_E_CODE)
        return found

    def size(self, layers: Sequence[Layer]) -> int:
        """Bytes of a message. Raises NativeError on a ring that is none."""
        return int(lib.fdl_ring_bytes(self._given(), self.elements(layers)))

    def encode(
        self,
        layers: Sequence[Layer],
        exponents: Sequence[int],
        change: Buffer,
        share: int,
        dither: Buffer,
    ) -> bytes:
        """Make elements of what delta() gave: uint16, in the machine's order. Raises NativeError.

        share: what it counts in the round's mean, in 1/32,768, at most 32,768
        dither: random bytes of this device and round, one an element
        """
        count, elements = sum(parameter_counts(layers)), self.elements(layers)
        noise, values = ffi.from_buffer("uint8_t[]", dither), ffi.new("int32_t[]", count)
        if len(noise) != elements:
            raise NativeError(lib.FDL_E_LENGTH)
        given, array = ffi.from_buffer("uint8_t[]", change), c_layers(layers, exponents)
        check(lib.fdl_delta_values(array, len(layers), given, len(given), values, count))
        out, arena = bytearray(2 * elements), new_arena(lib.FDL_RING_ARENA)
        to = ffi.from_buffer("uint16_t[]", out)
        check(
            lib.fdl_ring_encode(
                self._given(), values, count, uint32(share), noise, arena, ffi.sizeof(arena), to,
                elements,
            )
        )  # fmt: skip
        return bytes(out)

    def pack(self, elements: Buffer) -> bytes:
        """Write uint16 elements in `bits` bits each, as they are sent. Raises NativeError."""
        given = ffi.from_buffer("uint16_t[]", elements)
        out = bytearray(lib.fdl_ring_bytes(self._given(), len(given)))
        to = ffi.from_buffer("uint8_t[]", out)
        check(lib.fdl_ring_pack(self._given(), given, len(given), to, len(out)))
        return bytes(out)

    def add(self, message: Buffer, total: Buffer) -> None:
        """Add a message to uint16 elements, modulo 2^bits. Raises NativeError, and adds nothing."""
        given, to = ffi.from_buffer("uint8_t[]", message), ffi.from_buffer("uint16_t[]", total)
        check(lib.fdl_ring_add(self._given(), given, len(given), to, len(to)))

    def decode(
        self, layers: Sequence[Layer], exponents: Sequence[int], totals: Buffer, weight: int
    ) -> bytearray:
        """Read the mean: an int32 for each weight and bias, in the order of delta() and in 1/256 of
        its unit. Raises NativeError.

        totals: an int32 for each element: 512 * the sum of them, with its sign, - 2 * the sum of
            the devices' dither + 255 * their number
        weight: the sum of what updates count, in 1/32,768
        """
        given, count = int32s(totals), sum(parameter_counts(layers))
        estimate, arena = bytearray(4 * count), new_arena(lib.FDL_RING_ARENA)
        values, size = ffi.from_buffer("int32_t[]", estimate), ffi.sizeof(arena)
        check(
            lib.fdl_ring_decode(
                self._given(), given, len(given), uint32(weight), arena, size, values, count
            )
        )
        check(lib.fdl_own_units(c_layers(layers, exponents), len(layers), values, count))
        return estimate

    def _given(self) -> CData:
        """As C has it; what does not fit becomes what C refuses."""
        fits = 0 <= self.bits < 2**8 and 0 <= self.step < 2**16 and 0 <= self.kept < 2**16
        known = {"bits": self.bits, "step": self.step, "kept": self.kept} if fits else {}
        return ffi.new("fdl_ring *", known | {"seed": self.seed})
