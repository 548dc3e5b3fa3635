"""Looks host names up without holding the loop: a dead resolver answers after a minute.

A look-up cannot be taken back. While one hangs, a further one for the same name waits for it, so
that a device whose name server is gone for days piles nothing up.
"""

import threading
from collections.abc import Callable
from functools import partial

from fedling_protocol.net.way import Found, Way, addresses
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.loop import Clock, Timer
from fedling_protocol.runtime.worker import Worker

LOOK_UP_S = 20.0  # who asks is told that there is no answer; a dead resolver takes up to a minute

Then = Callable[[tuple[Found, ...]], None]
Failed = Callable[[str], None]


class Names:
    """Addresses of the host that a way leads to; the way remembers them."""

    def __init__(self, clock: Clock, worker: Worker, way: Way) -> None:
        self._clock = clock
        self._worker = worker
        self._way = way
        self._is_number = bool(way.addresses)
        self._asked: tuple[Then, Failed] | None = None  # the last one who did
        self._timer: Timer | None = None  # until who asked has waited long enough
        self._under_way = False

    def look_up(self, then: Then, failed: Failed) -> None:
        """Tell the addresses, or in words why there are none; from the loop, later.

        Who asks again while a look-up is under way takes the place of who asked before.
        """
        self.forget()
        self._asked = then, failed
        if self._is_number:
            self._timer = self._clock.after(0, partial(self._found, self._way.addresses))
            return
        self._timer = self._clock.after(LOOK_UP_S, self._on_late)
        if not self._under_way:
            self._under_way = True
            call = partial(addresses, self._way.host, self._way.port)
            self._worker.do(call, self._on_found, self._on_failed)

    def forget(self) -> None:
        """Drop the answer: nobody wants it any more."""
        self._asked = None
        if self._timer is not None:
            self._timer.cancel()

    def _on_found(self, found: tuple[Found, ...]) -> None:
        self._under_way = False
        self._found(found)

    def _on_failed(self, error: Exception) -> None:
        self._under_way = False
        self._failed(_not_found(self._way.host, error))

    def _on_late(self) -> None:
        """Give who asked the answer that there is none; the look-up goes on, for the next try."""
        self._failed(no_answer(self._way.host, LOOK_UP_S))

    def _found(self, found: tuple[Found, ...]) -> None:
        self._way.addresses, self._way.failure = found, ""
        asked = self._asked
        self.forget()
        if asked is not None:
            asked[0](found)

    def _failed(self, reason: str) -> None:
        self._way.failure = reason
        asked = self._asked
        self.forget()
        if asked is not None:
            asked[1](reason)


def no_answer(host: str, seconds: float) -> str:
    """Say that the name servers keep us waiting: it is not the MQTT broker that is silent."""
    return f"the look-up of {host} has had no answer for {seconds:.0f} s"


def find(way: Way, seconds: float) -> tuple[Found, ...]:
    """Look up for a command, which may wait, but not for a minute. Raises OSError."""
    if way.addresses:
        return way.addresses
    told: list[tuple[Found, ...] | OSError] = []

    def call() -> None:
        try:
            told.append(addresses(way.host, way.port))
        except OSError as error:
            told.append(error)

    thread = threading.Thread(target=call, name="names", daemon=True)
    thread.start()
    thread.join(seconds)
    if not told:
        way.failure = no_answer(way.host, seconds)
        raise OSError(way.failure)
    if isinstance(told[0], OSError):
        way.failure = _not_found(way.host, told[0])
        raise OSError(way.failure) from told[0]
    way.addresses = told[0]
    return way.addresses


def _not_found(host: str, error: Exception) -> str:
    words = mishaps.sentence(error)
    if isinstance(error, OSError):
        words = error.strerror or str(error)
    return f"the look-up of {host} failed: {words}"
