"""What a condition is: how it is read, what it gates, its limits, and why it says no."""

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import Enum, StrEnum
from pathlib import Path

from fedling_agent.conditions.bus import Bus
from fedling_agent.conditions.owner import Owner
from fedling_agent.conditions.processors import Processors
from fedling_agent.conditions.used import Used
from fedling_protocol.classes import dataclass
from fedling_protocol.net.way import Way
from fedling_protocol.wire.messages import Conditions

Value = bool | float  # a float may be an int: 34 percent

LEASE_S = 0.2  # a batch, and whatever the session decides, depends on no older reading
LONGEST_LEASE_S = 1.0  # unless reading takes longer than that: then on one so old at most


# --- what is read ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Roots:
    """All that readers may ask: the kernel's files, or those that a test or a simulator made.

    What a reader needs besides (zones to leave out, a probe command) is a field here.
    """

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    zones: tuple[str, ...] = ()  # policy.zones: types of thermal zones to take or, -TYPE, leave out
    supplies: str = ""  # policy.supplies: a folder of more power supplies; empty: none
    metered: tuple[str, ...] = ()  # policy.metered: names of interfaces, with * and ?
    hours: tuple[str, ...] = ()  # policy.hours: windows of the day; none: any hour
    way: Way | None = None  # to the MQTT broker; None: none is configured
    used: Used | None = None  # of the day; None: outside of the service
    owner: Owner | None = None  # what was typed; None: nobody knows it here
    processors: Processors = field(default_factory=Processors)  # as they were seen
    unattended: bool = False  # policy.unattended: whether it matters who is there
    bus: Bus = field(default_factory=Bus)  # the system's, by which some readers ask


class Lack(Enum):
    """Why a signal has no value."""

    ABSENT = "absent"  # this machine has no such hardware
    UNTOLD = "untold"  # the hardware works, and does not tell this
    UNREADABLE = "unreadable"  # the hardware is there, what it says is of no use
    SILENT = "silent"  # it was not read, or has not answered


@dataclass(frozen=True, slots=True)
class Signal:
    """One value as read, or why there is none."""

    value: Value | None
    source: str  # the file that told it, or that was looked for
    lack: Lack | None = None  # why value is None
    detail: str = ""  # the lack in words; of a value: what else is known of it
    waited_s: float = 0.0  # for a reader that is silent

    @property
    def broken(self) -> bool:
        """Whether something is there that does not do what it should."""
        return self.lack in (Lack.UNREADABLE, Lack.SILENT)


def absent(source: str, detail: str) -> Signal:
    return Signal(None, source, Lack.ABSENT, detail)


def untold(source: str, detail: str) -> Signal:
    return Signal(None, source, Lack.UNTOLD, detail)


def unreadable(source: str, detail: str) -> Signal:
    return Signal(None, source, Lack.UNREADABLE, detail)


def unread(source: str, detail: str) -> Signal:
    return Signal(None, source, Lack.SILENT, detail)


@dataclass(frozen=True, slots=True)
class Readings:
    """The signals of all conditions, by name, of one moment."""

    signals: Mapping[str, Signal]
    at: float  # Clock.now() when the reading began
    took_s: float = 0.0

    @property
    def good_until(self) -> float:
        """Until when decisions may stand on it. A slow sensor is given a pause between readings."""
        return self.at + self.took_s + min(max(LEASE_S, self.took_s), LONGEST_LEASE_S)


# --- what is decided -------------------------------------------------------------------------


class Code(StrEnum):
    """Codes of reasons that any condition may give; its own code stands in its row."""

    UNREADABLE = "sensor-unreadable"
    SILENT = "sensor-silent"
    TOO_SOON = "must-hold-longer"


class Asker(StrEnum):
    """Whose limit it is."""

    POLICY = "policy"
    TASK = "task"
    OWNER = "owner"  # by a command


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not: a code with its numbers. words.py makes the sentence of it."""

    condition: "Condition"
    code: str
    value: Value | None = None
    limit: Value | None = None
    resume: Value | None = None  # set: `limit` would hold, but after it was passed, this must
    unit: str = ""
    asker: Asker | None = None
    source: str = ""
    detail: str = ""  # what the reader said


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit that one condition has to keep, and whose it is."""

    value: Value
    resume: Value  # after it was passed
    asker: Asker


# --- a row -----------------------------------------------------------------------------------


class Direction(Enum):
    """On which side of the limit work is allowed, the limit included."""

    AT_LEAST = "<"  # the sign of a value that fails
    AT_MOST = ">"


@dataclass(frozen=True, slots=True)
class Switch:
    """A limit that is on or off: the value must be true, or does not matter."""

    default: bool
    help: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit that is a number; once it was passed, `resume` must be reached.

    resume_help: empty: there is no such key, the limit itself must be reached again
    off: the limit that asks for nothing, whether there is a value or not; None: there is none
    """

    direction: Direction
    default: int
    resume: int
    low: int  # of what may be configured
    high: int
    help: str
    resume_help: str
    off: int | None = None


@dataclass(frozen=True, slots=True)
class Unless:
    """A limit without a key: work is allowed unless the value is true."""


def _never(_readings: Readings) -> bool:
    return False


def _fine(_readings: Readings) -> Reason | None:
    return None


@dataclass(frozen=True, slots=True)
class Condition:
    """One row of table.py: everything that is known of a condition."""

    name: str  # key in [policy], in JSON, and of the field by which a task asks for it
    unit: str
    read: Callable[[Roots], Signal]
    trains: bool  # whether it gates training
    transfers: bool  # whether it gates models and updates on their way
    limit: Switch | Bound | Unless
    code: str  # of the reason when the limit is passed
    word: str  # the same for counting: no numbers
    meaning: str  # the same for the documentation
    asks: Callable[[Conditions], Value] | None = None  # what a task's plan asks for
    say: Callable[[Reason], str] | None = None  # the sentence; None: the numbers of a Bound
    exempt: Callable[[Readings], bool] = field(default=_never)  # while the limit does not matter
    when_absent: Callable[[Readings], Reason | None] = field(default=_fine)
    harmless: tuple[Lack, ...] = (Lack.ABSENT,)  # lacks that are as good as no such hardware
    sends: bool = False  # whether it gates taking part: updates and questions, while models come

    @property
    def direction(self) -> Direction:
        match self.limit:
            case Switch():
                return Direction.AT_LEAST
            case Unless():
                return Direction.AT_MOST
        return self.limit.direction

    def is_off(self, limit: Value) -> bool:
        """Whether this limit asks for nothing."""
        match self.limit:
            case Switch():
                return limit is False
            case Bound(off=off):
                return off is not None and limit == off
        return False

    def keeps(self, value: Value, limit: Value) -> bool:
        """Whether the value is on the allowed side."""
        return value >= limit if self.direction is Direction.AT_LEAST else value <= limit

    def lacking(self, signal: Signal) -> Reason:
        """A value that hardware should give and does not is no permission."""
        if signal.lack is Lack.SILENT:
            return Reason(
                self,
                Code.SILENT,
                signal.waited_s,
                unit="s",
                source=signal.source,
                detail=signal.detail,
            )
        return Reason(self, Code.UNREADABLE, source=signal.source, detail=signal.detail)
