"""How the mean of a round becomes a change of the model: one row of a table each.

An optimiser is element-wise and keeps named int64 arrays beside the master, so a state can be
folded block by block, and lies on disk under names that say what it is.
"""

import json
from collections.abc import Callable, Mapping
from math import isqrt

import numpy as np

from fedling_broker.aggregation.fixed import Int64, limited, rshift
from fedling_broker.aggregation.state import HELD
from fedling_protocol.classes import dataclass

GRID = "grid"  # a parameter of any optimiser: the leap of what devices hold; absent: no grid
LEAST = "grid_least"  # beside it: what it is not shortened below; absent: a step
MOST_LEAP = 10  # that a change tells in few bits

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
    parameters: Mapping[str, int]  # those of its row, GRID and LEAST

    def __post_init__(self) -> None:
        """Check it. Raises ValueError on a name, parameter or value that is not in the table."""
        row = OPTIMISERS.get(self.name)
        if row is None:
            raise ValueError(f"optimiser {self.name!r}: known are {', '.join(OPTIMISERS)}")
        if self.parameters.keys() - {GRID, LEAST} != row.parameters.keys():
            raise ValueError(f"{self.name} has the parameters {', '.join(row.parameters) or '-'}")
        allowed = {**row.parameters, GRID: (1, MOST_LEAP), LEAST: (1, self.parameters.get(GRID, 0))}
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
    def leap(self) -> int:
        """In which leaps they follow, in steps of the grid; 0 without one."""
        return self.parameters.get(GRID, 0)

    @property
    def least_leap(self) -> int:
        """What a leap is not shortened below, in steps; 0: nothing but a step."""
        return self.parameters.get(LEAST, 0)

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


def leap_of(target: int | None, parameters: int) -> int:
    """Find the leap of what devices hold when updates have so many bytes; None: there is no grid.

    With a quarter of the bits the noise of a mean is twice as wide, and moves as many values as
    before if a leap is twice as long: it is 1 at a bit a parameter, 2 at a tenth.
    """
    if target is None:
        return 0
    return max(1, min(isqrt(parameters // (16 * target)), MOST_LEAP))


def of_momentum(momentum_q8: int, leap: int = 0, least_leap: int = 0) -> Setup:
    """Choose the optimiser of a momentum in 1/256: plain averaging if it is 0.

    leap: of what devices hold on a grid, in its steps; 0: they hold what the server does
    least_leap: what it is not shortened below; 0: nothing but a step
    """
    grid = {GRID: leap} if leap else {}
    if least_leap:
        grid[LEAST] = least_leap
    if momentum_q8:
        return Setup("fedavgm", {"momentum_q8": momentum_q8, **grid})
    return Setup("fedavg", grid)
