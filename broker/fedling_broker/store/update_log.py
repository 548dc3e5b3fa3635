"""The accepted updates of a round, one after another in one file: the crash copy of its sum.

A file for each update cost three fsyncs and a name to erase; here all that came in one turn of the
loop costs one, and a round is erased by removing one file. The database knows where each update
lies. What lies behind the last one that it knows was never acknowledged: a crash came between, and
the next write cuts it off.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fedling_broker.store.shelf import Damaged
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.wire import digest


@dataclass(frozen=True, slots=True)
class Extent:
    """Where an update lies in its round's file."""

    first: int
    size: int  # bytes

    @property
    def end(self) -> int:
        return self.first + self.size


class UpdateLog:
    """One round's file, of which only the end is known here. No file stays open."""

    def __init__(self, path: Path, end: int) -> None:
        """end: of the last extent that the database knows; 0: a new round."""
        self.path = path
        self._written = self._end = end
        self._waiting: list[bytes] = []

    def add(self, message: bytes) -> Extent:
        """Take a message in; it is on disk when what take() gives was called."""
        extent = Extent(self._end, len(message))
        self._end = extent.end
        self._waiting.append(message)
        return extent

    def take(self) -> Callable[[], None] | None:
        """What writes all that was added, durably, beside the loop; None: nothing was added.

        It raises OSError.
        """
        if not self._waiting:
            return None
        pieces, first = tuple(self._waiting), self._written
        self._waiting.clear()
        self._written = self._end
        return partial(durable.append, self.path, first, pieces, named=first > 0)


def read(path: Path, extent: Extent, name: bytes) -> bytes:
    """The update with this message hash. Raises Damaged."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(handle, extent.size, extent.first)
        finally:
            os.close(handle)
    except FileNotFoundError as error:
        raise Damaged(f"{path}: is missing") from error
    except OSError as error:
        raise Damaged(f"{path}: cannot be read: {error.strerror}") from error
    if digest.message_hash(data) != name:
        raise Damaged(f"{path}: at byte {extent.first}: not the update that was accepted")
    return data
