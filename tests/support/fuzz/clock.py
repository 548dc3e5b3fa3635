"""A clock by hand that notices when time stands still."""

from collections.abc import Callable

from fedling_protocol.runtime.loop import Timer
from tests.support.ports import HandClock

MOST_AT_ONCE = 20_000  # timers in one instant


class Endless(Exception):
    """In one instant something happens again and again."""


class WatchedClock(HandClock):
    """Counts what is asked for in one instant."""

    def __init__(self, start: float = 1000.0) -> None:
        super().__init__(start)
        self._at = start
        self._count = 0

    def at(self, due: float, call: Callable[[], None]) -> Timer:
        if self.now() != self._at:
            self._at, self._count = self.now(), 0
        self._count += 1
        if self._count > MOST_AT_ONCE:
            raise Endless(f"{call} again and again")
        return super().at(due, call)
