"""Recordings in the store: samples that only grow, spans of labels, eviction of the oldest."""

import json
import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fedling_agent.data.recording import Changes, Recording, Span
from fedling_agent.data.streams import Row, RowError, Stream
from fedling_protocol.disk.database import Database, one
from fedling_protocol.disk.errors import BadInput, Missing

MAX_ERRORS = 20  # that are told one by one; all are counted
SAMPLE_BYTES = 2
GROWING_BYTES = 4096  # a smaller last chunk grows: rows that come one by one make no tiny chunks
CHUNK_BYTES = 65_536
PAGE = 256  # recordings or spans that are read at a time

_COLUMNS = "key, id, start_ms, samples, ?, revision"  # as Recording has them
_LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of the examples is kept."""

    bytes: int = 64 * 2**20  # samples of all streams
    age_days: float = 0.0  # since something was added to a recording; 0: for ever


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of the rows of one call."""

    changes: Changes
    refused: int = 0
    errors: tuple[RowError, ...] = ()  # the first 20

    @property
    def stored(self) -> int:
        """How many rows are on disk."""
        return self.changes.samples

    @property
    def evicted(self) -> int:
        """How many recordings had to go."""
        return len(self.changes.evicted)


class Summary(NamedTuple):
    """How much is stored of one stream."""

    recordings: int
    samples: int
    bytes: int


class Recordings:
    """One table of recordings, shared by all streams of a device."""

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds
        self._bytes: int | None = None  # stored, of all streams; we are the only one who writes

    def ingest(self, stream: Stream, rows: Iterable[Row | RowError], now_ms: int) -> Ingested:
        """Append the good rows, then evict, in one transaction. A known recording goes on.

        Memory: the rows of this call; feed it some thousand at a time.
        Raises CannotWrite (nothing of this call is stored), BadInput (the stream's resolution or
        channels are not those of what is stored).
        """
        pieces, refused, errors = _group(rows)
        stored, self._bytes = self._bytes, None  # unknown until it is committed
        with self._database.transaction("examples") as connection:
            _declare(connection, stream)
            if stored is None:
                stored = _stored_bytes(connection)
            writer = _Writer(connection, stream, self._bounds, now_ms, stored)
            for piece in pieces:
                if error := writer.append(piece):
                    refused += len(piece.labels)
                    errors.append(error)
            writer.evict_old()
        self._bytes = writer.bytes
        return Ingested(writer.changes(), refused, tuple(errors[:MAX_ERRORS]))

    def relabel(
        self, stream: str, recording: str, first: int, last: int, label: str | None
    ) -> Changes:
        """Change or remove (None) the label of samples first..last; raises the revision.

        Raises Missing (no such recording), BadInput (no such samples).
        """
        with self._database.transaction("a label") as connection:
            sql = "SELECT key, samples, revision FROM recordings WHERE stream = ? AND id = ?"
            row = one(connection, sql, (stream, recording))
            if row is None:
                raise Missing(f"stream {stream} has no recording {recording}")
            key, samples, revision = row
            if not 0 <= first <= last < samples:
                raise BadInput(f"{recording}: samples {first}..{last} of 0..{samples - 1}")
            _cut_out(connection, key, first, last)
            if label is not None:
                _put_span(connection, key, Span(first, last, label, revision + 1))
            sql = "UPDATE recordings SET revision = revision + 1 WHERE key = ?"
            connection.execute(sql, (key,))
        return Changes(stream, relabelled=(key,))

    def newest(self, stream: str, below: int | None = None) -> list[Recording]:
        """List a page of recordings with keys below a bound, those that were begun last first."""
        sql = f"""SELECT {_COLUMNS} FROM recordings WHERE stream = ? AND key < ?
                  ORDER BY key DESC LIMIT {PAGE}"""  # noqa: S608 (constants)
        key = _LAST if below is None else below
        rows = self._database.rows(sql, self._channels(stream), stream, key)
        return [Recording(*row) for row in rows]

    def by_key(self, key: int) -> Recording | None:
        """Find a recording by its key; None if it was evicted."""
        row = self._database.row("SELECT stream, id FROM recordings WHERE key = ?", key)
        return None if row is None else self.by_id(*row)

    def by_id(self, stream: str, name: str) -> Recording | None:
        """Find a recording by its id; None if it was evicted, or never was."""
        sql = f"SELECT {_COLUMNS} FROM recordings WHERE stream = ? AND id = ?"  # noqa: S608
        row = self._database.row(sql, self._channels(stream), stream, name)
        return None if row is None else Recording(*row)

    def definition(self, stream: str) -> list[list[str]] | None:
        """Name, unit and resolution of each channel, as first ingested; None: nothing was."""
        row = self._database.row("SELECT definition FROM streams WHERE name = ?", stream)
        if row is None:
            return None
        definition: list[list[str]] = json.loads(row[0])
        return definition

    def _channels(self, stream: str) -> int:
        return len(self.definition(stream) or ())

    def spans(self, recording: Recording, below: int | None = None) -> list[Span]:
        """List a page of spans that begin before sample `below`, the last first; none overlap."""
        sql = f"""SELECT first, last, label, revision FROM spans WHERE recording = ? AND first < ?
                  ORDER BY first DESC LIMIT {PAGE}"""  # noqa: S608 (a constant)
        rows = self._database.rows(sql, recording.key, _LAST if below is None else below)
        return [Span(*row) for row in rows]

    def samples(self, recording: Recording, first: int, count: int) -> bytes:
        """Read int16 counts in this machine's order, channels last. Raises Missing."""
        width = recording.channels * SAMPLE_BYTES
        sql = """SELECT first, data FROM chunks WHERE recording = ?1 AND first < ?3 AND first >=
                 (SELECT max(first) FROM chunks WHERE recording = ?1 AND first <= ?2)
                 ORDER BY first"""
        found = bytearray()
        for start, data in self._database.rows(sql, recording.key, first, first + count):
            begin = max(0, first - start) * width
            found += memoryview(data)[begin : (first + count - start) * width]
        if len(found) != count * width:
            raise Missing(f"samples of recording {recording.id} were evicted")
        return bytes(found)

    def summary(self) -> dict[str, Summary]:
        """Tell how much is stored, by stream."""
        sql = "SELECT stream, count(*), sum(samples), sum(bytes) FROM recordings GROUP BY stream"
        return {row[0]: Summary(*row[1:]) for row in self._database.rows(sql)}

    def erase(self, stream: str | None = None) -> None:
        """Remove for good what was ingested; the caller aborts what was trained on it first."""
        self._bytes = None
        with self._database.transaction("the erasure of examples") as connection:
            if stream is None:
                connection.execute("DELETE FROM recordings")
            else:
                connection.execute("DELETE FROM recordings WHERE stream = ?", (stream,))
        self._database.forget_deleted()


