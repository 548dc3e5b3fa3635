"""Holes: where the samples of a recording do not follow on from each other.

A row that was refused leaves one, and so does a `time` that jumps, steps back or stands still. What
lies on both sides of a hole is never in one window.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import field

from fedling_agent.data.streams import Hole, HoleKind, Row, RowError
from fedling_protocol.classes import dataclass

STEPS = 9  # the last ones, whose median is the usual step
JUMP = 3  # usual steps: more is a jump
COARSE = 7  # of the last nine steps were 0: a clock of few digits, its repeats are no holes
MOST_RECORDINGS = 4096  # that one input is remembered to write at the same time


@dataclass(slots=True)
class _Pace:
    """How the time of one recording has gone on."""

    last_us: int
    steps: deque[int] = field(default_factory=lambda: deque(maxlen=STEPS))
    forward: deque[int] = field(default_factory=lambda: deque(maxlen=STEPS))  # those above 0

    def hole(self, time_us: int) -> Hole | None:
        """Go on to this time."""
        step, self.last_us = time_us - self.last_us, time_us
        found = self._judge(step)
        self.steps.append(step)
        if step > 0:
            self.forward.append(step)
        return found

    def _judge(self, step: int) -> Hole | None:
        if step < 0:
            return Hole(HoleKind.BACK, f"time steps back by {seconds(-step)}")
        if step == 0:
            coarse = self.steps.count(0) >= COARSE
            return None if coarse else Hole(HoleKind.REPEAT, "time repeats")
        usual = sorted(self.forward)[len(self.forward) // 2] if self.forward else step
        if step > JUMP * usual:
            words = f"time jumps by {seconds(step)}, the usual step is {seconds(usual)}"
            return Hole(HoleKind.JUMP, words)
        return None


class Holes:
    """Finds the holes of one input, row by row."""

    def __init__(self) -> None:
        # None: its rows have no time. The first one goes at no cost, unlike that of a dict.
        self._paces: OrderedDict[str, _Pace | None] = OrderedDict()
        self._refused: set[str] = set()  # recordings whose last row was refused

    def mark(self, rows: Iterable[Row | RowError]) -> Iterator[Row | RowError]:
        """The same rows, those after a hole marked."""
        for row in rows:
            if isinstance(row, RowError):
                self._refuse(row.recording)
                yield row
            else:
                hole = self._hole(row)
                yield row if hole is None else row._replace(hole=hole)

    def _refuse(self, recording: str | None) -> None:
        """Of a recording that had no good row yet there is nothing to part."""
        if recording is None:
            self._refused.update(self._paces)
        elif recording in self._paces:
            self._refused.add(recording)

    def _hole(self, row: Row) -> Hole | None:
        name = row.recording
        pace, found = self._paces.pop(name, None), None
        if row.time_us is None:
            pace = None
        elif pace is None:
            pace = _Pace(row.time_us)
        else:
            found = pace.hole(row.time_us)
        self._paces[name] = pace
        if len(self._paces) > MOST_RECORDINGS:  # the store takes it for another input's
            forgotten, _ = self._paces.popitem(last=False)
            self._refused.discard(forgotten)
        if name in self._refused:
            self._refused.discard(name)
            return found or Hole(HoleKind.REFUSED, "a row before it was refused")
        return found


def seconds(us: float) -> str:
    """Write a duration as people say it, from microseconds."""
    for unit, size in (("d", 86_400e6), ("h", 3600e6), ("min", 60e6), ("s", 1e6), ("ms", 1e3)):
        if us >= 2 * size or (unit == "s" and us >= size):
            return f"{us / size:.3g} {unit}"
    return f"{us:.0f} us"
