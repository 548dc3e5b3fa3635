"""How the vector of an update becomes bytes: a codec's word on the wire, and the device's half.

The aggregator's half, which adds what was encoded to a sum, is `fedling_broker.aggregation`.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

Encode = Callable[[bytes], bytes]
"""A vector of integers as an update carries it; the same for the same vector."""


class Codec(StrEnum):
    """What plans ask for and updates say."""

    RAW_INT16 = "raw int16"
    SUMS = "sums"  # of statistics (sums.py)


def _as_it_is(vector: bytes) -> bytes:
    return vector


_ENCODE: Final[Mapping[Codec, Encode]] = {Codec.RAW_INT16: _as_it_is, Codec.SUMS: _as_it_is}


def encode(codec: Codec, vector: bytes) -> bytes:
    """What an update says of this vector when its plan asks for this codec."""
    return _ENCODE[codec](vector)
