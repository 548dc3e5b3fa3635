"""One recording inside a transaction: its chunks, stretches and spans, and what they take."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from fedling_agent.data.recording import Span
from fedling_agent.data.times import Interval, Times
from fedling_agent.store import costs
from fedling_agent.store.pieces import Run
from fedling_agent.store.tally import Tally
from fedling_protocol.disk.database import Fields, one

GROWING_BYTES = 4096  # a smaller last chunk grows by rows that come one by one, and evenly
CHUNK_BYTES = 65_536

_COLUMNS = "key, stream, id, first, samples, bytes, revision"


class OpenRecording:
    """What is changed is written at once but for the row of the recording: close() does that."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        tally: Tally,
        row: tuple[int, str, str, int, int, int, int],
    ) -> None:
        """row: as _COLUMNS names it"""
        self._connection = connection
        self._tally = tally
        self.key, self.stream, self.name = row[:3]
        self.first, self.samples, self.bytes, self.revision = row[3:]
        self._before = self.samples - self.first, self.bytes

    @classmethod
    def find(
        cls, connection: sqlite3.Connection, tally: Tally, stream: str, name: str
    ) -> "OpenRecording | None":
        """Open a recording that is there."""
        sql = f"SELECT {_COLUMNS} FROM recordings WHERE stream = ? AND id = ?"  # noqa: S608
        row = one(connection, sql, (stream, name))
        return None if row is None else cls(connection, tally, _row(row))

    @classmethod
    def by_key(cls, connection: sqlite3.Connection, tally: Tally, key: int) -> "OpenRecording":
        """Open a recording that is known to be there."""
        sql = f"SELECT {_COLUMNS} FROM recordings WHERE key = ?"  # noqa: S608 (a constant)
        row = one(connection, sql, (key,))
        assert row is not None
        return cls(connection, tally, _row(row))

    def close(self, grown_ms: int | None = None) -> None:
        """Write the recording's row. grown_ms: when it grew, if it did."""
        self._connection.execute(
            "UPDATE recordings SET first = ?, samples = ?, bytes = ?, revision = ?, "
            "grown_ms = coalesce(?, grown_ms) WHERE key = ?",
            (self.first, self.samples, self.bytes, self.revision, grown_ms, self.key),
        )
        samples, size = self._before
        self._before = self.samples - self.first, self.bytes
        self._tally.add(
            self.stream,
            samples=self._before[0] - samples,
            bytes=self._before[1] - size,
        )

    # --- what is stored --------------------------------------------------------------------------

    @property
    def is_one_chunk(self) -> bool:
        """Whether it goes with its oldest chunk."""
        sql = "SELECT 1 FROM chunks WHERE recording = ? LIMIT 2"
        return len(self._connection.execute(sql, (self.key,)).fetchall()) < 2

    def read(self, first: int, count: int, width: int) -> bytes:
        """Read samples of so many bytes each; fewer if they are not here."""
        rows = self._connection.execute(SAMPLES, (self.key, first, first + count))
        return cut(rows, first, count, width)

    def labels(self, first: int, stop: int) -> list[str | None]:
        """List the labels of samples from first up to stop, which is left out."""
        found: list[str | None] = [None] * (stop - first)
        for span in self._spans(first, stop - 1):
            begin, end = max(span.first, first) - first, min(span.last + 1, stop) - first
            found[begin:end] = [span.label] * (end - begin)
        return found

    def taken(self, interval: Interval) -> list[tuple[int, int]]:
        """Find the samples that were taken within an interval: first and last of each run."""
        sql = """SELECT first, began_ms, ended_ms FROM chunks WHERE recording = ? ORDER BY first"""
        rows = self._connection.execute(sql, (self.key,)).fetchall()
        ends = [row[0] for row in rows[1:]] + [self.samples]
        found: list[tuple[int, int]] = []
        for (first, began_ms, ended_ms), end in zip(rows, ends, strict=True):
            if began_ms is None:  # from before times were kept
                continue
            places = Times(began_ms, ended_ms).within(interval, end - first)
            if not places:
                continue
            begin, last = first + places.start, first + places.stop - 1
            if found and found[-1][1] == begin - 1:
                begin = found.pop()[0]
            found.append((begin, last))
        return found

    def _spans(self, first: int, last: int) -> list[Span]:
        """List the spans that cover a sample of first..last."""
        sql = """SELECT first, last, label, revision FROM spans WHERE recording = ?1
                 AND first <= ?3 AND first >= coalesce(
                 (SELECT max(first) FROM spans WHERE recording = ?1 AND first <= ?2), 0)"""
        rows = self._connection.execute(sql, (self.key, first, last)).fetchall()
        return [Span(*row) for row in rows if row[1] >= first]

    # --- growing ---------------------------------------------------------------------------------

    def append(
        self, data: bytearray, samples: int, runs: Sequence[Run], times: Times | None, *, hole: bool
    ) -> None:
        """Append samples, with their labels. hole: the first does not follow on from those here."""
        self._append_chunks(data, len(data) // samples, times)
        self._append_stretch(samples, hole)
        for first, last, label in runs:
            span = Span(self.samples + first, self.samples + last, label, 0)
            self._append_span(span, grows=not (hole and first == 0))
        self.samples += samples

    def _append_chunks(self, data: bytearray, width: int, times: Times | None) -> None:
        sql = """SELECT first, length(data), began_ms, ended_ms FROM chunks WHERE recording = ?
                 ORDER BY first DESC LIMIT 1"""
        row = one(self._connection, sql, (self.key,))
        self.bytes += len(data)
        if row is not None:
            first, length, began_ms, ended_ms = row
            evenly = (
                times is None
                if began_ms is None
                else times is not None
                and Times(began_ms, ended_ms).goes_on(length // width, times, len(data) // width)
            )
            if evenly and length + len(data) <= GROWING_BYTES:
                sql = """UPDATE chunks SET data = CAST(data || ? AS BLOB), ended_ms = ?
                         WHERE recording = ? AND first = ?"""
                self._connection.execute(sql, (data, times and times.last_ms, self.key, first))
                return
        for first, part, taken in chunks_of(data, width, times):
            self._connection.execute(
                "INSERT INTO chunks (recording, first, data, began_ms, ended_ms)"
                " VALUES (?, ?, ?, ?, ?)",
                (self.key, self.samples + first, part, *(taken or (None, None))),
            )
            self.bytes += costs.CHUNK

    def _append_stretch(self, samples: int, hole: bool) -> None:
        last = self.samples + samples - 1
        if self.samples > self.first and not hole:
            sql = """UPDATE stretches SET last = ?2 WHERE recording = ?1 AND first =
                     (SELECT max(first) FROM stretches WHERE recording = ?1)"""
            self._connection.execute(sql, (self.key, last))
            return
        sql = "INSERT INTO stretches (recording, first, last) VALUES (?, ?, ?)"
        self._connection.execute(sql, (self.key, self.samples, last))
        self.bytes += costs.STRETCH

    def _append_span(self, span: Span, *, grows: bool) -> None:
        """The span at the end grows if it has the same label, and no hole is between."""
        sql = """SELECT first, last, label FROM spans WHERE recording = ?
                 ORDER BY first DESC LIMIT 1"""
        end = one(self._connection, sql, (self.key,))
        if end is None or not grows or end[1:] != (span.first - 1, span.label):
            self._put_span(span)
            return
        self._connection.execute(
            "UPDATE spans SET last = ? WHERE recording = ? AND first = ?",
            (span.last, self.key, end[0]),
        )
        self._tally.label(self.stream, span.label, span.last - span.first + 1)

    # --- labels ----------------------------------------------------------------------------------

    def relabel(self, parts: Sequence[tuple[int, int]], label: str | None) -> None:
        """Samples first..last of each part have this label, or none; the revision grows."""
        self.revision += 1
        for first, last in parts:
            self._relabel(first, last, label)

    def _relabel(self, first: int, last: int, label: str | None) -> None:
        self._cut_out(first, last)
        if label is not None:
            sql = """SELECT max(first, ?2), min(last, ?3) FROM stretches WHERE recording = ?1
                     AND first <= ?3 AND last >= ?2"""
            rows = self._connection.execute(sql, (self.key, first, last)).fetchall()
            for begin, end in rows:
                self._put_span(Span(begin, end, label, self.revision))

    def _cut_out(self, first: int, last: int) -> None:
        """No span covers first..last any more; what sticks out on either side stays."""
        for span in self._spans(first, last):
            self._remove_span(span)
            if span.first < first:
                self._put_span(Span(span.first, first - 1, span.label, span.revision))
            if span.last > last:
                self._put_span(Span(last + 1, span.last, span.label, span.revision))

    def _put_span(self, span: Span) -> None:
        self._connection.execute(
            "INSERT INTO spans (recording, first, last, label, revision) VALUES (?, ?, ?, ?, ?)",
            (self.key, span.first, span.last, span.label, span.revision),
        )
        self.bytes += costs.SPAN + len(span.label)
        self._tally.label(self.stream, span.label, span.last - span.first + 1)

    def _remove_span(self, span: Span) -> None:
        sql = "DELETE FROM spans WHERE recording = ? AND first = ?"
        self._connection.execute(sql, (self.key, span.first))
        self.bytes -= costs.SPAN + len(span.label)
        self._tally.label(self.stream, span.label, span.first - span.last - 1)

    # --- going -----------------------------------------------------------------------------------

    def trim(self) -> None:
        """Remove the oldest chunk; its samples, stretches and labels go with it."""
        sql = "SELECT first, length(data) FROM chunks WHERE recording = ? ORDER BY first LIMIT 2"
        rows = self._connection.execute(sql, (self.key,)).fetchall()
        begin, length = rows[0]
        first = rows[1][0] if len(rows) > 1 else self.samples
        sql = "DELETE FROM chunks WHERE recording = ? AND first = ?"
        self._connection.execute(sql, (self.key, begin))
        self._cut_out(begin, first - 1)
        sql = "DELETE FROM stretches WHERE recording = ?1 AND first < ?2 AND last < ?2"
        gone = self._connection.execute(sql, (self.key, first)).rowcount
        sql = "UPDATE stretches SET first = ?2 WHERE recording = ?1 AND first < ?2"
        self._connection.execute(sql, (self.key, first))
        self.bytes -= length + costs.CHUNK + gone * costs.STRETCH
        self._tally.add(self.stream, evicted=first - begin)
        self.first = first

    def remove(self, *, evicted: bool) -> None:
        """Remove the recording. evicted: nobody has asked for it."""
        sql = """SELECT label, sum(last - first + 1) FROM spans WHERE recording = ?
                 GROUP BY label"""
        for label, samples in self._connection.execute(sql, (self.key,)):
            self._tally.label(self.stream, label, -samples)
        self._connection.execute("DELETE FROM recordings WHERE key = ?", (self.key,))
        samples, size = self._before
        self._tally.add(self.stream, recordings=-1, samples=-samples, bytes=-size)
        if evicted:
            self._tally.add(self.stream, evicted=samples)


def chunks_of(
    data: bytearray, width: int, times: Times | None
) -> Iterator[tuple[int, bytearray, Times | None]]:
    """Cut samples of so many bytes into chunks: the first sample of each, and its times."""
    samples, step = len(data) // width, CHUNK_BYTES // width
    for first in range(0, samples, step):
        part = data[first * width : (first + step) * width]
        yield first, part, times and times.part(first, min(first + step, samples), samples)


SAMPLES = """SELECT first, data FROM chunks WHERE recording = ?1 AND first < ?3 AND first >=
             (SELECT max(first) FROM chunks WHERE recording = ?1 AND first <= ?2)
             ORDER BY first"""


def cut(chunks: Iterable[Fields], first: int, count: int, width: int) -> bytes:
    """Put together what SAMPLES has found."""
    found = bytearray()
    for start, data in chunks:
        begin = max(0, first - start) * width
        found += memoryview(data)[begin : (first + count - start) * width]
    return bytes(found)


def _row(row: Fields) -> tuple[int, str, str, int, int, int, int]:
    key, stream, name, first, samples, size, revision = row
    return key, stream, name, first, samples, size, revision
