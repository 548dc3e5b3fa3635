"""The three exceptions of a device's store, each with the facts that a person needs.

CannotWrite
    the disk is full, read-only or failing; what was counted before is still there (exit 73)
BadInput
    what was given is wrong as a whole: a header, a stream that changed (exit 1)
Missing
    what was asked for is not here, or no longer: no model, samples evicted (exit 4)
"""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WRITE_ERRORS = _FULL | {errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOTDIR}
_SQLITE_WRITE_ERRORS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the disk is read-only",
    sqlite3.SQLITE_IOERR: "the disk is failing",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened",
}


class CannotWrite(Exception):
    """Nothing of this write is kept; `what` was being written."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot write {self.what}: {self.reason}"


class BadInput(Exception):
    """Nothing of the input was used."""


class Missing(Exception):
    """It is not here; the message says what would bring it."""


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn what a full, read-only or failing disk raises into CannotWrite."""
    try:
        yield
    except OSError as error:
        if error.errno not in _WRITE_ERRORS:
            raise
        reason = "the disk is full" if error.errno in _FULL else (error.strerror or str(error))
        raise CannotWrite(what, reason) from error
    except sqlite3.OperationalError as error:
        reason = _SQLITE_WRITE_ERRORS.get(error.sqlite_errorcode & 0xFF, "")
        if not reason:
            raise
        raise CannotWrite(what, reason) from error
