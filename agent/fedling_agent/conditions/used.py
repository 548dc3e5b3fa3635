"""What training and the network have cost in the last 24 hours in which this device ran.

Hours are counted while the service runs, whatever the clock of a board says: an off-switch or a
jump of the date gives nothing back.
"""

from dataclasses import field

from fedling_protocol.classes import dataclass

HOURS = 24
MINUTE_S = 60.0
MB = 1e6


@dataclass(frozen=True, slots=True)
class Hour:
    """What one hour has cost."""

    number: int  # they follow one another, over restarts
    work_ms: int = 0  # of a processor, by training children
    bytes: int = 0  # at the socket, both ways


@dataclass(slots=True)
class Used:
    """The last hours. The loop adds; a reader beside it may look at the totals."""

    hours: list[Hour] = field(default_factory=lambda: [Hour(0)])  # the last one goes on
    work_ms: int = 0
    bytes: int = 0
    _part_ms: float = field(default=0.0, compare=False)  # of work, not added yet: -0.5 to 0.5

    @property
    def work_min(self) -> float:
        """Minutes of a processor."""
        return round(self.work_ms / 1000 / MINUTE_S, 1)

    @property
    def megabytes(self) -> float:
        return round(self.bytes / MB, 1)

    def load(self, hours: list[Hour]) -> None:
        """Go on where an earlier process had come to. hours: oldest first"""
        if hours:
            self.hours = hours[-HOURS:]
            self._count()

    def work(self, seconds: float) -> None:
        """Add what a training child took of a processor. A batch may be far below a millisecond."""
        exact_ms = seconds * 1000 + self._part_ms
        whole_ms = round(exact_ms)
        self._part_ms = exact_ms - whole_ms
        self._add(whole_ms, 0)

    def move(self, bytes: int) -> None:
        """Add what went through the socket."""
        self._add(0, bytes)

    def next_hour(self) -> None:
        """Begin another hour: what was used a day before it counts no more."""
        self.hours = [*self.hours, Hour(self.hours[-1].number + 1)][-HOURS:]
        self._count()

    def _add(self, work_ms: int, bytes: int) -> None:
        now = self.hours[-1]
        self.hours[-1] = Hour(now.number, now.work_ms + work_ms, now.bytes + bytes)
        self.work_ms += work_ms
        self.bytes += bytes

    def _count(self) -> None:
        self.work_ms = sum(hour.work_ms for hour in self.hours)
        self.bytes = sum(hour.bytes for hour in self.hours)
