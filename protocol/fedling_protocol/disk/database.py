"""The SQLite file of either end: its connections and transactions, its tables from old to new.

To change an end's tables, append a step to its TABLES, an SQL script or a function of the
connection. A step that was released is never edited:

    RETAINED = "ALTER TABLE certificates ADD COLUMN retained INTEGER NOT NULL DEFAULT 0;"
    TABLES = Tables(first=2, steps=(SCHEMA, RETAINED), converter="fedling-broker serve")

A new database goes through all steps, an old one through those that it lacks; each is one durable
transaction, so a power cut between two of them costs nothing. Inside a step foreign keys do not
act, so that a table can be made anew under the rows that name it; they are checked at its end.
test_migrations of that end converts a database of an old release with rows in every table: say
there what must be found in the new column.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import (
    Bad,
    BadDatabase,
    Busy,
    CannotWrite,
    Missing,
    Writing,
    WrongTables,
    bad_database,
    translated,
    writing,
)

SMALLEST = 512  # bytes of the smallest page

Value = int | float | str | bytes | None
Fields = tuple[Any, ...]  # as the tables of the end type them
Step = str | Callable[[sqlite3.Connection], None]


@dataclass(frozen=True, slots=True)
class Tables:
    """How an end's tables came about. The database says in user_version how far it is."""

    first: int  # version that steps[0] makes of an empty file; older ones cannot be converted
    steps: tuple[Step, ...]  # steps[n] makes version first + n
    converter: str  # what a person starts to convert an old database: "fedling-agent run"
    mender: str = "restore a backup"  # what a person does about a damaged one

    @property
    def newest(self) -> int:
        return self.first + len(self.steps) - 1

    def next_step(self, version: int) -> tuple[int, Step] | None:
        """Find the step after a version, and the version that it makes; None: it is the newest."""
        made = max(version + 1, self.first)
        return None if version == self.newest else (made, self.steps[made - self.first])


class _OfThread(threading.local):
    """The connection that each thread has of its own."""

    connection: sqlite3.Connection | None = None
    open: "Transaction | None" = None


class Transaction:
    """Statements of one thread that are not committed yet: what a turn of a loop writes."""

    def __init__(self, connection: sqlite3.Connection, what: str, bad: Bad = bad_database) -> None:
        self.connection = connection
        self.what = what
        self.ended = False
        self._bad = bad

    def commit(self) -> None:
        """Make all of it durable. Raises CannotWrite; then nothing of it is kept.

        Another thread may call this, to wait for the disk. The one that began keeps away from the
        database meanwhile: its reads would wait too.
        """
        self.ended = True
        try:
            with writing(self.what, self._bad):
                durable.commit(self.connection)
        except BaseException:
            durable.roll_back(self.connection)
            raise

    @contextmanager
    def part(self) -> Iterator[None]:
        """Undo what is done inside if it raises; what came before it in this transaction stays."""
        self.connection.execute("SAVEPOINT part")
        try:
            yield
            self.connection.execute("RELEASE part")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite has undone the whole: the disk was full
                self.connection.execute("ROLLBACK TO part")
                self.connection.execute("RELEASE part")
            raise

    def roll_back(self) -> None:
        """Undo all of it, as if it had never been there."""
        self.ended = True
        durable.roll_back(self.connection)


class Block(Writing):
    """A `with` block of Database.transaction(): its end is that of the whole, or of a part."""

    __slots__ = ("_of", "_whole")

    def __init__(self, of: Transaction, what: str, bad: Bad, *, whole: bool) -> None:
        super().__init__(what, bad)
        self._of = of
        self._whole = whole

    def __enter__(self) -> sqlite3.Connection:
        return self._of.connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._whole and error is None:
            self._of.commit()
        elif self._whole:
            self._of.roll_back()
        super().__exit__(kind, error, trace)


