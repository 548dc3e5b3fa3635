"""Sums of updates in a ring: aggregation reads their mean, and no single one of them.

Elements of updates (native/NUMERICS.md section 12) are added up modulo a power of two as they come;
nothing else of an update is kept. What devices of a round have in common, a Ring, holds a step that
is chosen so that the sum fits: one that has wrapped around, or a block of it, says so by its
energy, and is worth nothing.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from math import frexp, sqrt

import numpy as np
from numpy.typing import NDArray

from fedling_broker.aggregation.sums import GroupSum
from fedling_native import Layer, NativeError, coded
from fedling_native.ring import Ring
from fedling_protocol.classes import dataclass

MARGIN = 5  # standard deviations of a sum that fit in half of the ring, as steps are chosen
LEAST_MARGIN = 3  # with fewer of them it has wrapped around in places
LEAST_OF_BLOCK = 2.0  # the same of one block; one of mere garbage has 1.73
ENOUGH = 48  # elements that tell garbage from chance
CLEAR = 0.25  # a signal of this part of the dither's energy is worth to be added to a model
FINE = 512  # parts of a step in which totals are
BIAS_EXPONENT = -16
STEP_ZERO, MANTISSA = 40, 1024  # a step is mantissa * 2^(exponent - 40)
LEAST_STEP, MOST_STEP = 8 * MANTISSA, 64 * MANTISSA - 1


class Verdict(Enum):
    """What a sum is good for."""

    MEAN = "its mean is the round's"
    SPREAD = "so much of it is dither that only its spread is worth to know"
    WRAPPED = "it has wrapped around: nothing of it is worth anything"


class RingSum:
    """A running sum of a round's updates."""

    def __init__(self, layers: Sequence[Layer], ring: Ring) -> None:
        """Raises NativeError on a ring that is none."""
        self._layers, self._ring = layers, ring
        self._total = np.zeros(ring.elements(layers), np.uint16)
        self.devices, self.weight = 0, 0

    def add(self, message: bytes, share: int) -> None:
        """Add what a device sent.

        share: what it counts in the mean, in 1/32,768. Raises ValueError, and adds nothing, on a
        message that is none of this ring.
        """
        try:
            self._ring.add(message, self._total.data)
        except NativeError as error:
            raise ValueError(str(error)) from error
        self.devices += 1
        self.weight += share

    def open(self, dithers: Iterable[bytes]) -> "Opened":
        """Take the dither of exactly those devices away that were added.

        Raises ValueError on another number of them, and on one of another length.
        """
        half = 1 << (self._ring.bits - 1)
        signed = ((self._total.astype(np.int32) + half) & (2 * half - 1)) - half
        totals, count = FINE * signed, 0
        for dither in dithers:
            totals -= 2 * np.frombuffer(dither, np.uint8).astype(np.int32)
            count += 1
        if count != self.devices:
            raise ValueError(f"{count} devices' dither, {self.devices} updates were added")
        totals += 255 * count
        return Opened(self._layers, self._ring, totals, count, self.weight)


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """The sum of a round's updates, in 1/512 of a step."""

    layers: Sequence[Layer]
    ring: Ring
    totals: NDArray[np.int32]  # [elements]
    devices: int
    weight: int  # the sum of their shares

    @property
    def energy(self) -> float:
        """Its mean square, in steps^2."""
        return float(np.mean(np.square(self.totals / FINE)))

    @property
    def most_energy(self) -> float:
        """That of the block that has most; of neighbours together where few elements are sent."""
        length = self.ring.kept
        length = min(length * -(-ENOUGH // length), len(self.totals))
        whole = self.totals[: len(self.totals) // length * length]
        pieces = np.vstack((whole.reshape(-1, length), self.totals[-length:]))
        return float(np.square(pieces / FINE).mean(axis=1).max())

    @property
    def signal(self) -> float:
        """The energy of what was sent, without dither; not less than chance could hide."""
        chance = self.noise * sqrt(8 / len(self.totals))
        return max(self.energy - self.noise, chance, 1 / FINE)

    @property
    def noise(self) -> float:
        """The energy of the dither that is left: each device's is uniform over a step."""
        return self.devices / 12

    def verdict(self) -> Verdict:
        """Tell what it is good for."""
        half = 1 << (self.ring.bits - 1)
        fits = self.energy <= (half / LEAST_MARGIN) ** 2
        if not fits or self.most_energy > (half / LEAST_OF_BLOCK) ** 2:
            return Verdict.WRAPPED
        return Verdict.MEAN if self.signal >= CLEAR * self.noise else Verdict.SPREAD

    def mean(self, exponents: Sequence[int], members: Iterable[str] = ()) -> GroupSum:
        """Give the mean as aggregation takes it: a group of weight 1. Raises NativeError.

        exponents: of the round's base
        """
        read = self.ring.decode(self.layers, exponents, self.totals.data, self.weight)
        vector = np.frombuffer(read, np.int32).astype(np.int64)
        return GroupSum(vector, 1, tuple(sorted(members)), coded.ESTIMATE_BITS)

    def next_step(self, devices: int) -> int:
        """Choose the step of a round of so many devices, after this one.

        One that has wrapped around says nothing but that its step was too small: it is doubled.
        """
        if self.verdict() is Verdict.WRAPPED:
            return min(self.ring.step + MANTISSA, MOST_STEP)
        spread = sqrt(self.signal) * length_of(self.ring.step) * devices / self.devices
        return step_for(spread, self.ring.bits, devices)


def unit_of(layers: Sequence[Layer], exponents: Sequence[int]) -> int:
    """Find the exponent of the unit of a model's values (NUMERICS.md section 7)."""
    of_weights = [e - 8 for layer, e in zip(layers, exponents, strict=True) if layer.weight_count]
    return min([BIAS_EXPONENT, *of_weights])


def moved(step: int, units: int) -> int:
    """Say a step in a unit that has another exponent, greater by so many."""
    return max(LEAST_STEP, min(step - MANTISSA * units, MOST_STEP))


def length_of(step: int) -> float:
    """What a step of the ring is, in units of a value."""
    return (MANTISSA + step % MANTISSA) * 2.0 ** (step // MANTISSA - STEP_ZERO)


def step_for(spread: float, bits: int, devices: int) -> int:
    """Choose the step for a sum of this standard deviation, in units of a value.

    Raises ValueError where the devices' dither alone would not fit in the ring.
    """
    left = ((1 << bits - 1) / MARGIN) ** 2 - devices / 12
    if left <= 0:
        raise ValueError(f"{devices} devices do not fit in a ring of {bits} bits")
    mantissa, exponent = frexp(max(spread, 2.0**-60) / sqrt(left))
    step = (exponent + STEP_ZERO - 11) * MANTISSA + int(mantissa * 2 * MANTISSA) - MANTISSA
    return max(LEAST_STEP, min(step, MOST_STEP))
