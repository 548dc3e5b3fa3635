"""Recordings that one transaction begins: they are written together.

A table of short recordings is as many rows as samples: statements for each of them would cost more
than reading the table does.
"""

import sqlite3
from collections.abc import Sequence

from fedling_agent.store.open_recording import CHUNK_BYTES, chunks_of
from fedling_agent.store.pieces import Piece, Run
from fedling_agent.store.tally import Tally
from fedling_protocol.disk.database import one

_TOGETHER = 120  # rows of one statement, with up to 5 values each: SQLite takes 999 everywhere
_STRETCHES = """INSERT INTO stretches (recording, first, last)
                SELECT key, 0, samples - 1 FROM recordings WHERE key BETWEEN ? AND ?"""

_Value = int | str | bytearray


class _Rows:
    """Rows that wait for their table: their values, one behind the other.

    None of them is bytes or None: sqlite3 would seek an adapter, longer than SQLite stores a row.
    """

    def __init__(self, columns: str, row: str, *shared: _Value) -> None:
        """columns: and their table. row: its values in SQL. shared: ?1, ?2 ... of all rows"""
        self.values: list[_Value] = []
        self._row = row
        self._one = f"INSERT INTO {columns} VALUES {row}"  # noqa: S608 (constants)
        self._shared = shared
        self._width = row.count("?") - len(shared)

    def put(self, connection: sqlite3.Connection) -> None:
        """Put them there: a statement costs as much as the few rows that it is for."""
        values, width, shared = self.values, self._width, self._shared
        together = self._one + f", {self._row}" * (_TOGETHER - 1)
        whole = len(values) - len(values) % (_TOGETHER * width)
        for at in range(0, whole, _TOGETHER * width):
            connection.execute(together, [*shared, *values[at : at + _TOGETHER * width]])
        rest = range(whole, len(values), width)
        connection.executemany(self._one, [[*shared, *values[at : at + width]] for at in rest])
        values.clear()


class NewRecordings:
    """Those of a stream that are not in the tables yet; their totals are told when they are."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        tally: Tally,
        stream: str,
        now_ms: int,
        grown_ms: int,
    ) -> None:
        """now_ms: Unix time; grown_ms: of the time that was lived"""
        self._connection = connection
        self._tally = tally
        self._stream = stream
        self._now_ms = now_ms
        self._last = 0  # key; 0: not asked for yet
        self.names: set[str] = set()
        self.samples = 0
        self._labels: dict[str, int] = {}  # samples of each
        self._recordings = _Rows(
            "recordings (stream, grown_ms, key, id, start_ms, samples, bytes, revision)",
            "(?1, ?2, ?, ?, ?, ?, ?, 0)",
            stream,
            grown_ms,
        )
        self._chunks = _Rows("chunks (recording, first, data)", "(?, ?, ?)")
        self._timed = _Rows(
            "chunks (recording, first, data, began_ms, ended_ms)", "(?, ?, ?, ?, ?)"
        )
        self._spans = _Rows("spans (recording, first, last, label, revision)", "(?, ?, ?, ?, 0)")
        self.bytes = 0  # that they take

    @property
    def keys(self) -> range:
        """Keys of those that wait: they follow one another."""
        return range(self._last - len(self.names) + 1, self._last + 1)

    def add(self, piece: Piece, runs: Sequence[Run], size: int) -> None:
        """Begin a recording that no table has.

        piece: its first samples. runs: of their labels. size: bytes that all of it takes
        """
        self._last = key = (self._last or self._last_of_all()) + 1
        name, samples, data = piece.recording, len(piece.labels), piece.data
        start_ms = self._now_ms if piece.time_us is None else piece.time_us // 1000
        self._recordings.values += (key, name, start_ms, samples, size)
        if piece.times is None and len(data) <= CHUNK_BYTES:
            self._chunks.values += (key, 0, data)
        else:
            for first, part, times in chunks_of(data, len(data) // samples, piece.times):
                if times is None:
                    self._chunks.values += (key, first, part)
                else:
                    self._timed.values += (key, first, part, *times)
        for first, last, label in runs:
            self._spans.values += (key, first, last, label)
            self._labels[label] = self._labels.get(label, 0) + last - first + 1
        self.samples += samples
        self.bytes += size
        self.names.add(name)

    def write(self) -> None:
        """Put all of them into the tables, where others find them."""
        count, keys = len(self.names), self.keys
        if not count:
            return
        self._tally.add(self._stream, recordings=count, samples=self.samples, bytes=self.bytes)
        for label, samples in self._labels.items():
            self._tally.label(self._stream, label, samples)
        for rows in (self._recordings, self._chunks, self._timed, self._spans):
            rows.put(self._connection)
        self._connection.execute(_STRETCHES, (keys[0], keys[-1]))  # each has one
        self.names.clear()
        self._labels.clear()
        self.samples = self.bytes = 0

    def _last_of_all(self) -> int:
        """The last key that a recording ever had: AUTOINCREMENT keeps it."""
        row = one(self._connection, "SELECT seq FROM sqlite_sequence WHERE name = 'recordings'")
        return 0 if row is None else int(row[0])
