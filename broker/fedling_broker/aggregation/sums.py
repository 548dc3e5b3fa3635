"""Sums of updates: all that aggregation sees of them.

A sum is the int64 total of weight x integer, so the order in which updates come does not change a
bit of it. It grows with the model, not with the number of devices.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from fedling_broker.aggregation.fixed import MAX_TOTAL_WEIGHT, Int64
from fedling_broker.aggregation.limits import PIECE, WHOLE, Shares, shortened
from fedling_broker.aggregation.vectors import Values, Vector
from fedling_native import Layer, parameter_counts
from fedling_protocol.classes import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class GroupSum:
    """The sum of a group's updates, and their weight."""

    vector: Int64  # sum of weight x delta, in the order of the update's vector
    weight: int  # sum of weights, 1 to 2^30
    members: tuple[str, ...]  # device ids
    fraction: int = 0  # fractional bits of the vector


class Sum:
    """A running sum; an update is in it as soon as it is stored."""

    def __init__(self, layers: Sequence[Layer], fraction: int = 0) -> None:
        """fraction: how many fractional bits the vectors have that are added."""
        self._counts = parameter_counts(layers)
        self._fraction = fraction
        self._scratch = np.empty(min(PIECE, sum(self._counts)), np.int64)
        self.total: Int64 = np.zeros(sum(self._counts), np.int64)
        self.weight = 0

    def add(self, vector: Vector, weight: int, shares: Shares = WHOLE) -> None:
        """Add weight x an update's vector.

        shares: what counts of its weights and of its biases. Raises ValueError, and leaves the
        sum as it was, on a vector of another model or unit, and when the weights pass 2^30.
        """
        if not 1 <= weight <= MAX_TOTAL_WEIGHT - self.weight:
            raise ValueError(f"weights add up to more than {MAX_TOTAL_WEIGHT}, or one is below 1")
        found = (len(vector.weights), len(vector.biases), vector.fraction)
        if found != (*self._counts, self._fraction):
            raise ValueError(f"a vector of {found}, the sum has {(*self._counts, self._fraction)}")
        self._add(0, vector.weights, weight, shares.weights)
        self._add(len(vector.weights), vector.biases, weight, shares.biases)
        self.weight += weight

    def group(self, members: Iterable[str] = ()) -> GroupSum:
        """Give the sum as aggregation takes it; the vector is not copied."""
        return GroupSum(self.total, self.weight, tuple(sorted(members)), self._fraction)

    def _add(self, start: int, values: Values, weight: int, share: int) -> None:
        """Add weight x what counts of the values, at a place of the vector."""
        for first in range(0, len(values), PIECE):
            piece = shortened(values[first : first + PIECE], share)
            product, place = self._scratch[: len(piece)], start + first
            np.multiply(piece, weight, out=product, dtype=np.int64)
            part = self.total[place : place + len(piece)]
            np.add(part, product, out=part)


def to_bytes(total: Int64) -> bytes:
    """Write a sum as it lies on disk."""
    return total.astype("<i8", copy=False).tobytes()


def from_bytes(data: bytes, layers: Sequence[Layer]) -> Int64:
    """Read what to_bytes() wrote. Raises ValueError on another length."""
    expected = 8 * sum(parameter_counts(layers))
    if len(data) != expected:
        raise ValueError(f"{len(data)} bytes, this model's sum has {expected}")
    return np.frombuffer(data, "<i8").astype(np.int64)
