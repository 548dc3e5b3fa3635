"""Looks host names up without holding the loop: a dead resolver answers after a minute.

A look-up cannot be taken back. While one hangs, a further one for the same name waits for it, so
that a device whose name server is gone for days piles nothing up.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.worker import Worker


@dataclass(frozen=True, slots=True)
class Found:
    """One address of a name, as socket.socket() and connect() want it."""

    family: int
    kind: int
    protocol: int
    address: tuple[Any, ...]


Then = Callable[[list[Found]], None]
Failed = Callable[[str], None]


class Names:
    """Addresses of one host and port."""

    def __init__(self, clock: Clock, worker: Worker, host: str, port: int) -> None:
        self._clock = clock
        self._worker = worker
        self._host = host
        self._port = port
        self._asked: tuple[Then, Failed] | None = None  # the last one who did
        self._under_way = False

    def look_up(self, then: Then, failed: Failed) -> None:
        """Tell the addresses, or in words why there are none; from the loop, later.

        Who asks again while a look-up is under way takes the place of who asked before.
        """
        self._asked = then, failed
        if self._under_way:
            return
        try:
            found = _addresses(self._host, self._port, socket.AI_NUMERICHOST)
        except OSError:  # a name
            self._under_way = True
            self._worker.do(
                partial(_addresses, self._host, self._port, 0), self._on_found, self._on_failed
            )
        else:
            self._clock.after(0, partial(self._on_found, found))

    def forget(self) -> None:
        """Drop the answer: nobody wants it any more."""
        self._asked = None

    def _on_found(self, found: list[Found]) -> None:
        self._under_way = False
        if self._asked is not None:
            then, _ = self._asked
            self._asked = None
            then(found)

    def _on_failed(self, error: Exception) -> None:
        self._under_way = False
        if not isinstance(error, OSError):
            raise error
        if self._asked is not None:
            _, failed = self._asked
            self._asked = None
            failed(error.strerror or str(error))


def _addresses(host: str, port: int, flags: int) -> list[Found]:
    rows = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags)
    return [Found(family, kind, protocol, tuple(a)) for family, kind, protocol, _, a in rows]
