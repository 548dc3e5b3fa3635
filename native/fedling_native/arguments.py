"""Python's integers and buffers as arguments of C: what C would refuse gets as far as C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedling_native._core import ffi, lib
from fedling_native.errors import NativeError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fedling_native._core import CData


def int32(value: int) -> int:
    """The nearest int32; cffi would stop at its own OverflowError."""
    return max(-(2**31), min(value, 2**31 - 1))


def uint32(value: int) -> int:
    """Values outside uint32 become 2^32 - 1, which no argument of the library allows."""
    return value if 0 <= value < 2**32 else 2**32 - 1


def int64(value: int) -> int:
    """The nearest int64, as int32()."""
    return max(-(2**63), min(value, 2**63 - 1))


def uint64(value: int) -> int:
    """Values outside uint64 become 2^64 - 1, as uint32()."""
    return value if 0 <= value < 2**64 else 2**64 - 1


def length(n: int) -> int:
    """A number of things to allocate; cffi would call -1 a ValueError and 2^70 an OverflowError."""
    if not 0 <= n <= 65535:
        raise NativeError(lib.FDL_E_LENGTH)
    return n


def int16s(samples: Buffer) -> CData:
    """Whole, aligned int16 values; memory that is neither is refused or copied."""
    return _aligned("int16_t", 2, samples)


def int32s(values: Buffer) -> CData:
    """Whole, aligned int32 values; memory that is neither is refused or copied."""
    return _aligned("int32_t", 4, values)


def new_arena(size: int) -> CData:
    """Allocate at least `size` bytes of scratch memory, aligned to FDL_ARENA_ALIGN."""
    return ffi.new("uint64_t[]", -(-size // 8))


def new_weights(count: int) -> CData:
    """Zeros for `count` weights, from a multiple of 64 bytes on: there long vectors are fastest."""
    memory = bytearray(2 * count + 63)
    start = -int(ffi.cast("uintptr_t", ffi.from_buffer(memory))) % 64
    return ffi.from_buffer("int16_t[]", memoryview(memory)[start : start + 2 * count])


def _aligned(ctype: str, size: int, values: Buffer) -> CData:
    raw = ffi.from_buffer(values)
    if len(raw) % size:
        raise NativeError(lib.FDL_E_LENGTH)
    if int(ffi.cast("uintptr_t", raw)) % size:
        values = bytes(ffi.buffer(raw))
    return ffi.from_buffer(f"{ctype}[]", values)
