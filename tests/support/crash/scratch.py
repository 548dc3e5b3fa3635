"""A directory for runs: in memory where there is room, since a killed process loses no page."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.memory import MIB, memory

ROOM = 256 * MIB  # a run needs some tens of megabytes


@contextmanager
def directory() -> Iterator[Path]:
    """Removed at the end."""
    with tempfile.TemporaryDirectory(prefix="fedling-crash-", dir=memory(ROOM)) as name:
        yield Path(name)
