"""Durable writes: whole or not at all, at every point where the power may fail."""

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fedling_protocol.disk import durable


class PowerCut(BaseException):
    """Ends a writer as a power cut would: nothing behind it runs that matters."""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_write_file_makes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "model"
    durable.write_file(path, b"one")
    assert mode(path) == 0o600
    durable.write_file(path, memoryview(bytearray(b"two")), mode=0o640)
    assert path.read_bytes() == b"two"
    assert mode(path) == 0o640
    assert os.listdir(tmp_path) == ["model"]


def test_write_file_syncs_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def record(name: str) -> None:
        original = getattr(os, name)

        def call(*arguments: object) -> object:
            kind = ""
            if name == "fsync":
                assert isinstance(arguments[0], int)
                kind = " directory" if stat.S_ISDIR(os.fstat(arguments[0]).st_mode) else " file"
            done.append(name + kind)
            return original(*arguments)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "replace", "link"):
        record(name)
    durable.write_file(tmp_path / "a", b"x")
    assert done == ["fsync file", "replace", "fsync directory"]
    done.clear()
    durable.create_file(tmp_path / "b", b"x")
    assert done == ["fsync file", "link", "fsync directory"]
    done.clear()
    durable.remove_file(tmp_path / "b")
    assert done == ["fsync directory"]


