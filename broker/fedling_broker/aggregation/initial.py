"""The first model of a task, from a seed alone (NUMERICS.md section 9).

numpy promises no stream of random numbers that never changes, and a first model must be the same
for ever: the words come from SHA-256, the limit of each layer from an integer square root.
"""

import hashlib
from math import isqrt

import numpy as np

from fedling_broker.aggregation.aggregate import (
    FRACTION,
    MASTER_LIMIT,
    MIN_EXPONENT,
    Int64,
    ServerState,
    move_exponents,
)
from fedling_native import Layer, Loss, parameter_counts

WORDS_IN_BLOCK = 8
QUIET_BITS = 3  # outputs that are values begin at an eighth of what the other layers give


def initial_state(layers: tuple[Layer, ...], seed: bytes, loss: Loss = Loss.SOFTMAX) -> ServerState:
    """Weights uniform in +-sqrt(6 / span) (He 2015, for ReLU), biases 0. seed: 32 bytes.

    With a loss of values the last layer's weights are worth an eighth of that.
    """
    words = Words(seed)
    masters, exponents = [], []
    for layer in layers:
        exponent, limit = range_of(layer.span) if layer.span else (0, 0)
        drawn = words.take(layer.weight_count)
        masters.append(((drawn * (2 * limit + 1)) >> 32) - limit)
        exponents.append(exponent)
    if loss in (Loss.SQUARED, Loss.RECONSTRUCTION) and layers[-1].span:
        exponents[-1] = max(exponents[-1] - QUIET_BITS, MIN_EXPONENT)
    _, bias_count = parameter_counts(layers)
    biases = np.zeros(bias_count, np.int64)
    values = np.concatenate([*masters, biases]) << FRACTION
    return move_exponents(ServerState(layers, tuple(exponents), values, np.zeros_like(values)))


def range_of(span: int) -> tuple[int, int]:
    """(w_exp, limit of |master|) of sqrt(6 / span): the finest exponent that 14 bits hold."""
    scale = 8 - MIN_EXPONENT
    while isqrt((6 << 2 * scale) // span) > MASTER_LIMIT:
        scale -= 1
    return 8 - scale, isqrt((6 << 2 * scale) // span)


class Words:
    """Big-endian uint32 of SHA-256(seed || uint32be block), block = 0, 1, ..."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._block = 0
        self._left = np.zeros(0, np.int64)

    def take(self, count: int) -> Int64:
        """The next `count` words, each 0 to 2^32 - 1."""
        blocks = -(-max(0, count - len(self._left)) // WORDS_IN_BLOCK)
        data = b"".join(
            hashlib.sha256(self._seed + block.to_bytes(4, "big")).digest()
            for block in range(self._block, self._block + blocks)
        )
        self._block += blocks
        words = np.concatenate([self._left, np.frombuffer(data, ">u4").astype(np.int64)])
        self._left = words[count:]
        return words[:count]
