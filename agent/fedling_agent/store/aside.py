"""A database that is damaged is put aside, and a new one begins with what can be read of the old.

The new one is filled under another name, and takes the place of the old one when it has all:
whoever is killed meanwhile finds the old one again, and begins from there.

Kept is what only this device has: recordings with their labels, how far history had come, what was
counted and sent. Plans in work, models and updates are not: they come again from the aggregator,
which knows what it has accepted. The identity is in files of its own and stays.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from fedling_agent.store import costs
from fedling_protocol.disk import durable
from fedling_protocol.disk.database import Database
from fedling_protocol.disk.errors import writing

log = logging.getLogger(__name__)

MARK = ".damaged-"
FILLING, FILLED = ".filling", ".filled-"  # a new one, before it takes its place
BESIDE = ("", "-wal", "-shm")  # a database and what SQLite keeps beside it
SAVED = (
    *("streams", "recordings", "chunks", "spans", "stretches", "lived", "inputs", "marks"),
    *("seen", "in_force", "endings", "certificates", "counters", "traffic", "sent", "used"),
    *("roots", "latest", "pause", "spells", "awaited"),
)
PARTS = ("chunks", "spans", "stretches")

_ORPHAN = "recording NOT IN (SELECT key FROM recordings)"

# A recording of which a page is lost is not kept: what trains on it would find a hole.
_NOT_WHOLE = f"""
DELETE FROM recordings WHERE
    (SELECT coalesce(sum(length(data)), 0) FROM chunks WHERE recording = key) IS NOT
    (samples - first) * {costs.SAMPLE}
        * (SELECT json_array_length(definition) FROM streams WHERE name = stream)
    OR (SELECT coalesce(sum(last - first + 1), 0) FROM stretches WHERE recording = key) IS NOT
    samples - first
"""  # noqa: S608 (constants)

# Its page may have been the damaged one: the time that was lived begins anew.
_LIVED = "INSERT INTO lived SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM lived)"

# What is kept of totals, from the rows themselves; `labels` must be empty before.
COUNT_ANEW = (
    costs.BYTES_ANEW,
    """INSERT INTO labels SELECT r.stream, s.label, sum(s.last - s.first + 1)
    FROM spans s JOIN recordings r ON r.key = s.recording GROUP BY r.stream, s.label""",
    """UPDATE streams SET
    recordings = (SELECT count(*) FROM recordings WHERE stream = name),
    samples = (SELECT coalesce(sum(samples - first), 0) FROM recordings WHERE stream = name),
    bytes = (SELECT coalesce(sum(bytes), 0) FROM recordings WHERE stream = name)""",
)


def begin_filling(path: Path) -> Path:
    """Name the file of the new database; what was put aside before goes. Raises CannotWrite."""
    filling = path.with_name(path.name + FILLING)
    with writing(str(path)):
        durable.remove_files([*found(path), *_beside(filling)])
    return filling


def end_filling(path: Path, now_s: int) -> Path:
    """Put the new database, which is closed, in the place of the old one; where that is now."""
    with writing(str(path)):
        path.with_name(path.name + FILLING).rename(path.with_name(f"{path.name}{FILLED}{now_s}"))
        durable.sync_directory(path.parent)
    put_in_place(path)
    return path.with_name(f"{path.name}{MARK}{now_s}")


def put_in_place(path: Path) -> None:
    """Finish what was begun: a new database that has all takes its place, one that has not goes.

    Raises CannotWrite.
    """
    filling = _beside(path.with_name(path.name + FILLING))
    with writing(str(path)):
        durable.remove_files(file for file in filling if file.exists())
        for filled in path.parent.glob(f"{path.name}{FILLED}*"):
            aside = path.with_name(filled.name.replace(FILLED, MARK))
            for old, new in zip(_beside(path), _beside(aside), strict=True):
                with suppress(FileNotFoundError):
                    old.rename(new)
            durable.sync_directory(path.parent)
            filled.rename(path)
            durable.sync_directory(path.parent)


def found(path: Path) -> list[Path]:
    """List what was put aside of a database, with what lies beside it."""
    names = sorted(path.parent.glob(f"{path.name}{MARK}*"))
    return [name for name in names if not name.is_dir()]


def salvage(damaged: Path, into: Database, alive: Callable[[], None]) -> int:
    """Copy what can be read; how many recordings. Raises CannotWrite.

    alive: called again and again, since it may take minutes
    """
    with suppress(sqlite3.Error, OSError), closing(_open(damaged)) as old:
        for table in SAVED:
            _copy(old, table, into, alive)
    with into.transaction("what was saved") as connection:
        for table in PARTS:
            connection.execute(f"DELETE FROM {table} WHERE {_ORPHAN}")  # noqa: S608 (of PARTS)
        connection.execute(_NOT_WHOLE)
        connection.execute(_LIVED)
        for statement in COUNT_ANEW:
            connection.execute(statement)
        ((recordings,),) = connection.execute("SELECT count(*) FROM recordings").fetchall()
    into.forget_deleted()  # all of it is in the file itself
    return int(recordings)


def _beside(path: Path) -> list[Path]:
    return [path.with_name(path.name + end) for end in BESIDE]


def _open(path: Path) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}"
    return sqlite3.connect(uri, uri=True, isolation_level=None)


def _copy(old: sqlite3.Connection, table: str, into: Database, alive: Callable[[], None]) -> None:
    """Copy what can be read of a table's rows."""
    try:
        columns = _columns(old, table)
    except sqlite3.Error:
        return
    with into.transaction("what was saved") as connection:
        if not columns or not set(columns) <= set(_columns(connection, table)):
            return
        connection.execute("PRAGMA defer_foreign_keys = ON")
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        if table in ("lived", "in_force"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 (of SAVED)
        put = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608
        select = f"SELECT {names} FROM {table}"  # noqa: S608
        for row in _parts(old, select, connection) if table in PARTS else _rows(old, select):
            connection.execute(put, row)
            alive()


def _parts(
    old: sqlite3.Connection, select: str, new: sqlite3.Connection
) -> Iterator[tuple[object, ...]]:
    """Read what belongs to each recording by itself: a damaged page costs those on it."""
    for (key,) in new.execute("SELECT key FROM recordings").fetchall():
        yield from _rows(old, f"{select} WHERE recording = ?", key)


def _rows(old: sqlite3.Connection, sql: str, *values: object) -> Iterator[tuple[object, ...]]:
    """Read rows until there are no more, or SQLite finds damage."""
    with suppress(sqlite3.DatabaseError):
        yield from old.execute(sql, values).fetchall() if values else old.execute(sql)


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
