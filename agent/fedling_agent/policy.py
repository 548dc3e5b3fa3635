"""Decides from readings whether a device may train or transfer, in sentences a person can read."""

from dataclasses import dataclass, field

from fedling_agent.conditions import Readings
from fedling_protocol.messages import Conditions


@dataclass(frozen=True, slots=True)
class Policy:
    """The owner's own conditions; a task's are added, the stricter wins."""

    mains: bool = False  # only while on mains
    battery: int = 40  # percent at least, when not on mains
    battery_resume: int = 45  # once it was too low: percent at which it is enough again
    temperature: int = 70  # degrees Celsius at most
    temperature_resume: int = 65  # once it was too hot: cool enough again
    network: bool = True  # large transfers need a default route
    dwell_s: float = 10.0  # conditions must hold this long before a "no" becomes a "yes"
    check_s: float = 60.0  # between readings while nothing is trained


@dataclass(frozen=True, slots=True)
class Memory:
    """What the last decision leaves for the next: hysteresis and dwell. Starts empty."""

    battery_low: bool = False
    too_hot: bool = False
    bad_power_ns: int | None = None  # CLOCK_MONOTONIC of the last reading that said no
    bad_heat_ns: int | None = None
    bad_network_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a device may do now. Power and network gate transfers, power and heat training."""

    train: bool
    transfer: bool
    train_reasons: tuple[str, ...] = field(default=())  # why not: "battery 34 % < 40 %"
    transfer_reasons: tuple[str, ...] = field(default=())
    next_check_s: float = 0.0

    @property
    def reasons(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys(self.train_reasons + self.transfer_reasons))


def decide(
    policy: Policy, asked: Conditions | None, readings: Readings, memory: Memory
) -> tuple[Allowance, Memory]:
    """Pure. asked: the conditions of the task, None when no plan is known.

    Keep one Memory per task. A "no" comes at once, a "yes" after dwell_s of good readings.
    """
    raise NotImplementedError


def sentence(allowance: Allowance) -> str:
    """As "battery 34 % < 40 %, next check in 12 min"; empty if all is allowed."""
    raise NotImplementedError
