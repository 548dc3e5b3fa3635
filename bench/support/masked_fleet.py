"""A federation whose server reads sums of updates and no single one (NUMERICS.md section 12)."""

from dataclasses import dataclass, field

import numpy as np

from bench.support.kernel_fleet import Fleet
from fedling_broker.aggregation.aggregate import aggregate
from fedling_broker.aggregation.fixed import WEIGHT_GRID
from fedling_broker.aggregation.leaps import Leaps
from fedling_broker.aggregation.optimisers import MOST_LEAP, of_momentum
from fedling_broker.aggregation.ring_sum import (
    Opened,
    RingSum,
    Verdict,
    moved,
    step_for,
    unit_of,
)
from fedling_broker.aggregation.sums import GroupSum
from fedling_native.ring import WHOLE_SHARE, Ring
from fedling_protocol.wire.dither import dither

BITS, KEPT = 5, 51  # an element; of 1,024 places: a quarter of a bit a parameter
NOISES = 3  # a leap of what devices hold, in standard deviations of what moves a weight
LEAST_LEAP = 2  # steps


def least_leap_of(mean: GroupSum) -> int:
    """Choose the least leap for a mean that is mostly noise, in steps of the grid."""
    noise = float(np.sqrt(np.mean(np.square(mean.vector / 2.0**mean.fraction))))
    leap = int(NOISES * noise / 2**WEIGHT_GRID + 0.5)
    return max(LEAST_LEAP, min(leap, MOST_LEAP))


@dataclass
class MaskedFleet(Fleet):
    """Its limits are the devices' business: a server that sees sums cannot shorten an update."""

    step: int = 0  # of the ring; 0: none yet
    verdicts: list[Verdict] = field(default_factory=list)

    def round(self) -> None:
        ring = Ring(BITS, self.step or self.first_step(), KEPT, (len(self.verdicts), 7))
        opened = self.gather(ring)
        self.verdicts.append(opened.verdict())
        self.step = opened.next_step(self.cohort)
        if self.verdicts[-1] is Verdict.MEAN:
            self.take(opened)
        elif self.on_grid:
            self.changes.append(0)

    def first_step(self) -> int:
        """As if each update were as large as the model: the first sums tell how small they are."""
        unit, at, squares = unit_of(self.layers, self.state.exponents), 0, 0.0
        weights = np.frombuffer(self.state.view, "<i2")
        for layer, exponent in zip(self.layers, self.state.exponents, strict=True):
            own = weights[at : at + layer.weight_count].astype(np.float64)
            squares += float(np.square(own * 2.0 ** (exponent - 8 - unit)).sum())
            at += layer.weight_count
        return step_for((squares / at) ** 0.5 * self.cohort, BITS, self.cohort)

    def gather(self, ring: Ring) -> Opened:
        """Add up what the devices of a round send."""
        total, plan = RingSum(self.layers, ring), len(self.verdicts).to_bytes(4, "big")
        noises = list[bytes]()
        for number in self.chosen():
            noise = dither(plan, str(number), ring.elements(self.layers))
            payload = self.train(self.devices[number])
            elements = ring.encode(self.layers, self.state.exponents, payload, WHOLE_SHARE, noise)
            message = ring.pack(elements)
            total.add(message, WHOLE_SHARE)
            self.sizes.append(len(message))
            noises.append(noise)
        return total.open(noises)

    def take(self, opened: Opened) -> None:
        before, mean = self.state, opened.mean(self.state.exponents)
        leaps = Leaps(MOST_LEAP, least=least_leap_of(mean)) if self.on_grid else None
        setup = of_momentum(self.way.momentum, leaps)
        self.state = aggregate(before, [mean], setup, None)
        after = unit_of(self.layers, self.state.exponents)
        self.step = moved(self.step, after - unit_of(self.layers, before.exponents))
        if self.on_grid:
            self.changes.append(len(self.change_from(before)))
