"""How the mean of a round becomes a change of the model: one row of a table each.

An optimiser is element-wise and keeps named int64 arrays beside the master, so a state can be
folded block by block, and lies on disk under names that say what it is.
"""

import json
from collections.abc import Callable, Mapping
from math import isqrt

import numpy as np

from fedling_broker.aggregation.fixed import Int64, limited, rshift
from fedling_broker.aggregation.leaps import ONE, Leaps
from fedling_broker.aggregation.state import HELD
from fedling_protocol.classes import dataclass

GRID = "grid"  # a parameter of any optimiser: the longest leap of what devices hold, if on a grid
LEAST = "grid_least"  # beside it: what leaps are not shortened below; absent: a step
SHARE = "grid_share"  # beside it: sixteenths of the mean weight that a leap has, to the nearest
MOST_LEAP = 10  # that a change tells in few bits
USUAL_LEAP = 8  # the longest: a power of two, as all with a share
MOST_SHARE = 2 * ONE

Arrays = Mapping[str, Int64]
Apply = Callable[[Mapping[str, int], Arrays, Int64], tuple[Int64, dict[str, Int64]]]


@dataclass(frozen=True, slots=True)
class Optimiser:
    """One way to follow the mean."""

    name: str
    parameters: Mapping[str, tuple[int, int]]  # each with the lowest and highest that is allowed
    units: Mapping[str, int]
    """The arrays that it keeps, with the power of the master's unit that each has: when a layer's
    exponent grows by s, a velocity (1) shrinks by s bits, a second moment (2) by twice as many."""
    apply: Apply
    """(parameters, arrays, mean with 16 fractional bits) -> (change of the master, new arrays)"""

    def init(self, count: int) -> dict[str, Int64]:
        """Make its arrays for so many values of a first model: zeros."""
        return {name: np.zeros(count, np.int64) for name in self.units}


def plain(
    parameters: Mapping[str, int], arrays: Arrays, mean: Int64
) -> tuple[Int64, dict[str, Int64]]:
    """Federated averaging (McMahan et al. 2017): the master moves by the mean."""
    return limited(mean), {}


def momentum(
    parameters: Mapping[str, int], arrays: Arrays, mean: Int64
) -> tuple[Int64, dict[str, Int64]]:
    """FedAvgM (Hsu et al. 2019): the master moves by a velocity that remembers earlier means."""
    kept = rshift(arrays["velocity"] * parameters["momentum_q8"], 8)
    velocity = limited(kept + mean)
    return velocity, {"velocity": velocity}


OPTIMISERS = {
    row.name: row
    for row in (
        Optimiser("fedavg", {}, {}, plain),
        Optimiser("fedavgm", {"momentum_q8": (1, 255)}, {"velocity": 1}, momentum),
    )
}


@dataclass(frozen=True, slots=True)
class Setup:
    """An optimiser with its parameters: as a task has it, and as the journal keeps it."""

    name: str
    parameters: Mapping[str, int]  # those of its row, and of GRID, LEAST and SHARE

    def __post_init__(self) -> None:
        """Check it. Raises ValueError on a name, parameter or value that is not in the table."""
        row = OPTIMISERS.get(self.name)
        if row is None:
            raise ValueError(f"optimiser {self.name!r}: known are {', '.join(OPTIMISERS)}")
        if self.parameters.keys() - {GRID, LEAST, SHARE} != row.parameters.keys():
            raise ValueError(f"{self.name} has the parameters {', '.join(row.parameters) or '-'}")
        longest = self.parameters.get(GRID, 0)
        of_grid = {GRID: (1, MOST_LEAP), LEAST: (1, longest), SHARE: (1, longest and MOST_SHARE)}
        allowed = {**row.parameters, **of_grid}
        for name, (low, high) in ((name, allowed[name]) for name in sorted(self.parameters)):
            value = self.parameters[name]
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{self.name}: {name} = {value!r}: allowed: {low} to {high}")

    @property
    def optimiser(self) -> Optimiser:
        """The row of this optimiser."""
        return OPTIMISERS[self.name]

    @property
    def on_grid(self) -> bool:
        """Whether devices hold values on a grid, which follow the server's (state.follow())."""
        return GRID in self.parameters

    @property
    def leaps(self) -> Leaps:
        """In which they follow."""
        of = self.parameters
        return Leaps(of.get(GRID, 0), of.get(SHARE), of.get(LEAST, 0))

    @property
    def units(self) -> Mapping[str, int]:
        """The arrays that a state has beside its masters, as in Optimiser."""
        return {**self.optimiser.units, HELD: 1} if self.on_grid else self.optimiser.units

    @property
    def text(self) -> str:
        """The parameters as the journal keeps them: JSON, keys in order, without spaces."""
        return json.dumps(dict(self.parameters), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def parse(name: str, text: str) -> "Setup":
        """Make a Setup of a name and what `text` wrote. Raises ValueError."""
        parameters = json.loads(text)
        if not isinstance(parameters, dict):
            raise ValueError(f"{name}: its parameters are no JSON object")
        return Setup(name, parameters)


def leaps_of(target: int | None, parameters: int) -> Leaps | None:
    """Find the leaps of what devices hold when updates have so many bytes; None: on no grid.

    With a quarter of the bits the noise of a mean is twice as wide, and moves as many values as
    before if a leap is twice as long: it is about .44 of the mean weight at a bit a parameter, .88
    at a quarter.
    """
    if target is None:
        return None
    return Leaps(USUAL_LEAP, max(1, min(isqrt(7 * parameters // target), MOST_SHARE)))


def of_momentum(momentum_q8: int, leaps: Leaps | None = None) -> Setup:
    """Choose the optimiser of a momentum in 1/256: plain averaging if it is 0.

    leaps: of what devices hold on a grid; None: they hold what the server does
    """
    grid = {}
    if leaps is not None:
        grid[GRID] = leaps.longest
        if leaps.share is not None:
            grid[SHARE] = leaps.share
        if leaps.least:
            grid[LEAST] = leaps.least
    if momentum_q8:
        return Setup("fedavgm", {"momentum_q8": momentum_q8, **grid})
    return Setup("fedavg", grid)
