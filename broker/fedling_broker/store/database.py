"""The tables of the aggregator's SQLite file, which hold all facts that a restart needs.

Large things are files (shelf.py, update_log.py); the tables hold their names and hashes. How to
change a table: fedling_protocol.disk.database.
"""

import re
import sqlite3
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path

from fedling_protocol.disk import lock
from fedling_protocol.disk.database import Database, Tables, not_one
from fedling_protocol.disk.errors import BadDatabase, WrongTables

FILE = "fedling-broker.sqlite"
PROGRAM = "fedling-broker"

Guard = Callable[[], AbstractContextManager[None]]

SCHEMA_2 = """
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

SCHEMA_3 = """
-- files of the former release are converted by old_files.py, which then sets this to 0
INSERT INTO meta SELECT 'old_files', EXISTS (SELECT 1 FROM tasks);

-- plans.kept: the log of its updates must be there; decisions.first: where the update lies in it
ALTER TABLE plans ADD COLUMN kept INTEGER NOT NULL DEFAULT 1;
UPDATE plans SET kept = folded = 0 OR EXISTS (
    SELECT 1 FROM decisions AS d
    WHERE d.task = plans.task AND d.plan_id = plans.plan_id AND d.kept = 1);
ALTER TABLE decisions ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
UPDATE decisions SET first = placed.first FROM (
    SELECT task, plan_id, device, sum(size) OVER (
        PARTITION BY task, plan_id ORDER BY device ROWS UNBOUNDED PRECEDING) - size AS first
    FROM decisions WHERE kept = 1) AS placed
WHERE (decisions.task, decisions.plan_id, decisions.device)
    = (placed.task, placed.plan_id, placed.device);
ALTER TABLE decisions DROP COLUMN kept;

-- optimiser, parameters: of the server, by name and as JSON; state_form: what state_hash is the
-- hash of, 1: values and velocity, as before these tables, 2: the file of tagged arrays
ALTER TABLE journal ADD COLUMN optimiser TEXT NOT NULL DEFAULT 'fedavg';
ALTER TABLE journal ADD COLUMN parameters TEXT NOT NULL DEFAULT '{}';
ALTER TABLE journal ADD COLUMN state_form INTEGER NOT NULL DEFAULT 1;
UPDATE journal SET optimiser = 'fedavgm', parameters = '{"momentum_q8":' || momentum || '}'
WHERE momentum != 0;
ALTER TABLE journal DROP COLUMN momentum;

-- changed: grows with each certificate that is added or removed; retained: the MQTT broker may
-- hold it
INSERT INTO meta SELECT 'changed', coalesce(max(serial), 0) FROM certificates;
ALTER TABLE certificates ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE certificates ADD COLUMN retained INTEGER NOT NULL DEFAULT 0;
UPDATE certificates SET changed = serial, retained = 1;
CREATE INDEX certificates_by_change ON certificates (changed);
CREATE INDEX certificates_by_place ON certificates (removed, retained);
"""

SCHEMA_4 = """
-- epoch: the restore_epoch in which the task was added: one that was removed had an older one
ALTER TABLE tasks ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
"""

SCHEMA_5 = """
-- sizes as aggregation.limits has them. limit_*: what counts of an update of the round, NULL: its
-- own updates will tell, when it is closed; middle_*: of its updates, NULL: not closed
ALTER TABLE plans ADD COLUMN limit_weights INTEGER DEFAULT 9223372036854775807;
ALTER TABLE plans ADD COLUMN limit_biases INTEGER DEFAULT 9223372036854775807;
ALTER TABLE plans ADD COLUMN limit_examples INTEGER DEFAULT 1073741824;
ALTER TABLE plans ADD COLUMN middle_weights INTEGER;
ALTER TABLE plans ADD COLUMN middle_biases INTEGER;
ALTER TABLE plans ADD COLUMN middle_examples INTEGER;
ALTER TABLE decisions ADD COLUMN norm_weights INTEGER NOT NULL DEFAULT 0;
ALTER TABLE decisions ADD COLUMN norm_biases INTEGER NOT NULL DEFAULT 0;
"""

SCHEMA_6 = """
-- epoch: grows with each start of the aggregator; generation: the highest that a task was given;
-- place: where the state lies, so that a copy is known by its other place; 0: it was never run here
UPDATE meta SET key = 'epoch' WHERE key = 'restore_epoch';
INSERT INTO meta SELECT 'generation', coalesce(max(epoch), 0) FROM tasks;
INSERT INTO meta VALUES ('place', 0);

