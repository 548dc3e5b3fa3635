"""Feeds systemd's watchdog from the loop: a loop that hangs is not fed, and is started anew."""

from fedling_protocol.runtime import sdnotify
from fedling_protocol.runtime.loop import Clock


class Watchdog:
    """Silent if the service manager watches nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._within_s = sdnotify.watchdog_s()

    def start(self) -> None:
        """Feed it now, and twice in each of its periods."""
        if self._within_s is not None:
            sdnotify.alive()
            self._clock.after(self._within_s / 2, self.start)
