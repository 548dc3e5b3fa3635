"""What goes wrong at a disk, for both ends, each with the facts that a person needs.

CannotWrite
    the disk is full, read-only or failing; what was counted before is still there (exit 73)
Busy
    another process writes to the database; the same may work in a moment (exit 75)
WrongTables
    another version of fedling made the database, or nobody has made it (exit 78)
BadDatabase
    what lies there is no database, is damaged, or holds rows that make no sense (exit 78)
BadInput
    what was given is wrong as a whole: a header, a stream that changed (exit 1)
Missing
    what was asked for is not here, or no longer: no model, samples evicted (exit 4)
"""

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DISK = _FULL | {errno.EROFS, errno.EIO}
_NO_REFUSAL = {errno.EEXIST, errno.EAGAIN, errno.EPIPE}  # who writes asks for these
_SQLITE_DISK = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the disk is read-only",
    sqlite3.SQLITE_IOERR: "the disk is failing",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened",
}
_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_BAD = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NOT_OUR_TABLES = ("no such table", "no such column", "malformed", "already exists")


class CannotWrite(Exception):
    """The disk refused a write, and nothing of it is kept; `what` was being written."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot write {self.what}: {self.reason}"


class Busy(Exception):
    """Another process holds the database's only place for a writer."""


class WrongTables(Exception):
    """This version of fedling cannot work with the database as it is."""


class BadDatabase(WrongTables):
    """The database is damaged, or of somebody else: what it says is not to be believed."""


class BadInput(Exception):
    """The input is wrong, and nothing of it was used."""


class Missing(Exception):
    """Something is not here; the message says what would bring it."""


Bad = Callable[[Exception], BadDatabase]
"""Makes the sentence about a database that is damaged, of what was met in it."""


def bad_database(error: Exception) -> BadDatabase:
    """Say what was met, where it is not known in which file."""
    return BadDatabase(f"the database is damaged: {error}")


class Writing:
    """A `with` block of writing()."""

    __slots__ = ("_bad", "_what")

    def __init__(self, what: str, bad: Bad) -> None:
        self._what = what
        self._bad = bad

    def __enter__(self) -> object:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError | sqlite3.Error):
            known = translated(error, self._what, self._bad)
            if known is not None:
                raise known from error


def writing(what: str, bad: Bad = bad_database) -> Writing:
    """Turn what a disk that refuses raises inside into CannotWrite, a lock into Busy."""
    return Writing(what, bad)


@contextmanager
def stored(what: str) -> Iterator[None]:
    """Read what was sound when it was stored in a row: whatever that raises is damage.

    Raises BadDatabase.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise BadDatabase(f"the database is damaged: {what} makes no sense: {error!r}") from error


def translated(error: Exception, what: str, bad: Bad = bad_database) -> Exception | None:
    """Make CannotWrite, Busy or BadDatabase of an error, if it means that to a writer of `what`."""
    if isinstance(error, OSError):
        refused = error.errno is not None and error.errno not in _NO_REFUSAL
        return CannotWrite(what, _reason(error)) if refused else None
    if not isinstance(error, sqlite3.DatabaseError):
        return None
    code = error.sqlite_errorcode & 0xFF if hasattr(error, "sqlite_errorcode") else 0
    if code in _SQLITE_BAD or any(words in str(error) for words in _NOT_OUR_TABLES):
        return bad(error)
    if code in _SQLITE_BUSY:
        return Busy(f"cannot write {what}: another process is writing to the database")
    return CannotWrite(what, _SQLITE_DISK[code]) if code in _SQLITE_DISK else None


def is_of_disk(error: BaseException | None) -> bool:
    """Whether an OSError tells of a full, read-only or failing disk, whoever met it."""
    return isinstance(error, OSError) and error.errno in _DISK


def _reason(error: OSError) -> str:
    return "the disk is full" if error.errno in _FULL else (error.strerror or str(error))
