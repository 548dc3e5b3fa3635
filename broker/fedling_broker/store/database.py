"""The tables of the aggregator's SQLite file, which hold all facts that a restart needs.

Large things are files named by hash (shelf.py); the tables hold their hashes.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedling_protocol.disk import durable

SCHEMA_VERSION = 2
FILE = "fedling-broker.sqlite"

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('restore_epoch', 0), ('serial', 0);

-- text: the task file as it was added;
-- imported: hash of a first model that came from elsewhere; NULL: it was drawn from the seed
CREATE TABLE tasks (
    name TEXT PRIMARY KEY, text TEXT NOT NULL, paused INTEGER NOT NULL, imported BLOB
    ) WITHOUT ROWID;

-- opened_ms: CLOCK_BOOTTIME of the boot that `boot` names; age_ms: the largest age written down
CREATE TABLE plans (
    task TEXT NOT NULL REFERENCES tasks ON DELETE CASCADE,
    round INTEGER NOT NULL, plan_id BLOB NOT NULL,
    base_version INTEGER NOT NULL, base_hash BLOB NOT NULL,
    opened_ms INTEGER NOT NULL, boot TEXT NOT NULL, age_ms INTEGER NOT NULL DEFAULT 0,
    closed INTEGER NOT NULL DEFAULT 0, folded INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (task, round), UNIQUE (task, plan_id)) WITHOUT ROWID;

CREATE TABLE places (
    task TEXT NOT NULL, plan_id BLOB NOT NULL, device TEXT NOT NULL, until_ms INTEGER NOT NULL,
    PRIMARY KEY (task, plan_id, device),
    FOREIGN KEY (task, plan_id) REFERENCES plans (task, plan_id) ON DELETE CASCADE) WITHOUT ROWID;

-- the first verdict on each (task, plan, device); size: bytes of the whole message;
-- weight, saturated: of an accepted update; kept: its file is still needed
CREATE TABLE decisions (
    task TEXT NOT NULL, plan_id BLOB NOT NULL, device TEXT NOT NULL,
    verdict TEXT NOT NULL, reason TEXT NOT NULL, update_hash BLOB,
    size INTEGER NOT NULL, weight INTEGER NOT NULL, saturated INTEGER NOT NULL,
    kept INTEGER NOT NULL,
    PRIMARY KEY (task, plan_id, device)) WITHOUT ROWID;

-- retained: the MQTT broker may hold it
CREATE TABLE models (
    task TEXT NOT NULL REFERENCES tasks ON DELETE CASCADE,
    version INTEGER NOT NULL, model_hash BLOB NOT NULL, exponents BLOB NOT NULL,
    retained INTEGER NOT NULL,
    PRIMARY KEY (task, version)) WITHOUT ROWID;

-- one row a fold: sum_hash names the int64 sum, state_hash the server's state after it;
-- momentum: of the server, in 1/256
CREATE TABLE journal (
    task TEXT NOT NULL REFERENCES tasks ON DELETE CASCADE,
    round INTEGER NOT NULL, sum_hash BLOB NOT NULL, weight INTEGER NOT NULL,
    momentum INTEGER NOT NULL,
    version INTEGER NOT NULL, model_hash BLOB NOT NULL, state_hash BLOB NOT NULL,
    PRIMARY KEY (task, round)) WITHOUT ROWID;

-- the file with the server's state that the next mean is added to
CREATE TABLE newest (
    task TEXT PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,
    state_hash BLOB NOT NULL) WITHOUT ROWID;

-- envelope: the Certificate, signed by the root key; a removed device keeps its serial
CREATE TABLE certificates (
    id TEXT PRIMARY KEY, key BLOB NOT NULL, kid BLOB NOT NULL, serial INTEGER NOT NULL,
    envelope BLOB NOT NULL, removed INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX certificates_by_kid ON certificates (kid);

-- devices that asked without a certificate; seen_s: Unix time, for people only
CREATE TABLE pending (
    id TEXT PRIMARY KEY, key BLOB NOT NULL, seen_s INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class WrongDatabase(Exception):
    """The file is of another version of fedling, or the state directory was never made."""


class Database:
    """A connection, its transactions and a few numbers."""

    def __init__(self, path: Path) -> None:
        """Open; raises WrongDatabase when `create` was not run or another version made it."""
        if not path.exists():
            raise WrongDatabase(f"{path}: is missing; run: fedling-broker init")
        self.connection = durable.connect_database(path)
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        if version != SCHEMA_VERSION:
            self.connection.close()
            raise WrongDatabase(
                f"{path}: made by another version of fedling (schema {version}, not"
                f" {SCHEMA_VERSION})"
            )

    @staticmethod
    def create(path: Path) -> None:
        """Make the tables, if they are not there yet."""
        connection = durable.connect_database(path)
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                with durable.transaction(connection):
                    for statement in SCHEMA.split(";\n"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        finally:
            connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All durably or nothing; one inside another belongs to the outer one."""
        if self.connection.in_transaction:
            yield self.connection
            return
        with durable.transaction(self.connection) as connection:
            yield connection

    def data_version(self) -> int:
        """A number that changes when another process has committed."""
        version: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def meta(self, key: str) -> int:
        value: int = self.connection.execute(
            "SELECT value FROM meta WHERE key = ?", (key,)
        ).fetchone()[0]
        return value

    def raise_meta(self, key: str) -> int:
        """Add one; the new value."""
        with self.transaction() as connection:
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = ?", (key,))
        return self.meta(key)

    def count(self, name: str, more: int = 1) -> None:
        """Add to a counter."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO counters VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                (name, more),
            )

    def counters(self) -> dict[str, int]:
        return dict(self.connection.execute("SELECT name, value FROM counters ORDER BY name"))

    def close(self) -> None:
        self.connection.close()
