"""When samples were taken: what their row says or, of one without a time, when it came."""

from math import inf
from typing import NamedTuple

from fedling_agent.data.streams import Row

EVEN_MS = 250  # a sensor is not more even, or what reads it
NEAR_MS = 1000  # so far from what its row says a sample may be taken to be
FIRST_MS = 60_000  # a second sample comes so soon after the first one, or is no neighbour of it


class Interval(NamedTuple):
    """From a moment up to another one, which is left out. Unix time in ms."""

    begin_ms: int
    end_ms: int

    def has(self, taken_ms: int) -> bool:
        """Whether a moment is in it."""
        return self.begin_ms <= taken_ms < self.end_ms


class Times(NamedTuple):
    """When the first and the last of some samples were taken; the others are evenly between.

    Unix time in ms, by the sensor's clock or this device's: a clock that was set back between them
    has the last one be before the first.
    """

    first_ms: int
    last_ms: int

    def at(self, place: int, count: int) -> int:
        """When sample `place` of so many was taken."""
        if count < 2:
            return self.first_ms
        return self.first_ms + (self.last_ms - self.first_ms) * place // (count - 1)

    def part(self, begin: int, stop: int, count: int) -> "Times":
        """The times of samples from `begin` up to `stop`, which is left out, of so many."""
        return Times(self.at(begin, count), self.at(stop - 1, count))

    def goes_on(self, count: int, others: "Times", more: int) -> bool:
        """Whether samples follow these so evenly that all of them have the times of one line."""
        if count + more == 2:
            return abs(others.first_ms - self.last_ms) <= FIRST_MS
        line, number = Times(self.first_ms, others.last_ms), count + more
        step_ms = abs(line.last_ms - line.first_ms) / (number - 1)
        late_ms = abs(line.at(count - 1, number) - self.last_ms)
        early_ms = abs(line.at(count, number) - others.first_ms)
        return max(late_ms, early_ms) <= max(EVEN_MS, step_ms / 4)

    def within(self, interval: Interval, count: int) -> range:
        """Which of so many samples were taken within an interval."""
        low, high = sorted(self)
        if high < interval.begin_ms or low >= interval.end_ms:
            return range(0)
        if interval.has(low) and interval.has(high):
            return range(count)
        found = [n for n in range(count) if interval.has(self.at(n, count))]
        return range(found[0], found[-1] + 1) if found else range(0)


class Line:
    """Moments of samples, one after the other, that lie near one line from the first to the last.

    As a swinging door does it (Bristol 1990): what is left of all slopes is kept, nothing else.
    """

    def __init__(self, first_ms: int) -> None:
        self._first_ms = first_ms
        self._count = 0
        self._low, self._high = -inf, inf

    def takes(self, taken_ms: int) -> bool:
        """Whether the next one still does, with all before it; else it begins another line."""
        count, passed_ms = self._count + 1, taken_ms - self._first_ms
        if not self._low <= passed_ms / count <= self._high:
            return False
        self._count = count
        self._low = max(self._low, (passed_ms - NEAR_MS) / count)
        self._high = min(self._high, (passed_ms + NEAR_MS) / count)
        return True


class Coming(NamedTuple):
    """Lines of an input that came together."""

    times: Times | None  # of the first and the last line; None: of a file, it says nothing
    first: int  # number of the first line
    lines: int

    def of(self, row: Row) -> int | None:
        """When a row was taken; None: nobody knows."""
        if row.time_us is not None:
            return row.time_us // 1000
        return None if self.times is None else self.times.at(row.row - self.first, self.lines)
