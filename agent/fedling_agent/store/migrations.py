"""How the tables became what they are: each step converts those of the version before it."""

import sqlite3

import cbor2

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