-- generation: tells a task from others of its name; revision: how often it was changed;
-- asked: the text by which devices train in the open round, if it is not `text`
ALTER TABLE tasks RENAME COLUMN epoch TO generation;
ALTER TABLE tasks ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN asked TEXT;

-- what the MQTT broker may still hold of tasks that were removed; version 0: the plan
CREATE TABLE withdrawn (
    task TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (task, version)) WITHOUT ROWID;
"""

SCHEMA_7 = """
-- scale: [mean, mantissa, shift] of each channel as JSON, of a task whose devices read samples by
-- the fleet's; NULL: it was not measured yet, or none is wanted; drawn: nobody has trained it
ALTER TABLE models ADD COLUMN scale TEXT;
ALTER TABLE models ADD COLUMN drawn INTEGER NOT NULL DEFAULT 0;
UPDATE models SET drawn = 1
WHERE version = 1 AND task IN (SELECT name FROM tasks WHERE imported IS NULL);
"""


def to_7(connection: sqlite3.Connection) -> None:
    """Tasks that left it to us were normalised by the device: their models go on with that."""
    for statement in SCHEMA_7.split(";\n"):
        connection.execute(statement)
    for name, text, asked in connection.execute("SELECT name, text, asked FROM tasks").fetchall():
        told = [None if one is None else _by_device(one) for one in (text, asked)]
        connection.execute("UPDATE tasks SET text = ?, asked = ? WHERE name = ?", (*told, name))


def _by_device(text: str) -> str:
    """The same task, that says how samples are normalised."""
    try:
        task = tomllib.loads(text).get("task", {})
    except tomllib.TOMLDecodeError:  # the task will be stopped, and named
        return text
    if "normalise" in task:
        return text
    key = 'normalise = "device"'
    in_table = re.sub(r"(?m)^(\s*\[\s*task\s*\].*)$", rf"\1\n{key}", text, count=1)
    for told in (in_table, f"task.{key}\n{text}"):
        with suppress(tomllib.TOMLDecodeError):
            if "normalise" in tomllib.loads(told).get("task", {}):
                return told
    return text


SCHEMA_8 = """
-- how far back a task's models can be recomputed. version: the oldest that is kept, with the
-- server's state after it; 0: all since the first. next_*: where it moves to; 0: not known yet
CREATE TABLE horizon (
    task TEXT PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,
    version INTEGER NOT NULL, state_hash BLOB NOT NULL,
    next_version INTEGER NOT NULL, next_state_hash BLOB NOT NULL) WITHOUT ROWID;
"""

SCHEMA_9 = """
-- tested: what an accepted update says of its test of the base model, JSON [[windows, right], ...]
-- of each class; NULL: nothing
ALTER TABLE decisions ADD COLUMN tested TEXT;
"""

SCHEMA_10 = """
-- issued_s, until_s: Unix time, 0: the certificate does not say; name: of a device, for people;
-- revoked: its envelope is a tombstone, or empty: an older release made none, and said removed
ALTER TABLE certificates ADD COLUMN issued_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE certificates ADD COLUMN until_s INTEGER NOT NULL DEFAULT 0;
ALTER TABLE certificates ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE certificates RENAME COLUMN removed TO revoked;
UPDATE certificates SET envelope = x'' WHERE revoked = 1;
CREATE UNIQUE INDEX certificates_by_name ON certificates (name) WHERE name != '' AND revoked = 0;

-- token: its text, which is a secret; uses: how many devices it is for; until_s: Unix time
CREATE TABLE invitations (
    id BLOB PRIMARY KEY, token TEXT NOT NULL, name TEXT NOT NULL, uses INTEGER NOT NULL,
    made_s INTEGER NOT NULL, until_s INTEGER NOT NULL) WITHOUT ROWID;

