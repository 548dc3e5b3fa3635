"""Connections, transactions and tables of a database, on a real disk."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from fedling_protocol.disk import durable
from fedling_protocol.disk.database import Database, Tables, one
from fedling_protocol.disk.errors import BadDatabase, Busy, CannotWrite, Missing, WrongTables
from tests.support.tools import as_nobody

T = TypeVar("T")
SCHEMA = """
-- a comment; with a semicolon
CREATE TABLE facts (n INTEGER PRIMARY KEY);
CREATE TABLE notes (n INTEGER NOT NULL REFERENCES facts ON DELETE CASCADE, t TEXT);
"""
ONE = Tables(first=3, steps=(SCHEMA,), converter="fedling run")
COLUMN = "ALTER TABLE facts ADD COLUMN size INTEGER NOT NULL DEFAULT 7;"
TWO = Tables(3, (SCHEMA, COLUMN), "fedling run")


class PowerCut(BaseException):
    """No handler of exceptions stops it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path, ONE)
    yield database
    database.close()


def put(database: Database, *numbers: int) -> None:
    with database.transaction("facts") as connection:
        connection.executemany("INSERT INTO facts (n) VALUES (?)", [(n,) for n in numbers])


def facts(database: Database) -> list[int]:
    return [n for (n,) in database.rows("SELECT n FROM facts ORDER BY n")]


