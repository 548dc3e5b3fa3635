"""Devices that ask and are not of the fleet: who makes keys fills neither the disk nor the log."""

import logging

from fedling_broker.service.turns import Turns
from fedling_broker.store.devices import Devices
from fedling_protocol.runtime.loop import Clock, Timer

log = logging.getLogger(__name__)

PAUSE_S = 1.0  # between two writes
MOST = 100  # noted in one write; who is left out asks again
LINES = 10  # in the log, in each LINES_S
LINES_S = 60.0


class Strangers:
    """Notes who asks, for `fedling-broker device pending`."""

    def __init__(self, clock: Clock, devices: Devices, turns: Turns) -> None:
        self._clock = clock
        self._devices = devices
        self._turns = turns
        self._waiting: dict[str, bytes] = {}  # keys by device, not written yet
        self._pause: Timer | None = None
        self._lines = 0
        self._lines_since = 0.0

    def note(self, device: str, key: bytes) -> None:
        """One asked; in a turn."""
        if len(self._waiting) < MOST:
            self._waiting[device] = key
        if self._pause is None:
            self._write()

    def _write(self) -> None:
        self._pause = self._clock.after(PAUSE_S, self._on_pause)
        waiting, self._waiting = self._waiting, {}
        now_s = int(self._clock.wall())
        for device, key in waiting.items():
            if self._devices.ask(device, key, now_s):
                self._tell(device, key)

    def _on_pause(self) -> None:
        self._pause = None
        if self._waiting:
            self._turns.run(self._write)

    def _tell(self, device: str, key: bytes) -> None:
        now = self._clock.now()
        if now - self._lines_since >= LINES_S:
            self._lines, self._lines_since = 0, now
        self._lines += 1
        if self._lines <= LINES:
            log.warning(
                "%s is not enrolled; to enrol it: fedling-broker device add %s %s",
                device, device, key.hex(),
            )  # fmt: skip
        elif self._lines == LINES + 1:
            log.warning("more devices are not enrolled; see: fedling-broker device pending")
