"""Recordings that one transaction begins: they are written together.

A table of short recordings is as many rows as samples: statements for each of them would cost more
than reading the table does.
"""

import sqlite3
from collections.abc import Sequence

from fedling_agent.store import costs
from fedling_agent.store.open_recording import CHUNK_BYTES, label_spans
from fedling_agent.store.tally import Tally
from fedling_protocol.disk.database import Fields, one

_RECORDINGS = """INSERT INTO recordings
                 (key, stream, id, start_ms, grown_ms, samples, bytes, revision)
                 VALUES (?, ?, ?, ?, ?, ?, ?, 0)"""
_CHUNKS = "INSERT INTO chunks (recording, first, data) VALUES (?, ?, ?)"
_STRETCHES = "INSERT INTO stretches (recording, first, last) VALUES (?, ?, ?)"
_SPANS = "INSERT INTO spans (recording, first, last, label, revision) VALUES (?, ?, ?, ?, ?)"


class NewRecordings:
    """Those of a stream that are not in the tables yet; what they add to the totals is told."""

    def __init__(self, connection: sqlite3.Connection, tally: Tally, stream: str) -> None:
        self._connection = connection
        self._tally = tally
        self._stream = stream
        self._last = 0  # key; 0: not asked for yet
        self._names: set[str] = set()
        self._recordings: list[Fields] = []
        self._chunks: list[Fields] = []
        self._stretches: list[Fields] = []
        self._spans: list[Fields] = []

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(
        self, name: str, start_ms: int, grown_ms: int, data: bytes, labels: Sequence[str | None]
    ) -> int:
        """Begin a recording that no table has, with its first samples; returns its key."""
        key, count, width = self._next_key(), len(labels), len(data) // len(labels)
        step = CHUNK_BYTES // width * width
        size = costs.RECORDING + len(name) + len(data) + costs.STRETCH
        for at in range(0, len(data), step):
            self._chunks.append((key, at // width, data[at : at + step]))
            size += costs.CHUNK
        for span in label_spans(labels, 0):
            self._spans.append((key, *span))
            size += costs.SPAN + len(span.label)
            self._tally.label(self._stream, span.label, span.last - span.first + 1)
        self._stretches.append((key, 0, count - 1))
        self._recordings.append((key, self._stream, name, start_ms, grown_ms, count, size))
        self._tally.add(self._stream, recordings=1, samples=count, bytes=size)
        self._names.add(name)
        return key

    def write(self) -> None:
        """Put all of them into the tables, where others find them."""
        if not self._names:
            return
        for sql, rows in (
            (_RECORDINGS, self._recordings),
            (_CHUNKS, self._chunks),
            (_STRETCHES, self._stretches),
            (_SPANS, self._spans),
        ):
            self._connection.executemany(sql, rows)
            rows.clear()
        self._names.clear()

    def _next_key(self) -> int:
        """One that no recording ever had: AUTOINCREMENT keeps the last."""
        if not self._last:
            row = one(self._connection, "SELECT seq FROM sqlite_sequence WHERE name = 'recordings'")
            self._last = 0 if row is None else int(row[0])
        self._last += 1
        return self._last