@dataclass(slots=True)
class _Piece:
    """Rows of one recording that came one after the other."""

    recording: str
    row: int  # of the first, among the good rows of this call
    time_ms: int | None
    counts: "array[int]"
    labels: list[str | None]


def _group(rows: Iterable[Row | RowError]) -> tuple[list[_Piece], int, list[RowError]]:
    pieces: list[_Piece] = []
    errors: list[RowError] = []
    refused = 0
    for row in rows:
        if isinstance(row, RowError):
            refused += 1
            if len(errors) < MAX_ERRORS:
                errors.append(row)
            continue
        if not pieces or pieces[-1].recording != row.recording:
            pieces.append(_Piece(row.recording, row.row, row.time_ms, array("h"), []))
        pieces[-1].counts.extend(row.counts)
        pieces[-1].labels.append(row.label)
    return pieces, refused, errors


class _Writer:
    """Appends pieces inside one transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        stream: Stream,
        bounds: Bounds,
        now_ms: int,
        stored: int,
    ) -> None:
        """Write inside an open transaction. stored: bytes of all streams."""
        self._connection = connection
        self._stream = stream
        self._bounds = bounds
        self._now_ms = now_ms
        self._width = len(stream.channels) * SAMPLE_BYTES
        self.bytes = stored
        self._samples = 0
        self._grown: dict[int, None] = {}
        self._evicted: list[int] = []

    def changes(self) -> Changes:
        """Tell all that was done."""
        for key in self._evicted:
            self._grown.pop(key, None)
        name, grown, evicted = self._stream.name, tuple(self._grown), tuple(self._evicted)
        return Changes(name, self._samples, grown, evicted=evicted)

    def append(self, piece: _Piece) -> RowError | None:
        """Store a piece; returns why nothing of it is stored, or None."""
        key, samples = self._open(piece)
        size = len(piece.labels) * self._width
        if not self._make_room(size, key):
            self._connection.execute("DELETE FROM recordings WHERE key = ? AND samples = 0", (key,))
            return RowError(
                piece.row,
                f"no room for {len(piece.labels)} rows of recording {piece.recording}: "
                f"store.bytes = {self._bounds.bytes}, and what is not evicted is in training "
                "or of this recording",
            )
        self._append_chunks(key, samples, piece.counts.tobytes())
        for span in _label_spans(piece.labels, samples):
            self._append_span(key, span)
        self._connection.execute(
            "UPDATE recordings SET samples = samples + ?, bytes = bytes + ?, touched_ms = ? "
            "WHERE key = ?",
            (len(piece.labels), size, self._now_ms, key),
        )
        self.bytes += size
        self._samples += len(piece.labels)
        self._grown[key] = None
        return None

    def evict_old(self) -> None:
        """Evict what nothing was added to for longer than the bound, unless a plan stands on it."""
        if self._bounds.age_days > 0:
            oldest = self._now_ms - int(self._bounds.age_days * 86_400_000)
            sql = "SELECT key, bytes FROM free_recordings WHERE touched_ms < ?"
            for key, freed in self._connection.execute(sql, (oldest,)).fetchall():
                self._evict(key, freed)

    def _open(self, piece: _Piece) -> tuple[int, int]:
        """Find key and length of a recording, which is begun if it is new."""
        sql = "SELECT key, samples FROM recordings WHERE stream = ? AND id = ?"
        row = one(self._connection, sql, (self._stream.name, piece.recording))
        if row is not None:
            key, samples = row
            return key, samples
        start_ms = self._now_ms if piece.time_ms is None else piece.time_ms
        inserted = self._connection.execute(
            "INSERT INTO recordings (stream, id, start_ms, touched_ms, samples, bytes, revision) "
            "VALUES (?, ?, ?, ?, 0, 0, 0)",
            (self._stream.name, piece.recording, start_ms, self._now_ms),
        )
        return int(inserted.lastrowid or 0), 0

    def _make_room(self, size: int, growing: int) -> bool:
        """Evict the oldest until `size` more bytes fit."""
        missing = self.bytes + size - self._bounds.bytes
        if missing <= 0:
            return True
        sql = "SELECT key, bytes FROM free_recordings WHERE key != ? ORDER BY key"
        victims = []
        for key, freed in self._connection.execute(sql, (growing,)):
            victims.append((key, freed))
            missing -= freed
            if missing <= 0:
                break
        if missing > 0:
            return False
        for key, freed in victims:
            self._evict(key, freed)
        return True

    def _evict(self, key: int, freed: int) -> None:
        self._connection.execute("DELETE FROM recordings WHERE key = ?", (key,))
        self.bytes -= freed
        self._evicted.append(key)

    def _append_chunks(self, key: int, samples: int, data: bytes) -> None:
        sql = (
            "SELECT first, length(data) FROM chunks WHERE recording = ? ORDER BY first DESC LIMIT 1"
        )
        row = one(self._connection, sql, (key,))
        if row is not None:
            first, length = row
            if length + len(data) <= GROWING_BYTES:
                sql = """UPDATE chunks SET data = CAST(data || ? AS BLOB)
                         WHERE recording = ? AND first = ?"""
                self._connection.execute(sql, (data, key, first))
                return
        step = CHUNK_BYTES // self._width * self._width
        for at in range(0, len(data), step):
            self._connection.execute(
                "INSERT INTO chunks (recording, first, data) VALUES (?, ?, ?)",
                (key, samples + at // self._width, data[at : at + step]),
            )

    def _append_span(self, key: int, span: Span) -> None:
        """The span at the end grows if it has the same label."""
        grown = self._connection.execute(
            "UPDATE spans SET last = ? WHERE recording = ? AND last = ? AND label = ?",
            (span.last, key, span.first - 1, span.label),
        )
        if grown.rowcount == 0:
            _put_span(self._connection, key, span)


def _declare(connection: sqlite3.Connection, stream: Stream) -> None:
    """What is stored keeps its meaning: the definition of a stream does not change under it."""
    definition = json.dumps([[c.name, c.unit, repr(c.resolution)] for c in stream.channels])
    row = one(connection, "SELECT definition FROM streams WHERE name = ?", (stream.name,))
    if row is not None and row[0] == definition:
        return
    if one(connection, "SELECT 1 FROM recordings WHERE stream = ? LIMIT 1", (stream.name,)):
        raise BadInput(
            f"stream {stream.name}: its channels, units or resolutions are not those of the "
            "recordings here; give the new stream another name"
        )
    sql = "INSERT OR REPLACE INTO streams (name, definition) VALUES (?, ?)"
    connection.execute(sql, (stream.name, definition))


def _stored_bytes(connection: sqlite3.Connection) -> int:
    row = one(connection, "SELECT coalesce(sum(bytes), 0) FROM recordings")
    return 0 if row is None else int(row[0])


def _label_spans(labels: list[str | None], offset: int) -> Iterator[Span]:
    first = 0
    for at in range(1, len(labels) + 1):
        if at == len(labels) or labels[at] != labels[first]:
            label = labels[first]
            if label is not None:
                yield Span(offset + first, offset + at - 1, label, 0)
            first = at


def _put_span(connection: sqlite3.Connection, key: int, span: Span) -> None:
    connection.execute(
        "INSERT INTO spans (recording, first, last, label, revision) VALUES (?, ?, ?, ?, ?)",
        (key, span.first, span.last, span.label, span.revision),
    )


def _cut_out(connection: sqlite3.Connection, key: int, first: int, last: int) -> None:
    """No span covers first..last any more; what sticks out on either side stays."""
    sql = """SELECT first, last, label, revision FROM spans
             WHERE recording = ? AND first <= ? AND last >= ?"""
    for begin, end, label, revision in connection.execute(sql, (key, last, first)).fetchall():
        sql = "DELETE FROM spans WHERE recording = ? AND first = ?"
        connection.execute(sql, (key, begin))
        if begin < first:
            _put_span(connection, key, Span(begin, first - 1, label, revision))
        if end > last:
            _put_span(connection, key, Span(last + 1, end, label, revision))
