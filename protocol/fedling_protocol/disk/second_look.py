"""A database that SQLite calls damaged is looked at once more, before anything is given up.

SQLite says "malformed" of a read that failed as well (SQLITE_IOERR_CORRUPTFS becomes
SQLITE_CORRUPT), and a card that is warm, or a plug that is loose, reads well again in a while.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from fedling_protocol.disk.errors import BadDatabase, CannotWrite, is_of_disk

TRIES, PAUSE_S = 20, 2.0  # a page that cannot be read for so long is gone
PIECE = 1 << 20  # bytes
PRIMARY = 0xFF  # of a code of SQLite; the rest tells more
STEPS = 10_000  # of SQLite's machine between two signs of life
TWICE = 2  # a disk may fail while it is looked at

Call = Callable[[], None]


def confirm(
    path: Path, why: BadDatabase, alive: Call, pause: Callable[[float], None] = time.sleep
) -> None:
    """Return if it is damaged. Raises CannotWrite: it is not, so the disk failed to read it.

    alive: called again and again, since it may take minutes
    """
    code = getattr(why.__cause__, "sqlite_errorcode", sqlite3.SQLITE_OK)
    if code & PRIMARY != sqlite3.SQLITE_CORRUPT:
        return  # what was read is what makes no sense
    damaged = 0
    for _ in range(TRIES):
        alive()
        try:
            _read_all(path, alive)
        except OSError as error:
            if not is_of_disk(error):
                return
            pause(PAUSE_S)
            continue
        if _is_sound(path, alive):
            raise CannotWrite(str(path), f"the disk is failing: {why.__cause__}, and now it is not")
        damaged += 1
        if damaged == TWICE:
            return


def _read_all(path: Path, alive: Call) -> None:
    """Read it and what lies beside it. Raises OSError."""
    for file in (path, path.with_name(f"{path.name}-wal")):
        with suppress(FileNotFoundError), file.open("rb", buffering=0) as opened:
            while opened.read(PIECE):
                alive()


def _is_sound(path: Path, alive: Call) -> bool:
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.set_progress_handler(alive, STEPS)
            ((word,), *_) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.Error:
        return False
    return bool(word == "ok")
