"""The device's SQLite file: its tables and its transactions."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedling_agent.store import migrations
from fedling_agent.store.errors import BadInput, Missing, writing
from fedling_protocol.disk import durable

VERSION = 2  # of the tables; a later one converts what it finds

# AUTOINCREMENT where a number must never come back: it is the order in which things happened,
# whatever the clock of a board without a battery says.
# Version 1; migrations.py has the steps to the newest.
SCHEMA = """
CREATE TABLE streams (
    name TEXT PRIMARY KEY,
    definition TEXT NOT NULL    -- counts mean nothing without it, so it may not change under them
) WITHOUT ROWID;
CREATE TABLE recordings (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL REFERENCES streams,
    id TEXT NOT NULL,
    start_ms INTEGER NOT NULL,
    touched_ms INTEGER NOT NULL,
    samples INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    revision INTEGER NOT NULL,  -- of the last change of a label
    UNIQUE (stream, id)
);
CREATE TABLE chunks (
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE,
    first INTEGER NOT NULL,     -- sample
    data BLOB NOT NULL,         -- int16 in this machine's order, channels last
    UNIQUE (recording, first)
);
CREATE TABLE spans (
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,      -- inclusive
    label TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (recording, first)
) WITHOUT ROWID;
CREATE TABLE models (
    task TEXT NOT NULL,
    version INTEGER NOT NULL,
    hash BLOB NOT NULL,
    about BLOB NOT NULL,        -- a Rest message: what it predicts
    exponents TEXT NOT NULL,
    size INTEGER NOT NULL,      -- bytes of the weights
    PRIMARY KEY (task, version)
) WITHOUT ROWID;
CREATE TABLE normalisers (
    task TEXT PRIMARY KEY,
    channels TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE frozen (
    hash BLOB PRIMARY KEY,
    listing BLOB NOT NULL
);
CREATE TABLE plans (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    plan_id BLOB NOT NULL UNIQUE,
    task TEXT NOT NULL,
    round INTEGER NOT NULL,
    state TEXT NOT NULL,
    message BLOB NOT NULL,      -- the Plan
    frozen_hash BLOB NOT NULL REFERENCES frozen,
    examples INTEGER NOT NULL,
    normaliser TEXT NOT NULL,
    vector_hash BLOB,
    update_hash BLOB
);
CREATE TABLE pins (             -- recordings that a plan in work stands on: not evicted
    plan_id BLOB NOT NULL REFERENCES plans (plan_id) ON DELETE CASCADE,
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE,
    PRIMARY KEY (plan_id, recording)
) WITHOUT ROWID;
CREATE TABLE spool (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    plan_id BLOB NOT NULL UNIQUE,
    task TEXT NOT NULL,
    update_hash BLOB NOT NULL,
    size INTEGER NOT NULL
);
CREATE TABLE endings (          -- how plans ended here: they are never trained again
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    plan_id BLOB NOT NULL UNIQUE,
    task TEXT NOT NULL,
    round INTEGER,              -- NULL: the plan was never begun here
    update_hash BLOB,
    verdict TEXT,               -- NULL: given up by the device itself
    reason TEXT NOT NULL,
    time_ms INTEGER NOT NULL
);
CREATE TABLE seen (             -- the last plan or rest of every task
    task TEXT PRIMARY KEY,
    message BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE sent (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    topic TEXT NOT NULL,
    size INTEGER NOT NULL,
    plan_id BLOB,
    meaning TEXT NOT NULL
);
CREATE TABLE traffic (          -- bytes at the socket
    day TEXT NOT NULL,
    plan_id BLOB NOT NULL,      -- empty: of no plan
    sent INTEGER NOT NULL,
    received INTEGER NOT NULL,
    PRIMARY KEY (day, plan_id)
) WITHOUT ROWID;
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE certificates (
    id TEXT PRIMARY KEY,
    serial INTEGER NOT NULL,
    envelope BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE marks (            -- what a restart must know: "erasing"
    name TEXT PRIMARY KEY
) WITHOUT ROWID;
CREATE INDEX pins_of ON pins (recording);
CREATE VIEW free_recordings AS  -- may be evicted
    SELECT * FROM recordings WHERE key NOT IN (SELECT recording FROM pins);
"""

Value = int | str | bytes | None
Fields = tuple[Any, ...]  # as the tables above type them


class Database:
    """One connection: rows() to read, transaction() to write."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Raises CannotWrite; Missing if read_only and there is none; BadInput if it is newer."""
        if read_only and not path.exists():
            raise Missing(f"{path}: nothing is stored here yet")
        with writing(str(path)):
            self._connection = durable.connect_database(path, read_only=read_only)
        self._path = path
        try:
            self._prepare(read_only)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, read_only: bool) -> None:
        ((version,),) = self._connection.execute("PRAGMA user_version").fetchall()
        if version > VERSION:
            raise BadInput(f"{self._path}: written by a newer fedling (tables {version})")
        if version == VERSION:
            return
        if read_only:
            raise Missing(f"{self._path}: nothing is stored here yet")
        with self.transaction("the tables") as connection:
            for statement in SCHEMA.split(";\n") if version == 0 else ():
                if statement.strip():
                    connection.execute(statement)
            migrations.to_2(connection)
            connection.execute(f"PRAGMA user_version = {VERSION}")

    def rows(self, sql: str, *values: Value) -> list[Fields]:
        """All rows of a SELECT."""
        return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Value) -> Fields | None:
        """The first row of a SELECT."""
        fields: Fields | None = self._connection.execute(sql, values).fetchone()
        return fields

    @contextmanager
    def transaction(self, what: str) -> Iterator[sqlite3.Connection]:
        """All of it durably or none; CannotWrite names `what` if the disk refuses."""
        with writing(what), durable.transaction(self._connection) as connection:
            yield connection

    def forget_deleted(self) -> None:
        """Leave no trace of deleted rows in the write-ahead log."""
        with writing("the write-ahead log"):
            durable.forget_deleted(self._connection)

    def close(self) -> None:
        """No call after this one."""
        self._connection.close()


def one(connection: sqlite3.Connection, sql: str, values: Sequence[Value] = ()) -> Fields | None:
    """The first row of a SELECT inside a transaction."""
    fields: Fields | None = connection.execute(sql, values).fetchone()
    return fields
