"""A directory for runs: in memory where there is room, since a killed process loses no page."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 256 * 2**20  # bytes; a run needs some tens of megabytes


@contextmanager
def directory() -> Iterator[Path]:
    """Removed at the end."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM
    with tempfile.TemporaryDirectory(
        prefix="fedling-crash-", dir=MEMORY if roomy else None
    ) as name:
        yield Path(name)
