"""How the tables became what they are: each step converts those of the version before it."""

import sqlite3

import cbor2

_SPEC = 6  # the key of the task in a Rest message

INDEXES = """
CREATE INDEX recordings_of ON recordings (stream);           -- and so by key: newest first
CREATE INDEX recordings_touched ON recordings (touched_ms)   -- which are too old
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
