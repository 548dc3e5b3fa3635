"""One input's rows on their way into recordings: what it has written, and what became of it.

What is in memory is enough but for one thing: whether the last request was committed before the
service was gone. That is on disk, so that who repeats it stores nothing twice.
"""

import json
import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import field, replace
from enum import StrEnum
from functools import lru_cache
from itertools import islice

from fedling_agent.data.holes import MOST_RECORDINGS
from fedling_agent.data.recording import Changes
from fedling_agent.data.streams import Row, RowError
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import one

MAX_ERRORS = 20  # that are told one by one; all are counted
KEPT = 100  # inputs that are remembered


class Mode(StrEnum):
    """What becomes of rows whose recording was here before their input."""

    NEW = "new"  # those that are stored already are skipped, others refused
    APPEND = "append"  # they go on at the end of it, behind a hole
    REPLACE = "replace"  # the recording goes first


@dataclass(frozen=True, slots=True)
class Course:
    """How far one recording has come in one input."""

    place: int = 0  # good rows of it
    end: int | None = None  # length of the recording behind them; None: not known
    refused: str = ""  # why none of its rows is stored


NOT_BEGUN = Course()
shared_course = lru_cache(maxsize=64)(Course)  # recordings of a table of short ones go alike


class Input:
    """What one input has written up to now. id: empty if no request of it is ever repeated."""

    def __init__(self, mode: Mode = Mode.APPEND, id: str = "") -> None:
        self.mode = mode
        self.id = id
        self._courses: OrderedDict[str, Course] = OrderedDict()

    def course(self, recording: str) -> Course:
        """Where it was when keep() was last told of it."""
        return self._courses.get(recording, NOT_BEGUN)

    def skip(self, rows: Iterable[Row | RowError]) -> None:
        """Rows that were stored already, by a service that is gone, come once more."""
        courses: dict[str, Course] = {}
        for row in rows:
            if isinstance(row, Row):
                course = courses.get(row.recording) or self.course(row.recording)
                courses[row.recording] = replace(course, place=course.place + 1)
        self.keep(courses)

    def keep(self, courses: dict[str, Course]) -> None:
        """Remember what was committed, of the recordings that were last written to."""
        last = islice(courses.items(), max(0, len(courses) - MOST_RECORDINGS), None)
        for recording, course in last:
            self._courses[recording] = course
            self._courses.move_to_end(recording)
        while len(self._courses) > MOST_RECORDINGS:
            self._courses.popitem(last=False)


@dataclass(slots=True)
class Ingested:
    """What became of the rows of one request; rows and recordings are named up to a bound."""

    changes: Changes
    stored: int = 0
    seen: int = 0  # rows that were here already
    refused: int = 0
    errors: list[RowError] = field(default_factory=list)
    holes: Counter[str] = field(default_factory=Counter)  # by HoleKind
    notes: list[tuple[int, str]] = field(default_factory=list)  # row, what hole is before it
    evicted_samples: int = 0  # that had to go
    evicted: int = 0  # recordings that went with their last samples
    gone: list[str] = field(default_factory=list)  # their names
    replaced: int = 0  # recordings

    def refuse(self, error: RowError, rows: int) -> None:
        """Count rows that are not stored, for one reason."""
        self.refused += rows
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)

    def hole(self, row: int, kind: str, words: str) -> None:
        """Count a hole; the words are told."""
        self.holes[kind] += 1
        if words and len(self.notes) < MAX_ERRORS:
            self.notes.append((row, words))


_TOLD = (
    "stored", "seen", "refused", "notes", "evicted_samples", "evicted", "gone", "replaced",
)  # fmt: skip


def recall(connection: sqlite3.Connection, given: Input, before: int) -> Ingested | None:
    """What became of a request that is repeated; None: it is none.

    before: lines of the input before its first one
    """
    sql = "SELECT done FROM inputs WHERE id = ? AND row = ?"
    row = one(connection, sql, (given.id, before)) if given.id else None
    if row is None:
        return None
    values = json.loads(row[0])
    values["errors"] = [RowError(*error) for error in values["errors"]]
    values["notes"] = [(number, words) for number, words in values["notes"]]
    values["holes"] = Counter(values["holes"])
    return Ingested(Changes(values.pop("stream")), **values)


def remember(connection: sqlite3.Connection, given: Input, before: int, done: Ingested) -> None:
    """Keep what became of the last request of an input, in the transaction that stores its rows."""
    if not given.id:
        return
    values = {name: getattr(done, name) for name in _TOLD} | {
        "stream": done.changes.stream,
        "errors": [[error.row, error.reason] for error in done.errors],
        "holes": dict(done.holes),
    }
    sql = """INSERT INTO inputs (id, row, done) VALUES (?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET row = excluded.row, done = excluded.done"""
    connection.execute(sql, (given.id, before, json.dumps(values)))
    sql = "DELETE FROM inputs WHERE number <= (SELECT max(number) FROM inputs) - ?"
    connection.execute(sql, (KEPT,))
