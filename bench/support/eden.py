"""EDEN at one bit a value, as quick as we could write it in numpy: beside the codec of updates.

Vargaftik et al., EDEN: Communication-Efficient and Robust Distributed Mean Estimation for Federated
Learning, ICML 2022, section 3. The whole vector, padded with zeros to a power of two, is rotated:
R = H D / sqrt(d), D random signs from a seed that both know, H the Walsh-Hadamard matrix. Of each
coordinate its sign is sent, since at one bit the two levels are one distance from zero, and once
the scale |x|^2 / <R x, levels>, with which the estimate is right on average.
"""

import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.support.float_net import Float

Bits = NDArray[np.uint8]

_SCALE = struct.Struct("<f")
FACTOR_BITS = 4  # of the index, in one product: of 3 to 9 the quickest, of whole vectors 3 and 5


def padded(count: int) -> int:
    """The least power of two that is no less."""
    return 1 << (count - 1).bit_length()


@cache
def hadamard(size: int) -> Float:
    """The matrix H of a power of two; its elements are 1 and -1."""
    if size == 1:
        return np.ones((1, 1), np.float32)
    half = hadamard(size // 2)
    return np.block([[half, half], [half, -half]])


def transform(values: Float) -> Float:
    """H values, of a power of two of them.

    H is a Kronecker product of small ones: each meets the first bits of the index, which it leaves
    behind as the last, so that after all of them the order is what it was.
    """
    left = len(values).bit_length() - 1
    while left:
        bits = min(FACTOR_BITS, left)
        values = (values.reshape(1 << bits, -1).T @ hadamard(1 << bits)).reshape(-1)
        left -= bits
    return values


class Eden:
    """The scheme for vectors of `count` values."""

    name = "eden"

    def __init__(self, count: int, seed: int = 1) -> None:
        self.count, self._size, self._seed = count, padded(count), seed

    def encode(self, values: Float) -> bytes:
        x = np.zeros(self._size, np.float32)
        x[: self.count] = values
        rotated = transform(self._with_signs(x))
        scale = float(values @ values) / float(np.abs(rotated).sum())
        return _SCALE.pack(scale) + np.packbits(rotated > 0).tobytes()

    def decode(self, message: bytes) -> Float:
        (scale,) = _SCALE.unpack_from(message)
        bits = np.unpackbits(np.frombuffer(message, np.uint8, offset=_SCALE.size))
        levels = np.float32(2 * scale) * bits - np.float32(scale)
        return self._with_signs(transform(levels))[: self.count]

    def _with_signs(self, values: Float) -> Float:
        """Turn those values around that the seed says: the sign is a float's first bit."""
        drawn = np.random.default_rng(self._seed).bytes(-(-self._size // 8))
        turned = np.unpackbits(np.frombuffer(drawn, np.uint8), count=self._size)
        return (values.view(np.uint32) ^ (turned.astype(np.uint32) << 31)).view(np.float32)
