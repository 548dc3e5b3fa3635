"""How much one update may say: its length and its weight are held near those of its neighbours.

One device that is broken, or hostile, could move the model as far as integers reach: the mean has
no limit of its own. So an update's weights, and its biases, are shortened to a limit each, and its
claim of examples is cut. All of it in whole numbers: `round verify` makes the same sum again.
"""

from collections.abc import Sequence
from math import isqrt
from typing import NamedTuple

import numpy as np

from fedling_broker.aggregation.fixed import MAX_TOTAL_WEIGHT, MIN_EXPONENT, rshift
from fedling_broker.aggregation.vectors import Values, Vector
from fedling_native import Layer

PIECE = 1 << 14  # values looked at together: they stay in the processor's cache
SHARE_BITS = 16  # a share is in units of 2^-16
FEWEST = 3  # updates that have a middle one: of two, nobody knows which is odd
NO_LIMIT = 2**63 - 1


class Shares(NamedTuple):
    """What counts of an update's weights and of its biases, in units of 2^-16."""

    weights: int
    biases: int


WHOLE = Shares(1 << SHARE_BITS, 1 << SHARE_BITS)


class Sizes(NamedTuple):
    """How large an update is, or the middle one of a round.

    Lengths are L2 norms: of the weights in units of the finest exponent, so that layers and rounds
    compare; of the biases in their unit.
    """

    weights: int
    biases: int
    examples: int


class Limits(NamedTuple):
    """The longest that counts, in the units of Sizes, and the most examples that do."""

    weights: int
    biases: int
    examples: int

    @property
    def steps(self) -> int | None:
        """By how many steps an exponent may move in such a round; None: as far as it wants."""
        return None if self == UNLIMITED else 1

    def shares(self, sizes: Sizes) -> Shares:
        """What counts of an update of this size."""
        return Shares(_share(self.weights, sizes.weights), _share(self.biases, sizes.biases))


UNLIMITED = Limits(NO_LIMIT, NO_LIMIT, MAX_TOTAL_WEIGHT)


def limits_of(rounds: Sequence[Sizes], clip_q8: int) -> Limits:
    """The limits that the middle updates of some rounds set: multiples of the middle one of them.

    clip_q8: the multiple for lengths, in 1/256; 0: nothing is limited, as without rounds.
    """
    if not rounds or not clip_q8:
        return UNLIMITED
    weights, biases, examples = (middle(of) for of in zip(*rounds, strict=True))
    return Limits(max(1, weights * clip_q8 >> 8), max(1, biases * clip_q8 >> 8), max(1, examples))


def middle(values: Sequence[int]) -> int:
    """The median; of an even number the lower of the two, so that half of them cannot set it."""
    return sorted(values)[(len(values) - 1) // 2]


def measure(
    layers: Sequence[Layer], exponents: Sequence[int], vector: Vector, examples: int
) -> Sizes:
    """Measure an update of a model with these exponents."""
    squares, start = 0, 0
    for layer, exponent in zip(layers, exponents, strict=True):
        stop = start + layer.weight_count
        squares += square_sum(vector.weights[start:stop]) << 2 * (exponent - MIN_EXPONENT)
        start = stop
    bits = 2 * vector.fraction  # of a square
    biases = square_sum(vector.biases)
    return Sizes(isqrt(squares >> bits), isqrt(biases >> bits), examples)


def square_sum(values: Values) -> int:
    """Sum of the squares of int16s or int32s, exactly, whatever the sum."""
    add = _short_square_sum if values.dtype.itemsize == 2 else _long_square_sum
    return sum(add(values[at : at + PIECE]) for at in range(0, len(values), PIECE))


def _short_square_sum(values: Values) -> int:
    """Of int16s: the sum of a piece has 44 bits. Not by np.dot, whose threads cost far more."""
    return int(np.square(values, dtype=np.int64).sum())


def _long_square_sum(values: Values) -> int:
    """Of int32s: a few of the largest squares are more than 64 bits hold."""
    squares = np.square(values, dtype=np.int64).view(np.uint64)
    high, low = squares >> np.uint64(32), squares & np.uint64(2**32 - 1)
    return (int(high.sum()) << 32) + int(low.sum())


def shortened(values: Values, share: int) -> Values:
    """values x share / 2^16, to nearest, halves up."""
    if share == WHOLE.weights:
        return values
    return rshift(values.astype(np.int64) * share, SHARE_BITS)


def _share(limit: int, norm: int) -> int:
    return 1 << SHARE_BITS if norm <= limit else (limit << SHARE_BITS) // norm
