"""Feeds the service manager's watchdog, from the loop: a thread would feed it during a hang."""

from fedling_protocol.runtime import sdnotify
from fedling_protocol.runtime.loop import Clock


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
