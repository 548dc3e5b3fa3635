"""Recordings that one transaction begins: they are written together.

A table of short recordings is as many rows as samples: statements for each of them would cost more
than reading the table does.
"""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from itertools import chain

from fedling_agent.data.times import Times
from fedling_agent.store import costs
from fedling_agent.store.open_recording import CHUNK_BYTES, chunks_of, label_spans
from fedling_agent.store.tally import Tally
from fedling_protocol.disk.database import Fields, one

_TOGETHER = 120  # rows of one statement, with up to 7 values each: SQLite takes 999 everywhere
_RECORDINGS = (
    "INSERT INTO recordings (key, stream, id, start_ms, grown_ms, samples, bytes, revision)",
    "(?, ?, ?, ?, ?, ?, ?, 0)",
)
_CHUNKS = (
    "INSERT INTO chunks (recording, first, data, began_ms, ended_ms)",
    "(?, ?, ?, ?, ?)",
)
_STRETCHES = """INSERT INTO stretches (recording, first, last)
                SELECT key, 0, samples - 1 FROM recordings WHERE key BETWEEN ? AND ?"""
_SPANS = ("INSERT INTO spans (recording, first, last, label, revision)", "(?, ?, ?, ?, ?)")


class NewRecordings:
    """Those of a stream that are not in the tables yet; what they add to the totals is told."""

    def __init__(self, connection: sqlite3.Connection, tally: Tally, stream: str) -> None:
        self._connection = connection
        self._tally = tally
        self._stream = stream
        self._last = 0  # key; 0: not asked for yet
        self._names: set[str] = set()
        self._samples = 0
        self._labels: Counter[str] = Counter()  # samples of each
        self._recordings: list[Fields] = []
        self._chunks: list[Fields] = []
        self._spans: list[Fields] = []

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(
        self,
        name: str,
        start_ms: int,
        grown_ms: int,
        data: bytes,
        labels: Sequence[str | None],
        times: Times | None,
    ) -> int:
        """Begin a recording that no table has, with its first samples; returns its key."""
        self._last = key = (self._last or self._last_of_all()) + 1
        count, size = len(labels), costs.RECORDING + costs.STRETCH + len(name) + len(data)
        if len(data) <= CHUNK_BYTES:
            self._chunks.append((key, 0, data, *(times or (None, None))))
            size += costs.CHUNK
        else:
            for first, part, taken in chunks_of(data, len(data) // count, times):
                self._chunks.append((key, first, part, *taken))
                size += costs.CHUNK
        for span in label_spans(labels, 0):
            self._spans.append((key, *span))
            size += costs.SPAN + len(span.label)
            self._labels[span.label] += span.last - span.first + 1
        self._recordings.append((key, self._stream, name, start_ms, grown_ms, count, size))
        self._samples += count
        self._tally.bytes += size
        self._names.add(name)
        return key

    def write(self) -> None:
        """Put all of them into the tables, where others find them."""
        if not self._names:
            return
        size = sum(row[-1] for row in self._recordings)
        self._tally.bytes -= size  # which add() counts
        self._tally.add(
            self._stream, recordings=len(self._names), samples=self._samples, bytes=size
        )
        for label, samples in self._labels.items():
            self._tally.label(self._stream, label, samples)
        self._labels.clear()
        self._samples = 0
        for (into, values), rows in (
            (_RECORDINGS, self._recordings),
            (_CHUNKS, self._chunks),
            (_SPANS, self._spans),
        ):
            self._put(into, values, rows)
            rows.clear()
        first = self._last - len(self._names) + 1
        self._connection.execute(_STRETCHES, (first, self._last))  # each has one
        self._names.clear()

    def _put(self, into: str, values: str, rows: list[Fields]) -> None:
        """Put rows into a table: a statement costs as much as the few rows that it is for."""
        left = len(rows) % _TOGETHER
        together = f"{into} VALUES {', '.join([values] * _TOGETHER)}"
        for at in range(left, len(rows), _TOGETHER):
            fields = list(chain.from_iterable(rows[at : at + _TOGETHER]))
            self._connection.execute(together, fields)
        self._connection.executemany(f"{into} VALUES {values}", rows[:left])

    def _last_of_all(self) -> int:
        """The last key that a recording ever had: AUTOINCREMENT keeps it."""
        row = one(self._connection, "SELECT seq FROM sqlite_sequence WHERE name = 'recordings'")
        return 0 if row is None else int(row[0])
