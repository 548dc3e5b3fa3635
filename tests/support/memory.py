"""A file system in memory, where no fsync waits for a disk: a killed process loses no page there.

python -m tests.support.memory: prints it for the directories of all tests, or nothing where there
is none. `make test` lies there, `make test-packages` and pytest by itself on the disk.
"""

import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
MIB = 2**20
ROOM_OF_ALL = 1024 * MIB  # bytes; the tests of eight processes need a quarter of it


def memory(room: int) -> Path | None:
    """It, where it is here, takes so many bytes, and programs may be run from it."""
    if not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= room else None


if __name__ == "__main__":
    print(memory(ROOM_OF_ALL) or "")
