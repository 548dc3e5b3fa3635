"""A read that failed is told from damage: SQLite has one word for both."""

import errno
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fedling_protocol.disk import second_look
from fedling_protocol.disk.errors import BadDatabase, CannotWrite
from fedling_protocol.disk.second_look import PAUSE_S, TRIES, confirm
from tests.support.damage import spoil


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of a few pages."""
    with closing(sqlite3.connect(tmp_path / "some.db")) as connection:
        connection.execute("CREATE TABLE chunks (data BLOB)")
        connection.executemany("INSERT INTO chunks VALUES (?)", [(bytes(900),)] * 100)
        connection.commit()
    return tmp_path / "some.db"


def malformed() -> BadDatabase:
    """What is made of SQLite's word."""
    error = BadDatabase("database disk image is malformed")
    cause = sqlite3.DatabaseError("database disk image is malformed")
    cause.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    error.__cause__ = cause
    return error


def quiet() -> None:
    """Nobody asks whether we live."""


def test_a_sound_database_is_no_damage(path: Path) -> None:
    with pytest.raises(CannotWrite, match="the disk is failing: database disk image is malformed"):
        confirm(path, malformed(), quiet)


def test_damage_is_confirmed(path: Path) -> None:
    spoil(path, "chunks")
    confirm(path, malformed(), quiet)


def test_rows_that_make_no_sense_are_damage_without_a_look(path: Path) -> None:
    confirm(path, BadDatabase("a plan makes no sense"), quiet)


def failing(times: int) -> Callable[[Path, Callable[[], None]], None]:
    """A disk that does not give a file so often."""
    left = [times]

    def read_all(_path: Path, _alive: Callable[[], None]) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EIO, "Input/output error")

    return read_all


@pytest.mark.parametrize("times", [1, TRIES - 1])
def test_a_disk_that_fails_for_a_while_is_waited_for(
    path: Path, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look, "_read_all", failing(times))
    pauses: list[float] = []
    with pytest.raises(CannotWrite):
        confirm(path, malformed(), quiet, pauses.append)
    assert pauses == [PAUSE_S] * times


def test_a_page_that_is_gone_for_good_is_damage(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the device would wait for ever, and not even keep what can be read."""
    monkeypatch.setattr(second_look, "_read_all", failing(TRIES))
    confirm(path, malformed(), quiet, lambda _: None)


def test_look_says_that_it_goes_on(path: Path) -> None:
    told: list[bool] = []
    spoil(path, "chunks")
    confirm(path, malformed(), lambda: told.append(True))
    assert told
