"""The running service's one way to the disk: in a worker beside the loop, one write after another.

A card that is slow, or dies, holds no lease and no answer up.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from fedling_protocol.disk.errors import BadDatabase, CannotWrite
from fedling_protocol.runtime.worker import Failed, Worker

T = TypeVar("T")


class Writer:
    """Runs durable calls. After a CannotWrite the service begins anew from what is on disk."""

    def __init__(self, disk: Worker, refused: Callable[[Exception], None]) -> None:
        """Write by this worker. refused: told each time that the disk could not be written, or
        that the database is damaged, or what else a call raised that nobody wants to hear of"""
        self._disk = disk
        self.refused = refused

    def do(
        self, call: Callable[[], T], then: Callable[[T], None], failed: Failed | None = None
    ) -> None:
        """Make a durable call; `then` is called from the loop when it is on disk.

        failed: told what the call raised
        """
        self._disk.do(call, then, partial(self._on_failed, failed))

    def _on_failed(self, failed: Failed | None, error: Exception) -> None:
        if failed is not None:
            failed(error)
        if failed is None or isinstance(error, CannotWrite | BadDatabase):
            self.refused(error)


def ignore(_result: object) -> None:
    """Do nothing with a result: a `then` for who wants to know nothing."""
