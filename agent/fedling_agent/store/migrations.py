"""How the tables became what they are: each step converts those of the version before it."""

import sqlite3

import cbor2

from fedling_agent.store import costs
from fedling_protocol.wire.labels import tidy

_SPEC = 6  # the key of the task in a Rest message

INDEXES = """
CREATE INDEX recordings_of ON recordings (stream);           -- and so by key: newest first
CREATE INDEX recordings_touched ON recordings (touched_ms)   -- which are too old
"""


LIVES = """
DROP TABLE seen;                 -- nothing wrote it
CREATE TABLE seen (              -- where the history of each task was when it was last heard of
    task TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    version INTEGER NOT NULL,
    open INTEGER NOT NULL,
    model BLOB NOT NULL          -- hash of the newest
) WITHOUT ROWID;
CREATE TABLE in_force (          -- the last list of tasks
    only INTEGER PRIMARY KEY CHECK (only = 0),
    message BLOB NOT NULL
);
ALTER TABLE models ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE models ADD COLUMN number INTEGER NOT NULL DEFAULT 0; -- in which order they came
UPDATE models SET number = version;
"""

USED = """
CREATE TABLE used (              -- what the last 24 hours of running have cost
    hour INTEGER PRIMARY KEY,    -- they follow one another
    work_ms INTEGER NOT NULL,    -- of a processor, by training
    bytes INTEGER NOT NULL       -- at the socket
);
"""


SCALES = """
ALTER TABLE models ADD COLUMN drawn INTEGER NOT NULL DEFAULT 0;   -- nobody has trained it
ALTER TABLE plans ADD COLUMN clipped INTEGER NOT NULL DEFAULT 0;  -- values of the frozen set
"""


TESTS = """
ALTER TABLE plans ADD COLUMN tested TEXT;  -- JSON [[windows, right], ...] of each class, if any
"""

LEARNED = """
CREATE TABLE learned (           -- what was stored when the last plan of a task was begun
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE,
    task TEXT NOT NULL,
    plan_id BLOB NOT NULL,
    samples INTEGER NOT NULL,    -- up to its end then
    revision INTEGER NOT NULL,   -- of its labels then
    PRIMARY KEY (recording, task)
) WITHOUT ROWID;
"""

HELD_OUT = """
ALTER TABLE plans ADD COLUMN held_out TEXT NOT NULL DEFAULT '[]'; -- JSON: recordings of its test
"""

PERSONAL = """
CREATE TABLE personal (          -- the personal model of each task that was made last
    task TEXT PRIMARY KEY,
    spec BLOB NOT NULL,
    version INTEGER NOT NULL,    -- of the fleet's model that it was made from
    base BLOB NOT NULL,          -- hash of that
    exponents TEXT NOT NULL,
    normaliser TEXT NOT NULL,
    hash BLOB,                   -- as models have it; NULL: the fleet's did no worse
    windows INTEGER NOT NULL,    -- that chose; how many of them each told right:
    fleets_right INTEGER NOT NULL,
    own_right INTEGER NOT NULL,
    examples INTEGER NOT NULL,   -- that trained it
    stock INTEGER NOT NULL       -- samples that had come then
) WITHOUT ROWID;
"""

# Beside the history of tasks: how far that of keys had come. What was heard later counts for ever,
# whatever the MQTT broker retains, and whatever the clock says.
TRUST = """
ALTER TABLE certificates ADD COLUMN holds INTEGER NOT NULL DEFAULT 1;  -- 0: it was taken back
CREATE TABLE roots (             -- the root keys that came after the one of agent.toml
    only INTEGER PRIMARY KEY CHECK (only = 0),
    links INTEGER NOT NULL,      -- how many
    envelope BLOB NOT NULL
);
CREATE TABLE latest (            -- it is no earlier than this
    only INTEGER PRIMARY KEY CHECK (only = 0),
    issued_s INTEGER NOT NULL    -- Unix time: of a certificate or a root that counts
);
"""

OWNER = """
CREATE TABLE pause (             -- by the owner
    only INTEGER PRIMARY KEY CHECK (only = 0),
    until_ms INTEGER,            -- of the time that was lived; NULL: it has no end
    reason TEXT NOT NULL
);
CREATE TABLE spells (            -- what held of training from when on
    number INTEGER PRIMARY KEY,  -- they follow one another
    run INTEGER NOT NULL,        -- of the service
    lived_ms INTEGER NOT NULL,   -- when it began, of the time that was lived
    wall_ms INTEGER NOT NULL,    -- the same by this device's clock
    course TEXT NOT NULL,
    why TEXT NOT NULL            -- JSON: codes with numbers
);
"""