def in_thread(call: Callable[[], T]) -> T:
    """What the call returns in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


# --- reading and writing -------------------------------------------------------------------------


def test_row_is_the_first_or_none(database: Database) -> None:
    put(database, 2, 1)
    assert database.row("SELECT n FROM facts ORDER BY n") == (1,)
    assert database.row("SELECT n FROM facts WHERE n = ?", 3) is None
    with database.transaction("x") as connection:
        assert one(connection, "SELECT n FROM facts WHERE n = ?", (2,)) == (2,)


def test_transaction_is_all_or_nothing(database: Database) -> None:
    for error in (PowerCut, ZeroDivisionError):
        with pytest.raises(error):
            put_and_fail(database, error)
    assert facts(database) == []
    put(database, 1)
    assert facts(database) == [1]


def put_and_fail(database: Database, error: type[BaseException]) -> None:
    with database.transaction("all"):
        put(database, 1)
        raise error


def test_transaction_in_another_is_a_part_of_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[sqlite3.Connection] = []
    commit = durable.commit

    def count(connection: sqlite3.Connection) -> None:
        commits.append(connection)
        commit(connection)

    monkeypatch.setattr(durable, "commit", count)
    with pytest.raises(ZeroDivisionError):
        put_and_fail(database, ZeroDivisionError)
    assert (facts(database), commits) == ([], [])
    with database.transaction("all"):
        put(database, 1)
        put(database, 2)
    assert (facts(database), len(commits)) == ([1, 2], 1)


def test_a_transaction_that_sqlite_has_undone_takes_no_more(database: Database) -> None:
    """After a full disk; a statement would commit by itself."""
    with pytest.raises(CannotWrite, match="cannot write facts: the turn could not be written"):
        put_after_it_was_undone(database)
    assert facts(database) == []


def put_after_it_was_undone(database: Database) -> None:
    with database.transaction("the turn") as connection:
        connection.execute("ROLLBACK")
        put(database, 1)


def test_begin_outlives_the_call_and_ends_in_another_thread(path: Path, database: Database) -> None:
    turn = database.begin("the turn")
    put(database, 1)
    put(database, 2)
    other = Database(path, ONE)
    assert facts(other) == []
    in_thread(turn.commit)
    assert facts(other) == [1, 2]
    put(database, 3)  # in a transaction of its own
    assert facts(other) == [1, 2, 3]
    undone = database.begin("the turn")
    put(database, 4)
    undone.roll_back()
    assert facts(database) == [1, 2, 3]
    other.close()


def test_a_commit_that_fails_keeps_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_connection: sqlite3.Connection) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "commit", full)
    turn = database.begin("the turn")
    put(database, 1)
    with pytest.raises(CannotWrite, match="cannot write the turn: the disk is full"):
        turn.commit()
    monkeypatch.undo()
    assert facts(database) == []
    put(database, 2)
    assert facts(database) == [2]


def test_busy_at_once_or_after_a_while(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Database(path, ONE)
    with other.transaction("x"):
        with pytest.raises(Busy, match="the turn: another process is writing"):
            database.begin("the turn", wait=False)  # the patience is ten seconds
        with pytest.raises(Busy), database.transaction("the turn", wait=False):
            pass
    put(database, 1)
    patience = database.rows("PRAGMA busy_timeout")
    assert patience == [(durable.BUSY_S * 1000,)]
    monkeypatch.setattr(durable, "BUSY_S", 0.001)
    hasty = Database(path, ONE)
    with other.transaction("x"), pytest.raises(Busy):
        put(hasty, 2)
    other.close()
    hasty.close()


def test_every_thread_has_its_connection(database: Database) -> None:
    with database.transaction("x") as connection:
        connection.execute("INSERT INTO facts VALUES (1)")
        assert in_thread(lambda: facts(database)) == []  # and does not wait
        assert facts(database) == [1]
    assert in_thread(lambda: facts(database)) == [1]


def test_close_closes_those_of_all_threads(path: Path) -> None:
    database = Database(path, ONE)
    in_thread(lambda: put(database, 1))
    database.close()
    with pytest.raises(sqlite3.ProgrammingError):
        facts(database)
    assert [file.name for file in path.parent.iterdir()] == [
        path.name
    ]  # the last one takes the log


def test_data_version_tells_of_another_connection_only(path: Path, database: Database) -> None:
    before = database.data_version()
    put(database, 1)
    assert database.data_version() == before
    other = Database(path, ONE)
    put(other, 2)
    assert database.data_version() != before
    other.close()


def test_forget_deleted_says_when_a_reader_holds_on(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "BUSY_S", 0.001)
    hasty = Database(path, ONE)
    put(hasty, 1, 2)
    with contextlib.closing(sqlite3.connect(path)) as reader:
        cursor = reader.execute("SELECT n FROM facts")
        cursor.fetchone()
        put(hasty, 3)
        with pytest.raises(Busy, match="reads what was deleted"):
            hasty.forget_deleted()
        cursor.close()
    hasty.forget_deleted()
    assert path.with_name("x.db-wal").stat().st_size == 0
    hasty.close()


def test_read_only_reads(path: Path, database: Database) -> None:
    put(database, 1)
    reader = Database(path, ONE, read_only=True)
    assert facts(reader) == [1]
    with pytest.raises(CannotWrite, match="cannot write facts: the disk is read-only"):
        put(reader, 2)
    reader.close()


# --- tables --------------------------------------------------------------------------------------


def test_a_new_database_goes_through_all_steps(path: Path) -> None:
    database = Database(path, TWO)
    put(database, 1)
    assert database.rows("SELECT * FROM facts") == [(1, 7)]
    assert database.rows("PRAGMA user_version") == [(4,)]
    database.close()


def test_an_old_database_is_converted_with_its_rows(path: Path, database: Database) -> None:
    put(database, 1, 2)
    database.close()
    newer = Database(path, TWO)
    assert newer.rows("SELECT * FROM facts") == [(1, 7), (2, 7)]
    newer.close()
    Database(path, TWO).close()  # there is nothing to do any more


def test_a_table_made_anew_keeps_the_rows_that_name_it(path: Path, database: Database) -> None:
    put(database, 1)
    with database.transaction("notes") as connection:
        connection.execute("INSERT INTO notes VALUES (1, 'one')")
    database.close()
    anew = """
    CREATE TABLE other (n INTEGER PRIMARY KEY, t TEXT NOT NULL);
    INSERT INTO other SELECT n, 'x' FROM facts;
    DROP TABLE facts;
    ALTER TABLE other RENAME TO facts;
    """
    newer = Database(path, Tables(3, (SCHEMA, anew), ""))
    assert newer.rows("SELECT * FROM notes") == [(1, "one")]
    foreign = pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY")  # they act again
    with foreign, newer.transaction("notes") as connection:
        connection.execute("INSERT INTO notes VALUES (2, 'two')")
    newer.close()


def test_a_step_may_be_a_function_and_happens_wholly_or_not(path: Path, database: Database) -> None:
    put(database, 1)
    database.close()

    def double(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE facts SET n = 2 * n")

    def fail(connection: sqlite3.Connection) -> None:
        double(connection)
        raise PowerCut

    with pytest.raises(PowerCut):
        Database(path, Tables(3, (SCHEMA, double, fail), ""))
    half = Database(path, Tables(3, (SCHEMA, double), ""))  # the first of them is there
    assert facts(half) == [2]
    half.close()
    whole = Database(path, Tables(3, (SCHEMA, double, double), ""))
    assert facts(whole) == [4]
    whole.close()


def test_a_step_that_breaks_a_reference_is_undone(path: Path, database: Database) -> None:
    put(database, 1)
    with database.transaction("notes") as connection:
        connection.execute("INSERT INTO notes VALUES (1, 'one')")
    database.close()
    with pytest.raises(sqlite3.IntegrityError, match="step to tables 4"):
        Database(path, Tables(3, (SCHEMA, "DELETE FROM facts;"), ""))
    again = Database(path, ONE)
    assert facts(again) == [1]
    again.close()


def test_two_that_convert_at_once_convert_once(path: Path, database: Database) -> None:
    put(database, 1)
    database.close()

    @contextlib.contextmanager
    def other_is_faster() -> Iterator[None]:
        Database(path, TWO).close()
        yield

    late = Database(path, TWO, alone=other_is_faster)
    assert late.rows("SELECT * FROM facts") == [(1, 7)]
    late.close()


def test_alone_is_not_asked_where_nothing_is_to_be_converted(
    path: Path, database: Database
) -> None:
    def nobody() -> contextlib.AbstractContextManager[None]:
        raise AssertionError

    Database(path, ONE, alone=nobody).close()


def test_a_newer_database_is_left_alone(path: Path) -> None:
    Database(path, TWO).close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(WrongTables) as caught:
            Database(path, ONE, read_only=read_only)
        assert str(caught.value) == (
            f"{path}: was written by a newer fedling (tables 4, this one knows 3); install that"
            " version or restore a backup"
        )
    assert path.read_bytes() == before


def test_a_database_before_the_first_step_is_left_alone(path: Path) -> None:
    Database(path, Tables(2, (SCHEMA,), "")).close()
    with pytest.raises(WrongTables, match=r"too old to be converted \(tables 2, .* knows 3"):
        Database(path, ONE)


def test_a_reader_converts_nothing_and_says_who_does(path: Path, database: Database) -> None:
    with pytest.raises(
        WrongTables, match=r"older .*\(tables 3, .* 4\); to convert it: fedling run"
    ):
        Database(path, TWO, read_only=True)
    put(database, 1)


def test_a_reader_where_nothing_is(path: Path) -> None:
    with pytest.raises(Missing, match="nothing is stored here yet"):
        Database(path, ONE, read_only=True)
    assert list(path.parent.iterdir()) == []
    path.touch()  # a writer was killed before it made the tables
    with pytest.raises(Missing):
        Database(path, ONE, read_only=True)


def test_a_damaged_file_is_said_to_be_one(path: Path) -> None:
    path.write_bytes(b"no database at all, " * 100)
    with pytest.raises(WrongTables, match="is not a database; restore a backup"):
        Database(path, ONE)


def test_part_of_a_transaction_is_undone_alone(database: Database) -> None:
    transaction = database.begin("facts")
    put(database, 1)
    with contextlib.suppress(ValueError), transaction.part():
        put(database, 2)
        raise ValueError
    with transaction.part():
        put(database, 3)
    transaction.commit()
    assert facts(database) == [1, 3]


def test_a_page_that_is_damaged_is_named_with_the_file(path: Path) -> None:
    """At any statement, not at the opening."""
    database = Database(path, ONE)
    put(database, *range(2000))
    database.close()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    again = Database(path, ONE)
    with pytest.raises(BadDatabase, match=r"x\.db: .*malformed; restore a backup"):
        facts(again)
    again.close()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may look into; those above tmp_path are closed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


READS = """
import sys
from pathlib import Path
from fedling_protocol.disk.database import Database, Tables
tables = Tables(3, ("CREATE TABLE facts (n INTEGER PRIMARY KEY);",), "fedling run")
print(Database(Path(sys.argv[1]), tables, read_only=True).rows("SELECT n FROM facts"))
"""


@pytest.mark.parametrize("closed", [True, False], ids=["as it was left", "with its log"])
def test_card_that_is_read_only_is_read(public: Path, closed: bool) -> None:
    """SQLite itself would make files beside the database to read it."""
    device, card = public / "device", public / "card"
    device.mkdir()
    database = Database(device / "x.db", ONE)
    with database.transaction("a fact") as connection:
        connection.execute("INSERT INTO facts VALUES (42)")
    if closed:
        database.close()
    shutil.copytree(device, card)
    database.close()
    assert (card / "x.db-wal").exists() is not closed
    for file in card.iterdir():
        file.chmod(0o444)
    card.chmod(0o555)
    command = [*as_nobody(), sys.executable, "-c", READS, str(card / "x.db")]
    said = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    card.chmod(0o755)
    assert said.stdout == "[(42,)]\n", said.stderr


def test_instant_reads_while_another_writes(path: Path, database: Database) -> None:
    put(database, 1)
    reader, writer = Database(path, ONE), Database(path, ONE)
    writer.begin("facts", wait=False)
    with reader.instant():
        assert facts(reader) == [1]
        in_thread(lambda: None)
        with writer.transaction("facts") as connection:
            connection.execute("INSERT INTO facts (n) VALUES (2)")
        writer._thread.open.commit()  # type: ignore[union-attr]
        assert facts(reader) == [1]
    assert facts(reader) == [1, 2]
    reader.close()
    writer.close()