class Database:
    """rows() and row() read, transaction() writes. Each thread that calls has its connection.

    A connection stays open until close(), also when its thread is gone: let few threads call.
    """

    def __init__(
        self,
        path: Path,
        tables: Tables,
        *,
        read_only: bool = False,
        alone: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Open the file; made if missing, converted if old, unless read_only.

        alone: held while tables are made or converted, to keep out those who work with the old
        ones. Raises CannotWrite, Busy, WrongTables; Missing if read_only and there is none.
        """
        if read_only and not path.exists():
            raise _nothing_yet(path)
        self.path = path
        self._mender = tables.mender
        self._read_only = read_only
        self._thread = _OfThread()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            self._prepare(tables, alone)
        except BaseException:
            self.close()
            raise

    def rows(self, sql: str, *values: Value) -> list[Fields]:
        """Read all rows of a SELECT."""
        try:
            return self._connection().execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._read_error(error) from error

    def row(self, sql: str, *values: Value) -> Fields | None:
        """Read the first row of a SELECT."""
        try:
            fields: Fields | None = self._connection().execute(sql, values).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._read_error(error) from error
        return fields

    @contextmanager
    def instant(self) -> Iterator[None]:
        """Have all that this thread reads inside be of one instant; others may write meanwhile.

        Inside a transaction it is so by itself. Nothing may be written inside.
        """
        connection = self._connection()
        if connection.in_transaction:
            yield
            return
        try:
            connection.execute("BEGIN DEFERRED")
        except sqlite3.DatabaseError as error:
            raise self._read_error(error) from error
        try:
            yield
        finally:
            durable.roll_back(connection)

    def transaction(self, what: str, *, wait: bool = True) -> Block:
        """Write all of it durably or none; inside another of the same thread, as a part of that.

        what: is being written, for CannotWrite. wait=False: raises Busy at once if another process
        is writing; by default after ten seconds. An exception must leave the outermost, too: it
        undoes the whole.
        """
        outer = self._thread.open
        if outer is None or outer.ended:
            return Block(self.begin(what, wait=wait), what, self._bad, whole=True)
        if not outer.connection.in_transaction:  # SQLite has undone it: the disk was full
            raise CannotWrite(what, f"{outer.what} could not be written before it")
        return Block(outer, what, self._bad, whole=False)

    def begin(self, what: str, *, wait: bool = True) -> Transaction:
        """Begin a transaction that outlives the call; transaction() is a part of it until it ends.

        Raises CannotWrite, Busy (as transaction()).
        """
        connection = self._connection()
        with writing(what, self._bad):
            if connection.in_transaction and not self.writes:  # who failed has left it open
                durable.roll_back(connection)
            durable.begin(connection, wait=wait)
        self._thread.open = Transaction(connection, what, self._bad)
        return self._thread.open

    @property
    def writes(self) -> bool:
        """Whether the calling thread has a transaction open."""
        return self._thread.open is not None and not self._thread.open.ended

    def data_version(self) -> int:
        """A number that changes when another connection, of any process, has committed."""
        ((version,),) = self.rows("PRAGMA data_version")
        return int(version)

    def forget_deleted(self) -> None:
        """Leave no trace of deleted rows in the write-ahead log. Raises CannotWrite, Busy."""
        with writing("the write-ahead log", self._bad):
            if not durable.forget_deleted(self._connection()):
                raise Busy(f"{self.path}: another process reads what was deleted")

    def close(self) -> None:
        """Close the connections of all threads. No call after this one."""
        with self._lock:
            for connection in self._all:
                connection.close()

    def _connection(self) -> sqlite3.Connection:
        """The connection of the calling thread."""
        connection = self._thread.connection
        if connection is None:
            with writing(str(self.path), self._bad):
                connection = durable.connect_database(self.path, read_only=self._read_only)
            with self._lock:
                self._all.append(connection)
            self._thread.connection = connection
        return connection

    def _read_error(self, error: sqlite3.DatabaseError) -> Exception:
        return translated(error, f"or read {self.path}", self._bad) or error

    def _bad(self, error: Exception) -> BadDatabase:
        return BadDatabase(f"{self.path}: {error}; {self._mender}")

    def _prepare(self, tables: Tables, alone: Callable[[], AbstractContextManager[None]]) -> None:
        with writing(str(self.path), self._bad):
            version = _version(self._connection())
        _check_version(self.path, version, tables)
        if version == tables.newest:
            return
        if self._read_only:
            raise _nothing_yet(self.path) if version == 0 else _old(self.path, version, tables)
        with alone():
            while _convert(self.path, self._connection(), tables, self._bad):
                pass


def not_one(path: Path) -> str:
    """Say why what lies there is no database; empty: it may be one.

    Of a file that was cut to nearly nothing SQLite makes a new one.
    """
    if path.is_dir():
        return "is a folder"
    return "was cut to nothing" if path.exists() and path.stat().st_size < SMALLEST else ""


def one(connection: sqlite3.Connection, sql: str, values: Sequence[Value] = ()) -> Fields | None:
    """Read the first row of a SELECT inside a transaction."""
    fields: Fields | None = connection.execute(sql, values).fetchone()
    return fields


def _convert(path: Path, connection: sqlite3.Connection, tables: Tables, bad: Bad) -> bool:
    """Take the next step; False: there is none. Another process may have taken it just now."""
    connection.execute("PRAGMA foreign_keys = OFF")  # inside a transaction it would do nothing
    try:
        with writing("the tables", bad), durable.transaction(connection):
            found = _version(connection)
            _check_version(path, found, tables)
            step = tables.next_step(found)
            if step is None:
                return False
            version, change = step
            _apply(connection, change)
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise sqlite3.IntegrityError(f"step to tables {version}: broken rows {broken[:5]}")
            connection.execute(f"PRAGMA user_version = {version}")
        return True
    finally:
        connection.execute("PRAGMA foreign_keys = ON")


def _apply(connection: sqlite3.Connection, change: Step) -> None:
    if not isinstance(change, str):
        change(connection)
        return
    for statement in _statements(change):
        connection.execute(statement)


def _statements(script: str) -> Iterator[str]:
    """Part a script: executescript() would commit first. A statement ends at a line's end."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    yield statement  # a comment, or what the writer forgot to end


def _version(connection: sqlite3.Connection) -> int:
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    return int(version)


def _check_version(path: Path, version: int, tables: Tables) -> None:
    if version > tables.newest:
        raise WrongTables(
            f"{path}: was written by a newer fedling (tables {version}, this one knows"
            f" {tables.newest}); install that version or restore a backup"
        )
    if 0 < version < tables.first:
        raise WrongTables(
            f"{path}: was written by a fedling that is too old to be converted (tables {version},"
            f" this one knows {tables.first} and later)"
        )


def _old(path: Path, version: int, tables: Tables) -> WrongTables:
    return WrongTables(
        f"{path}: was written by an older fedling (tables {version}, this one reads"
        f" {tables.newest}); to convert it: {tables.converter}"
    )


def _nothing_yet(path: Path) -> Missing:
    return Missing(f"{path}: nothing is stored here yet")
