"""Rows that follow each other are put together: pieces of recordings."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace

from fedling_agent.data.streams import Hole, Row, RowError
from fedling_agent.data.times import Coming, Line, Times
from fedling_agent.store.inputs import Ingested
from fedling_protocol.classes import dataclass

Run = tuple[int, int, str]  # first and last sample, and the label of all between
_EMPTY = bytearray()  # with bytes added it is a bytearray for a third of what the class takes


@dataclass(slots=True)
class Piece:
    """Rows of one recording that came one after the other, without a hole, on one line of time."""

    recording: str
    row: int  # of the first, among the good rows of this call
    time_us: int | None
    hole: Hole | None  # before the first
    data: bytearray  # int16 in this machine's order, channels last
    labels: list[str | None]
    times: Times | None  # None: nobody knows when it was taken

    def parts(self, rows: int) -> Iterator["Piece"]:
        """Part it, so that each part has no more rows."""
        piece = self
        while len(piece.labels) > rows:
            data = piece.data[: rows * len(piece.data) // len(piece.labels)]
            times = piece.times and piece.times.part(0, rows, len(piece.labels))
            yield replace(piece, data=data, labels=piece.labels[:rows], times=times)
            piece = piece.after(rows)
        yield piece

    def after(self, rows: int) -> "Piece":
        """What is left behind the first rows."""
        data = self.data[rows * len(self.data) // len(self.labels) :]
        count = len(self.labels)
        times = self.times and self.times.part(min(rows, count - 1), count, count)
        return replace(self, hole=None, data=data, labels=self.labels[rows:], times=times)


def group(rows: Iterable[Row | RowError], done: Ingested, coming: Coming) -> list[Piece]:
    """Put rows together; those that are wrong are counted in `done`."""
    pieces: list[Piece] = []
    piece = last = line = None
    pack = struct.Struct("").pack
    for row in rows:
        if isinstance(row, RowError):
            done.refuse(row, 1)
            continue
        number, recording, label, time_us, counts, hole = row
        if piece is not None and piece.recording == recording and _follows(row, line):
            piece.data += pack(*counts)
            piece.labels.append(label)
            last = row
            continue
        if piece is None:
            pack = struct.Struct(f"{len(counts)}h").pack
        elif last is not None:
            piece.times = _until(piece.times, coming.of(last))
        last = line = times = None
        if time_us is not None or coming.times is not None:  # somebody knows when it was taken
            line = None if time_us is None else Line(time_us // 1000)
            first_ms = coming.of(row)
            times = None if first_ms is None else Times(first_ms, first_ms)
        piece = Piece(recording, number, time_us, hole, _EMPTY + pack(*counts), [label], times)
        pieces.append(piece)
    if piece is not None and last is not None:
        piece.times = _until(piece.times, coming.of(last))
    return pieces


def _follows(row: Row, line: Line | None) -> bool:
    """Whether a row belongs to the piece before it, of the same recording. line: of its times"""
    if row.hole is not None:
        return False
    if row.time_us is None or line is None:
        return row.time_us is None and line is None
    return line.takes(row.time_us // 1000)


def _until(times: Times | None, last_ms: int | None) -> Times | None:
    return None if times is None or last_ms is None else Times(times.first_ms, last_ms)


def runs_of(labels: list[str | None]) -> list[Run]:
    """Find which samples have which label; those without one are in no run."""
    label, count = labels[0], len(labels)
    if labels.count(label) == count:  # most pieces have one label
        return [] if label is None else [(0, count - 1, label)]
    return list(_runs(labels))


def _runs(labels: list[str | None]) -> Iterator[Run]:
    first = 0
    for at in range(1, len(labels) + 1):
        if at == len(labels) or labels[at] != labels[first]:
            label = labels[first]
            if label is not None:
                yield first, at - 1, label
            first = at
