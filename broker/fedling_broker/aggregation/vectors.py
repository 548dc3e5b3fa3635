"""The aggregator's half of each codec: from the payload of an update to its vector."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedling_native import Layer, NativeError, coded, parameter_counts
from fedling_protocol.wire.codecs import Codec

Values = NDArray[np.signedinteger]


class Vector(NamedTuple):
    """What training changed (NUMERICS.md section 7)."""

    weights: Values  # of all layers, in units of their masters, with `fraction` fractional bits
    biases: Values
    fraction: int = 0


class Key(NamedTuple):
    """What a coded vector is read by, beside the model's layers."""

    exponents: Sequence[int]  # of the round's base
    target: int  # bytes that the plan asked for
    seed: coded.Seed  # of this plan and device


def decode(codec: Codec, payload: bytes, layers: Sequence[Layer], key: Key | None = None) -> Vector:
    """Read a payload, as in the Update message; the arrays are views of it where they can be.

    key: of a coded vector. Raises ValueError on an unknown codec, and on a payload that no vector
    of this model has.
    """
    known = _DECODE.get(codec)
    if known is None:
        raise ValueError(f"codec {codec!r}: known are {', '.join(_DECODE)}")
    return known(payload, layers, key)


def fraction_of(target: int | None) -> int:
    """How many fractional bits vectors have that are coded in so many bytes; None: not coded."""
    return 0 if target is None else coded.ESTIMATE_BITS


def _raw_int16(payload: bytes, layers: Sequence[Layer], _key: Key | None) -> Vector:
    """Weights as int16, then biases as int32, little-endian."""
    weights, biases = parameter_counts(layers)
    size = 2 * weights + 4 * biases
    if len(payload) != size:
        raise ValueError(f"{len(payload)} bytes, a vector of this model has {size}")
    return Vector(
        np.frombuffer(payload, "<i2", weights), np.frombuffer(payload, "<i4", offset=2 * weights)
    )


def _coded(payload: bytes, layers: Sequence[Layer], key: Key | None) -> Vector:
    """An estimate of each value (NUMERICS.md section 10)."""
    if key is None:
        raise ValueError("a coded vector to a plan that asked for none")
    try:
        estimate = coded.decode(layers, key.exponents, payload, key.target, key.seed)
    except NativeError as error:
        raise ValueError(str(error)) from error
    values, weights = np.frombuffer(estimate, np.int32), parameter_counts(layers)[0]
    return Vector(values[:weights], values[weights:], coded.ESTIMATE_BITS)


_DECODE: Final[Mapping[Codec, Callable[[bytes, Sequence[Layer], Key | None], Vector]]] = {
    Codec.RAW_INT16: _raw_int16,
    Codec.CODED: _coded,
}