TIMES = f"""
ALTER TABLE chunks ADD COLUMN began_ms INTEGER;  -- when the first sample was taken: Unix time
ALTER TABLE chunks ADD COLUMN ended_ms INTEGER;  -- and the last one. NULL: nobody knows
CREATE TABLE awaited (           -- labels of samples that are still to come
    number INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    recording TEXT,              -- NULL: whichever
    begin_ms INTEGER NOT NULL,   -- when they were taken: Unix time
    end_ms INTEGER NOT NULL,     -- left out
    label TEXT,                  -- NULL: none
    until_ms INTEGER NOT NULL    -- is waited for them: of the time that was lived
);
{costs.BYTES_ANEW};
UPDATE streams SET
    bytes = (SELECT coalesce(sum(bytes), 0) FROM recordings WHERE stream = name);
"""  # noqa: S608 (constants)


def to_2(connection: sqlite3.Connection) -> None:
    """A model's description is its task's, not a Rest message; two indexes for large stores."""
    connection.execute("ALTER TABLE models RENAME COLUMN about TO spec")
    for task, version, rest in connection.execute(
        "SELECT task, version, spec FROM models"
    ).fetchall():
        spec = cbor2.dumps(cbor2.loads(rest)[_SPEC], canonical=True)
        sql = "UPDATE models SET spec = ? WHERE task = ? AND version = ?"
        connection.execute(sql, (spec, task, version))
    for statement in INDEXES.split(";"):
        connection.execute(statement)


# Holes; age by time that was lived through; totals that are kept.
TO_3 = """
DROP VIEW free_recordings;
ALTER TABLE recordings RENAME COLUMN touched_ms TO grown_ms;  -- of the time that was lived through
ALTER TABLE recordings ADD COLUMN first INTEGER NOT NULL DEFAULT 0;  -- sample that is kept
ALTER TABLE pins ADD COLUMN first INTEGER NOT NULL DEFAULT 0;  -- sample that is needed
CREATE TABLE stretches (        -- samples that were taken without a break
    recording INTEGER NOT NULL REFERENCES recordings ON DELETE CASCADE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,      -- inclusive
    PRIMARY KEY (recording, first)
) WITHOUT ROWID;
INSERT INTO stretches SELECT key, 0, samples - 1 FROM recordings WHERE samples > 0;
CREATE TABLE labels (           -- how many samples have it: kept, never counted anew
    stream TEXT NOT NULL,
    label TEXT NOT NULL,
    samples INTEGER NOT NULL,
    PRIMARY KEY (stream, label)
) WITHOUT ROWID;
CREATE INDEX labels_most ON labels (stream, samples);
CREATE TABLE inputs (           -- the last request of inputs under way, and what became of it
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    row INTEGER NOT NULL,       -- lines before it
    done TEXT NOT NULL
);
CREATE TABLE lived (            -- time that passed while this device ran, whatever its clock says
    total_ms INTEGER NOT NULL,
    up_ms INTEGER NOT NULL      -- since boot, when it was last looked at
);
INSERT INTO lived VALUES (0, 0);
UPDATE recordings SET grown_ms = 0;
ALTER TABLE streams ADD COLUMN recordings INTEGER NOT NULL DEFAULT 0;  -- kept, as all that follow
ALTER TABLE streams ADD COLUMN samples INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN evicted INTEGER NOT NULL DEFAULT 0;     -- samples, in all
ALTER TABLE streams ADD COLUMN no_room INTEGER NOT NULL DEFAULT 0;     -- rows refused, in all
CREATE VIEW free_recordings AS  -- may be evicted
    SELECT * FROM recordings WHERE key NOT IN (SELECT recording FROM pins);
"""

_BYTES_4 = f"""
UPDATE recordings SET bytes = bytes + {costs.RECORDING} + {costs.STRETCH} + length(id)
    + {costs.CHUNK} * (SELECT count(*) FROM chunks WHERE recording = key)
    + (SELECT coalesce(sum({costs.SPAN} + length(label)), 0) FROM spans WHERE recording = key)
"""  # noqa: S608 (constants)

_LABELS_4 = """
INSERT INTO labels SELECT r.stream, s.label, sum(s.last - s.first + 1)
    FROM spans s JOIN recordings r ON r.key = s.recording GROUP BY r.stream, s.label
"""
_TOTALS_4 = """
UPDATE streams SET
    recordings = (SELECT count(*) FROM recordings WHERE stream = name),
    samples = (SELECT coalesce(sum(samples), 0) FROM recordings WHERE stream = name),
    bytes = (SELECT coalesce(sum(bytes), 0) FROM recordings WHERE stream = name)
"""


def to_4(connection: sqlite3.Connection) -> None:
    """Labels have one form, bytes are those on disk, and totals are kept."""
    for (label,) in connection.execute("SELECT DISTINCT label FROM spans").fetchall():
        connection.execute("UPDATE spans SET label = ? WHERE label = ?", (tidy(label), label))
    for statement in (_BYTES_4, _LABELS_4, _TOTALS_4):
        connection.execute(statement)
