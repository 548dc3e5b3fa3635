"""The aggregator's half of each codec: from the payload of an update to its vector."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedling_protocol.wire.codecs import Codec

Values = NDArray[np.signedinteger]
Counts = tuple[int, int]
"""Weights and biases that a vector of the model has."""


class Vector(NamedTuple):
    """What training changed (NUMERICS.md section 7)."""

    weights: Values  # of all layers, in units of their masters
    biases: Values


def decode(codec: Codec, payload: bytes, counts: Counts) -> Vector:
    """Read a payload, as in the Update message; the arrays are views of it where they can be.

    Raises ValueError on an unknown codec, and on a payload that no vector of this model has.
    """
    known = _DECODE.get(codec)
    if known is None:
        raise ValueError(f"codec {codec!r}: known are {', '.join(_DECODE)}")
    return known(payload, counts)


def _raw_int16(payload: bytes, counts: Counts) -> Vector:
    """Weights as int16, then biases as int32, little-endian."""
    weights, biases = counts
    size = 2 * weights + 4 * biases
    if len(payload) != size:
        raise ValueError(f"{len(payload)} bytes, a vector of this model has {size}")
    return Vector(
        np.frombuffer(payload, "<i2", weights), np.frombuffer(payload, "<i4", offset=2 * weights)
    )


_DECODE: Final[Mapping[Codec, Callable[[bytes, Counts], Vector]]] = {Codec.RAW_INT16: _raw_int16}
