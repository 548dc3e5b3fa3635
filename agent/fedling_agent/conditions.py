"""Reads power, heat and network from sysfs and procfs: cheap, pure, never surprised."""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the kernel's files are; tests and the simulator have their own."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")


@dataclass(frozen=True, slots=True)
class Signal(Generic[T]):
    """One value as read, or why there is none."""

    value: T | None
    source: str  # the file that told it, or that was looked for
    reason: str = ""  # why value is None
    broken: bool = False  # the hardware is there, what it says is of no use


@dataclass(frozen=True, slots=True)
class Readings:
    """All signals of one moment."""

    mains: Signal[bool]
    battery: Signal[int]  # percent
    temperature: Signal[float]  # degrees Celsius, of the hottest zone
    network: Signal[bool]  # a default route over an interface that is up
    at_ns: int  # CLOCK_MONOTONIC when the reading began


def read(roots: Roots) -> Readings:
    """Read everything now. Raises nothing; takes well below a millisecond."""
    raise NotImplementedError
