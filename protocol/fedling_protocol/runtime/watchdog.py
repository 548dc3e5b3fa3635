"""Feeds the service manager's watchdog, from the loop: a thread would feed it during a hang."""

import time
from collections.abc import Callable

from fedling_protocol.runtime import sdnotify
from fedling_protocol.runtime.loop import Clock

TOLD_S, PATIENCE_S = 1.0, 60.0


def in_long_work() -> Callable[[], None]:
    """Make a call for work that no loop runs beside: often called, it feeds the watchdog.

    The start may take as long as it is called, too.
    """
    told = float("-inf")

    def alive() -> None:
        nonlocal told
        if time.monotonic() >= told + TOLD_S:
            told = time.monotonic()
            sdnotify.working(PATIENCE_S)

    return alive


class Watchdog:
    """Does nothing where no watchdog is on us."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def start(self) -> None:
        """Give a sign of life now, and twice in the time within which it is wanted."""
        watchdog_s = sdnotify.watchdog_s()
        if watchdog_s is not None:
            self._feed(watchdog_s / 2)

    def _feed(self, every_s: float) -> None:
        sdnotify.alive()
        self._clock.after(every_s, lambda: self._feed(every_s))
