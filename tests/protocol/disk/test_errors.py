import errno
import sqlite3
from pathlib import Path

import pytest

from fedling_protocol.disk.errors import CannotWrite, is_of_disk, writing


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "Read-only file system"),
        (errno.EACCES, "Permission denied"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_writing_says_what_and_why(number: int, reason: str) -> None:
    with pytest.raises(CannotWrite) as caught, writing("the update"):
        raise OSError(number, OSError(number, reason).strerror)
    assert str(caught.value) == f"cannot write the update: {reason}"


def test_writing_leaves_other_errors_alone() -> None:
    with pytest.raises(FileNotFoundError), writing("it"):
        Path("/nowhere/at/all").read_bytes()
    with pytest.raises(sqlite3.OperationalError), writing("it"):
        sqlite3.connect(":memory:").execute("SELECT nothing")
    with pytest.raises(sqlite3.OperationalError), writing("it"):
        raise sqlite3.OperationalError("made by hand: it has no code")


def test_a_file_that_others_own_is_no_failing_disk() -> None:
    assert is_of_disk(OSError(errno.ENOSPC, "full"))
    assert not is_of_disk(OSError(errno.EACCES, "no"))
    assert not is_of_disk(ValueError())
