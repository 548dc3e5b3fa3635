"""When samples were taken: what their row says or, of one without a time, when it came."""

from typing import NamedTuple

from fedling_agent.data.streams import Row

EVEN_MS = 250  # a sensor is not more even, or what reads it
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

    def goes_on(self, count: int, next_ms: int) -> bool:
        """Whether a sample follows these as evenly as they follow each other."""
        step_ms = (self.last_ms - self.first_ms) / (count - 1) if count > 1 else 0.0
        late_ms = abs(next_ms - self.last_ms - step_ms)
        return late_ms <= max(EVEN_MS, step_ms / 2) if count > 1 else late_ms <= FIRST_MS

    def within(self, interval: Interval, count: int) -> range:
        """Which of so many samples were taken within an interval."""
        low, high = sorted(self)
        if high < interval.begin_ms or low >= interval.end_ms:
            return range(0)
        found = [n for n in range(count) if interval.has(self.at(n, count))]
        return range(found[0], found[-1] + 1) if found else range(0)


class Coming(NamedTuple):
    """Lines of an input that came together."""

    times: Times  # of the first and the last line
    first: int  # number of the first line
    lines: int

    def of(self, row: Row) -> int:
        """When a row was taken."""
        if row.time_us is not None:
            return row.time_us // 1000
        return self.times.at(row.row - self.first, self.lines)
