import errno
import sqlite3
from pathlib import Path

import pytest

from fedling_protocol.disk.errors import BadDatabase, CannotWrite, is_of_disk, stored, writing


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "Read-only file system"),
        (errno.EACCES, "Permission denied"),
        (errno.EIO, "Input/output error"),
        (errno.EMFILE, "Too many open files"),
        (errno.EISDIR, "Is a directory"),
        (errno.ENOENT, "No such file or directory"),
    ],
)
def test_writing_says_what_and_why(number: int, reason: str) -> None:
    with pytest.raises(CannotWrite) as caught, writing("the update"):
        raise OSError(number, OSError(number, reason).strerror)
    assert str(caught.value) == f"cannot write the update: {reason}"


def test_writing_leaves_other_errors_alone() -> None:
    with pytest.raises(FileExistsError), writing("it"):
        Path("/").mkdir()
    with pytest.raises(sqlite3.IntegrityError), writing("it"):
        sqlite3.connect(":memory:").execute("CREATE TABLE t (n NOT NULL)").execute(
            "INSERT INTO t VALUES (NULL)"
        )
    with pytest.raises(sqlite3.OperationalError), writing("it"):
        raise sqlite3.OperationalError("made by hand: it has no code")


def test_a_file_that_others_own_is_no_failing_disk() -> None:
    assert is_of_disk(OSError(errno.ENOSPC, "full"))
    assert not is_of_disk(OSError(errno.EACCES, "no"))
    assert not is_of_disk(ValueError())


def test_what_is_no_database_and_tables_that_are_not_ours_are_damage(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough for one to be looked for" * 100)
    with pytest.raises(BadDatabase, match="not a database"), writing("it"):
        sqlite3.connect(tmp_path / "text").execute("SELECT 1 FROM sqlite_master")
    with pytest.raises(BadDatabase, match="no such table: facts"), writing("it"):
        sqlite3.connect(":memory:").execute("SELECT * FROM facts")


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError("x"), AssertionError(), UnicodeError(), RecursionError()]
)
def test_a_row_that_makes_no_sense_is_damage(error: Exception) -> None:
    with pytest.raises(BadDatabase, match="the plan makes no sense"), stored("the plan"):
        raise error
