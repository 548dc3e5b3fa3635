"""EDEN at one bit a value with the operations of its authors' PyTorch code. Needs extra `bench`.

As in github.com/amitport/EDEN-Distributed-Mean-Estimation, which is not copied: Bernoulli signs, a
transform in place, a stage of all butterflies at a time, levels found in a table of boundaries and
taken from one of centroids. That code ends at indices; the bits are packed here by numpy.
"""

import math
import struct

import numpy as np
import torch

from bench.support.eden import padded
from bench.support.float_net import Float

torch.set_num_threads(1)

_SCALE = struct.Struct("<f")
LEVEL = math.sqrt(2 / math.pi)  # Lloyd and Max, of a normal distribution at one bit


class EdenTorch:
    """The scheme for vectors of `count` values."""

    name = "eden_torch"

    def __init__(self, count: int, seed: int = 1) -> None:
        self.count, self._size, self._seed = count, padded(count), seed
        self._boundaries = torch.tensor([0.0])
        self._levels = torch.tensor([-LEVEL, LEVEL])

    def encode(self, values: Float) -> bytes:
        given = torch.from_numpy(values)
        x = torch.nn.functional.pad(given, (0, self._size - self.count))
        rotated = transform(x * self._signs())
        length = torch.sqrt(torch.sum(rotated**2))
        found = torch.bucketize(rotated * (math.sqrt(self._size) / length), self._boundaries)
        scale = torch.sum(rotated**2) / (torch.take(self._levels, found) @ rotated)
        return _SCALE.pack(scale.item()) + np.packbits(found.numpy().astype(np.bool_)).tobytes()

    def decode(self, message: bytes) -> Float:
        (scale,) = _SCALE.unpack_from(message)
        bits = np.unpackbits(np.frombuffer(message, np.uint8, offset=_SCALE.size))
        levels = scale * torch.take(self._levels, torch.from_numpy(bits.astype(np.int64)))
        estimate: Float = (transform(levels) * self._signs())[: self.count].numpy()
        return estimate

    def _signs(self) -> torch.Tensor:
        drawn = torch.empty(self._size)
        return 2 * drawn.bernoulli_(generator=torch.Generator().manual_seed(self._seed)) - 1


def transform(values: torch.Tensor) -> torch.Tensor:
    """Multiply by H / sqrt(n), in place, n a power of two."""
    half = 1
    while half < len(values):
        pairs = values.view(-1, 2, half)
        pairs[:, 0] += pairs[:, 1]
        pairs[:, 1] = pairs[:, 0] - 2 * pairs[:, 1]
        half *= 2
    return values.mul_(len(values) ** -0.5)