-- who was enrolled by which token: so often it was used
CREATE TABLE enrolments (
    invitation BLOB NOT NULL REFERENCES invitations ON DELETE CASCADE, device TEXT NOT NULL,
    PRIMARY KEY (invitation, device)) WITHOUT ROWID;

-- certificates for TLS by serial number, which the authority's list names when they are revoked;
-- key: public, 33 bytes; until_s: the MQTT broker lets it in no longer
CREATE TABLE tls_certificates (
    serial TEXT PRIMARY KEY, owner TEXT NOT NULL, key BLOB NOT NULL, der BLOB NOT NULL,
    issued_s INTEGER NOT NULL, until_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX tls_certificates_by_owner ON tls_certificates (owner);
"""

SCHEMA_11 = """
-- invited: asked for with a token that was not used by this device before, so that the operator
-- meant it to have another key
ALTER TABLE tls_certificates ADD COLUMN invited INTEGER NOT NULL DEFAULT 0;
"""

SCHEMA_12 = """
-- backup_s: when the last whole backup was made, Unix time; 0: never
INSERT INTO meta VALUES ('backup_s', 0);
"""


def to_13(connection: sqlite3.Connection) -> None:
    """Tasks of devices that may know nothing of coded updates go on without them.

    target: bytes that a plan asks a coded vector to have; NULL: vectors are not coded.
    """
    connection.execute("ALTER TABLE plans ADD COLUMN target INTEGER")
    not_coded = "\n\n[compression]\noff = true\n"
    connection.execute("UPDATE tasks SET text = text || ?1, asked = asked || ?1", (not_coded,))


SCHEMA_14 = """
-- why_paused: the operator's words for devices; empty: none were given, or it is not paused
ALTER TABLE tasks ADD COLUMN why_paused TEXT NOT NULL DEFAULT '';
"""


SCHEMA_15 = """
-- chunks: of each message of this version the MQTT broker may hold so many, no more
ALTER TABLE models ADD COLUMN chunks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE withdrawn ADD COLUMN chunks INTEGER NOT NULL DEFAULT 0;

-- of updates to open rounds that have not come wholly; whole: message hash of the update;
-- each: bytes of a chunk, but the last
CREATE TABLE chunks (
    task TEXT NOT NULL, plan_id BLOB NOT NULL, device TEXT NOT NULL, whole BLOB NOT NULL,
    each INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (task, plan_id, device, number),
    FOREIGN KEY (task, plan_id) REFERENCES plans (task, plan_id) ON DELETE CASCADE);
"""


SCHEMA_16 = """
-- parameters of the journal may have grid_share, by which a release of before recomputes no model
"""


TABLES = Tables(
    first=2,
    steps=(
        SCHEMA_2,
        SCHEMA_3,
        SCHEMA_4,
        SCHEMA_5,
        SCHEMA_6,
        to_7,
        SCHEMA_8,
        SCHEMA_9,
        SCHEMA_10,
        SCHEMA_11,
        SCHEMA_12,
        to_13,
        SCHEMA_14,
        SCHEMA_15,
        SCHEMA_16,
    ),
    converter="fedling-broker serve",
    mender="end `serve` and put a backup back: fedling-broker restore FILE --replace",
)


def create_database(directory: Path) -> None:
    """Make the tables in a state directory, if they are not there yet. Raises as Database does."""
    Database(directory / FILE, TABLES).close()


def open_database(directory: Path, *, alone: bool = False) -> Database:
    """Raises WrongTables if `init` was not run here; else as Database does, and Locked.

    alone: the caller holds the lock of the directory. Others may write too, but old tables are not
    converted under an aggregator that runs.
    """
    path = directory / FILE
    if not path.exists():
        raise WrongTables(f"{path}: is missing; run: fedling-broker init")
    if why := not_one(path):
        raise BadDatabase(f"{path}: {why}; {TABLES.mender}")
    return Database(path, TABLES, alone=guard(directory, alone=alone))


def guard(directory: Path, *, alone: bool) -> Guard:
    """What is held while something is converted. alone: the caller has the lock already."""
    return nullcontext if alone else partial(lock.exclusive, directory, PROGRAM)