@pytest.mark.parametrize("point", ["fsync", "replace"])
def test_write_file_interrupted_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    path = tmp_path / "model"
    durable.write_file(path, b"old")

    def cut(*_: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(os, point, cut)
        with pytest.raises(PowerCut):
            durable.write_file(path, b"new")
    assert path.read_bytes() == b"old"
    durable.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["model"]


def test_write_file_on_a_full_disk_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "model"
    durable.write_file(path, b"old")
    with pytest.raises(OSError, match="No space left") as caught:
        _write_to_full_disk(path)
    assert caught.value.errno == 28
    assert os.listdir(tmp_path) == ["model"]
    assert path.read_bytes() == b"old"


def _write_to_full_disk(path: Path) -> None:
    """/dev/full takes no byte."""
    original = os.open

    def full(name: str, flags: int, *rest: int) -> int:
        handle = original(name, flags, *rest)
        if flags & os.O_CREAT:
            os.dup2(original("/dev/full", os.O_WRONLY), handle)
        return handle

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", full)
        durable.write_file(path, b"new")


def test_write_file_over_what_a_killed_writer_left(tmp_path: Path) -> None:
    (tmp_path / f".model.{os.getpid()}.tmp").write_bytes(b"half")
    durable.write_file(tmp_path / "model", b"whole")
    assert (tmp_path / "model").read_bytes() == b"whole"


def test_create_file_never_replaces(tmp_path: Path) -> None:
    durable.create_file(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        durable.create_file(tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"
    assert mode(tmp_path / "key") == 0o600
    assert os.listdir(tmp_path) == ["key"]


def test_remove_file_twice(tmp_path: Path) -> None:
    durable.write_file(tmp_path / "model", b"x")
    durable.remove_file(tmp_path / "model")
    durable.remove_file(tmp_path / "model")
    assert os.listdir(tmp_path) == []


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_connect_database_is_durable_and_private(tmp_path: Path) -> None:
    path = tmp_path / "facts ?#%20.sqlite"
    connection = durable.connect_database(path)
    assert pragma(connection, "journal_mode") == "wal"
    assert pragma(connection, "synchronous") == 2  # FULL
    assert pragma(connection, "secure_delete") == 1
    assert pragma(connection, "page_size") == durable.PAGE_BYTES
    assert pragma(connection, "foreign_keys") == 1
    with durable.transaction(connection):
        connection.execute("CREATE TABLE fact (n INTEGER)")
    assert {mode(p) for p in tmp_path.iterdir()} == {0o600}
    reader = durable.connect_database(path, read_only=True)
    assert reader.execute("SELECT count(*) FROM fact").fetchone() == (0,)
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("INSERT INTO fact VALUES (1)")
    reader.close()
    connection.close()


def test_connect_database_read_only_makes_none(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        durable.connect_database(tmp_path / "absent", read_only=True)
    assert os.listdir(tmp_path) == []


def test_connect_database_refuses_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "zeroed").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(sqlite3.DatabaseError):
        durable.connect_database(tmp_path / "zeroed")


def test_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "facts"
    connection = durable.connect_database(path)
    connection.execute("CREATE TABLE fact (n INTEGER)")
    with durable.transaction(connection):
        connection.execute("INSERT INTO fact VALUES (1)")
    for error in (PowerCut, sqlite3.IntegrityError, OSError):
        with pytest.raises(error):
            _insert_and_fail(connection, error)
    assert durable.connect_database(path).execute("SELECT n FROM fact").fetchall() == [(1,)]
    with durable.transaction(connection):  # and it can go on
        connection.execute("INSERT INTO fact VALUES (4)")


def _insert_and_fail(connection: sqlite3.Connection, error: type[BaseException]) -> None:
    with durable.transaction(connection):
        connection.execute("INSERT INTO fact VALUES (2)")
        raise error


def test_transaction_commits_by_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crash tests count the durable writes there."""
    connection = durable.connect_database(tmp_path / "facts")
    counted: list[sqlite3.Connection] = []
    original: Callable[[sqlite3.Connection], None] = durable.commit

    def count(committed: sqlite3.Connection) -> None:
        counted.append(committed)
        original(committed)

    monkeypatch.setattr(durable, "commit", count)
    with durable.transaction(connection):
        connection.execute("CREATE TABLE fact (n INTEGER)")
    assert counted == [connection]
    assert not connection.in_transaction


def test_forget_deleted_leaves_no_trace(tmp_path: Path) -> None:
    connection = durable.connect_database(tmp_path / "facts")
    with durable.transaction(connection):
        connection.execute("CREATE TABLE fact (t TEXT)")
        connection.executemany("INSERT INTO fact VALUES (?)", [("example " * 900,)] * 9)
    with durable.transaction(connection):
        connection.execute("DELETE FROM fact")
    assert any(b"example" in path.read_bytes() for path in tmp_path.iterdir())
    durable.forget_deleted(connection)
    assert not any(b"example" in path.read_bytes() for path in tmp_path.iterdir())


def test_append_cuts_off_what_lay_behind(tmp_path: Path) -> None:
    path = tmp_path / "log"
    durable.append(path, 0, [b"one", bytearray(b"two")], named=False)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"onetwo", 0o600)
    durable.append(path, 3, [b"2"], named=True)
    assert path.read_bytes() == b"one2"


def test_append_is_on_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda _handle: waited.append("data"))
    monkeypatch.setattr(durable, "sync_directory", lambda path: waited.append(path.name))
    durable.append(tmp_path / "log", 0, [b"one"], named=False)
    durable.append(tmp_path / "log", 3, [b"two"], named=True)
    assert waited == ["data", tmp_path.name, "data"]


def test_remove_files_waits_once_for_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[Path] = []
    monkeypatch.setattr(durable, "sync_directory", waited.append)
    for name in "abc":
        (tmp_path / name).touch()
    durable.remove_files([tmp_path / name for name in "abcd"])
    assert list(tmp_path.iterdir()) == []
    assert waited == [tmp_path]


def test_a_draft_is_whole_or_not_there(tmp_path: Path) -> None:
    with durable.draft(tmp_path, "part") as file:
        file.write(b"half")
    assert list(tmp_path.iterdir()) == []
    with durable.draft(tmp_path, "part") as file:
        file.write(b"whole")
        durable.keep_draft(file, "part", tmp_path / "name")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("name", b"whole")]


def test_file_of_the_working_directory_needs_no_folder_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    durable.write_file(Path("a"), b"1")
    durable.create_file(Path("b"), b"2")
    durable.append(Path("c"), 0, [b"3"], named=False)
    durable.link_file(Path("a"), Path("d"))
    durable.remove_file(Path("b"))
    durable.remove_files([Path("c")])
    with durable.draft(Path(), "e") as file:
        file.write(b"5")
        durable.keep_draft(file, "e", Path("e"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a": b"1", "d": b"1", "e": b"5",
    }  # fmt: skip
