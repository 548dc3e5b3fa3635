"""The tables of the device's SQLite file.

Large things are files named by hash (files.py, models.py); the tables hold their hashes. How to
change a table: fedling_protocol.disk.database.
"""

from pathlib import Path

from fedling_agent.store import migrations
from fedling_protocol.disk.database import Database, Tables

PROGRAM = "fedling-agent"  # holds the lock

# AUTOINCREMENT where a number must never come back: it is the order in which things happened,
# whatever the clock of a board without a battery says.
SCHEMA_1 = """
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

TABLES = Tables(
    first=1,
    steps=(
        SCHEMA_1,
        migrations.to_2,
        migrations.TO_3,
        migrations.to_4,
        migrations.LIVES,
        migrations.USED,
        migrations.SCALES,
        migrations.TESTS,
        migrations.HELD_OUT,
        migrations.TRUST,
        migrations.LEARNED,
        migrations.OWNER,
        migrations.PERSONAL,
        migrations.TIMES,
    ),
    converter="fedling-agent run",
    mender="`fedling-agent run` puts it aside and begins anew",
)


def open_database(path: Path, *, read_only: bool = False) -> Database:
    """Open the tables; to write, the caller holds the directory's lock. Raises as Database does."""
    return Database(path, TABLES, read_only=read_only)
