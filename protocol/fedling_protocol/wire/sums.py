"""Sums over the samples of a device as bytes: the vector of an update to a statistics plan."""

import struct
from typing import Final

from fedling_native import Sums

MAX_SAMPLES: Final = 2**24 - 1  # of a channel, of one device
MAX_SUM: Final = 2**15  # of one sample
MAX_SQUARE: Final = 2**30

_HEAD = struct.Struct("<Q")  # samples
_CHANNEL = struct.Struct("<qQ")  # sum, sum of squares


def size(channels: int) -> int:
    """Tell how many bytes sums over so many channels have."""
    return _HEAD.size + _CHANNEL.size * channels


def pack(sums: Sums) -> bytes:
    """Write sums as an update carries them. Raises struct.error on values beyond 64 bits."""
    rows = zip(sums.sums, sums.squares, strict=True)
    return _HEAD.pack(sums.count) + b"".join(_CHANNEL.pack(*row) for row in rows)


def unpack(data: bytes) -> Sums:
    """Read what pack() wrote. Raises ValueError on bytes that are no whole channels."""
    if len(data) <= _HEAD.size or (len(data) - _HEAD.size) % _CHANNEL.size:
        raise ValueError(f"{len(data)} bytes are no sums of whole channels")
    (count,) = _HEAD.unpack_from(data)
    sums, squares = zip(*_CHANNEL.iter_unpack(data[_HEAD.size :]), strict=True)
    return Sums(count, sums, squares)


def are_possible(sums: Sums) -> bool:
    """Tell whether samples of one device can have such sums, as far as sums alone can tell."""
    count = sums.count
    return 1 <= count <= MAX_SAMPLES and all(
        abs(total) <= MAX_SUM * count
        and squares <= MAX_SQUARE * count
        and total * total <= count * squares
        for total, squares in zip(sums.sums, sums.squares, strict=True)
    )
