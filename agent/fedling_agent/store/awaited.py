"""Labels that were given to a time before its samples were here.

Rows of a live sensor wait for each other before they are stored, so whoever says "the last minute
was a walk" says it of samples that are still to come.
"""

import sqlite3
from collections.abc import Sequence

from fedling_agent.data.times import Interval
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import one
from fedling_protocol.disk.errors import BadInput

WAIT_MS = 600_000  # rows wait two minutes, and five more for a service that is away
MOST = 1000  # of a stream, at a time


@dataclass(frozen=True, slots=True)
class Awaited:
    """Samples of a time have this label as soon as they come."""

    interval: Interval
    label: str | None  # None: they have none, whatever their rows say
    recording: str | None  # None: of whichever they are


def put(
    connection: sqlite3.Connection, stream: str, awaited: Awaited, until_ms: int, lived_ms: int
) -> None:
    """Wait for samples. until_ms: of the time that was lived. Raises BadInput (too many)."""
    row = one(connection, "SELECT count(*) FROM awaited WHERE stream = ?", (stream,))
    if row is not None and row[0] >= MOST and len(of(connection, stream, lived_ms)) >= MOST:
        raise BadInput(f"stream {stream}: {MOST} times wait for their samples already")
    sql = """DELETE FROM awaited WHERE stream = ? AND recording IS ? AND begin_ms >= ?
             AND end_ms <= ?"""  # nobody would ask for them any more
    connection.execute(sql, (stream, awaited.recording, *awaited.interval))
    sql = """INSERT INTO awaited (stream, recording, begin_ms, end_ms, label, until_ms)
             VALUES (?, ?, ?, ?, ?, ?)"""
    values = (stream, awaited.recording, *awaited.interval, awaited.label, until_ms)
    connection.execute(sql, values)


def of(connection: sqlite3.Connection, stream: str, lived_ms: int) -> list[Awaited]:
    """List what waits, the last one last; what has waited long enough goes."""
    sql = """SELECT until_ms, begin_ms, end_ms, label, recording FROM awaited WHERE stream = ?
             ORDER BY number"""
    rows = connection.execute(sql, (stream,)).fetchall()
    if any(until_ms < lived_ms for until_ms, *_ in rows):
        connection.execute("DELETE FROM awaited WHERE until_ms < ?", (lived_ms,))
    return [
        Awaited(Interval(begin, end), label, recording)
        for until_ms, begin, end, label, recording in rows
        if until_ms >= lived_ms
    ]


def label_of(
    awaited: Sequence[Awaited], recording: str, taken_ms: int, label: str | None
) -> str | None:
    """Tell the label of a sample that comes with one, or with none: who said it last is right."""
    for wanted in awaited:
        if wanted.recording in (None, recording) and wanted.interval.has(taken_ms):
            label = wanted.label
    return label
