"""Reads coded updates beside the loop, before anything is decided about them.

What an update of a large model says is worked out in tenths of a second: too long for a turn. One
is read at a time, and the next one when that is taken: no more than one vector is in memory.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from fedling_broker.aggregation.reading import Base, Read
from fedling_broker.rounds.events import UpdateSeen
from fedling_protocol.runtime.worker import Failed, Worker

MOST_UNREAD = 64 << 20  # bytes of messages that wait; who sent a further one asks again


class Reader:
    """The coded updates of one task that nobody has read yet: of each device one."""

    def __init__(self, worker: Worker, take: Callable[[UpdateSeen], None], failed: Failed) -> None:
        """take: gets the update, read or unreadable, and calls next() when it is done with it."""
        self._worker = worker
        self._take = take
        self._failed = failed
        self._unread: OrderedDict[str, tuple[Base, UpdateSeen]] = OrderedDict()  # by device
        self._bytes = 0
        self._reading = False

    def add(self, base: Base, event: UpdateSeen) -> bool:
        """Read it in its turn; False: there is no room for it, or the device has one here."""
        more = len(event.message)
        if event.device in self._unread or self._bytes + more > MOST_UNREAD:
            return False
        self._bytes += more
        self._unread[event.device] = base, event
        if not self._reading:
            self.next()
        return True

    def next(self) -> None:
        """Read the next one."""
        self._reading = bool(self._unread)
        if not self._unread:
            return
        base, event = next(iter(self._unread.values()))
        self._worker.do(lambda: read(base, event), self._on_read, self._failed)

    def close(self) -> None:
        """Nobody wants them any more."""
        self._unread.clear()

    def _on_read(self, event: UpdateSeen) -> None:
        if self._unread.pop(event.device, None) is not None:  # else it was closed meanwhile
            self._bytes -= len(event.message)
            self._take(event)


def read(base: Base, event: UpdateSeen) -> UpdateSeen:
    """The same, with what it says; unreadable: no encoder wrote that."""
    try:
        found: Read = base.read(event.device, event.update)
    except ValueError:
        return replace(event, unreadable=True)
    return replace(event, read=found)
