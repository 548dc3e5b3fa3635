"""Looks host names up without holding the loop: a dead resolver answers after a minute.

A look-up cannot be taken back. While one hangs, a further one for the same name waits for it, so
that a device whose name server is gone for days piles nothing up.
"""

import threading
from collections.abc import Callable
from functools import partial

from fedling_protocol.net.way import Found, Way, addresses
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.worker import Worker

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
        self._under_way = False

    def look_up(self, then: Then, failed: Failed) -> None:
        """Tell the addresses, or in words why there are none; from the loop, later.

        Who asks again while a look-up is under way takes the place of who asked before.
        """
        self._asked = then, failed
        if self._under_way:
            return
        if self._is_number:
            self._clock.after(0, partial(self._on_found, self._way.addresses))
            return
        self._under_way = True
        call = partial(addresses, self._way.host, self._way.port)
        self._worker.do(call, self._on_found, self._on_failed)

    def forget(self) -> None:
        """Drop the answer: nobody wants it any more."""
        self._asked = None

    def _on_found(self, found: tuple[Found, ...]) -> None:
        self._under_way = False
        self._way.addresses, self._way.failure = found, ""
        if self._asked is not None:
            then, _ = self._asked
            self._asked = None
            then(found)

    def _on_failed(self, error: Exception) -> None:
        self._under_way = False
        if not isinstance(error, OSError):
            raise error
        self._way.failure = reason = _not_found(self._way.host, error)
        if self._asked is not None:
            _, failed = self._asked
            self._asked = None
            failed(reason)


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
        raise OSError(None, way.failure)
    if isinstance(told[0], OSError):
        way.failure = _not_found(way.host, told[0])
        raise OSError(None, way.failure) from told[0]
    way.addresses = told[0]
    return way.addresses


def _not_found(host: str, error: OSError) -> str:
    return f"the look-up of {host} failed: {error.strerror or error}"
