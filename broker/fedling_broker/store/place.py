"""Where a state directory lies: a copy of it, put back or beside it, lies elsewhere."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from fedling_broker.store.database import FILE
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing

MARK: Final = "place"  # a file that is never written again
NOWHERE: Final = 0


def mark(directory: Path) -> None:
    """See that there is the file by which a directory is known. Raises CannotWrite."""
    path = directory / MARK
    if not path.exists():
        with writing(str(path)), suppress(FileExistsError):
            durable.create_file(path, b"")


def find(directory: Path) -> int:
    """A number, never NOWHERE, that a copied directory does not have. It was marked before.

    It is made of the numbers that the file system gave two files, and of the time at which one of
    them last changed in any way, which no copying program can set. So cp, tar, rsync and mv over
    file systems are seen; a snapshot of the whole disk is not. A change of owner looks like a copy,
    which costs the fleet no more than the trainings of one round.
    """
    database, seen = os.stat(directory / FILE), os.stat(directory / MARK)
    facts = f"{database.st_ino} {seen.st_ino} {seen.st_ctime_ns}"
    return 1 + int.from_bytes(hashlib.sha256(facts.encode()).digest()[:7], "big")
