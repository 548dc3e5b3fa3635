"""Rows to recordings, inside one transaction: what is here already, holes, room for what is new."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from fedling_agent.data.recording import Changes
from fedling_agent.data.streams import MAX_NAME, HoleKind, RowError, Stream
from fedling_agent.store import costs
from fedling_agent.store.inputs import (
    MAX_ERRORS,
    NOT_BEGUN,
    Course,
    Ingested,
    Input,
    Mode,
    shared_course,
)
from fedling_agent.store.new_recordings import NewRecordings
from fedling_agent.store.open_recording import CHUNK_BYTES, OpenRecording
from fedling_agent.store.pieces import Piece, Run, runs_of
from fedling_agent.store.tally import Tally
from fedling_protocol.disk.database import one

PARTS = 16  # of a store: no more of it is evicted at once for what comes,
LEAST_ROWS = 1000  # unless so few rows are more

# The oldest chunk that holds no sample which a plan in work needs: another one begins before that.
_OLDEST = """
SELECT rowid, recording FROM chunks AS c WHERE rowid > ? AND NOT EXISTS
    (SELECT 1 FROM pins AS p WHERE p.recording = c.recording AND NOT EXISTS
        (SELECT 1 FROM chunks AS n
         WHERE n.recording = c.recording AND n.first > c.first AND n.first <= p.first))
ORDER BY rowid LIMIT 1
"""
_PINNED = """
SELECT coalesce(sum(bytes * (samples - needed) / (samples - first)), 0) FROM
    (SELECT r.bytes, r.samples, r.first, max(r.first, min(p.first)) AS needed
     FROM pins AS p JOIN recordings AS r ON r.key = p.recording
     WHERE r.samples > r.first GROUP BY r.key)
"""


class Appender:
    """Takes pieces; then finish()."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        stream: Stream,
        given: Input,
        done: Ingested,
        most_bytes: int,
        now_ms: int,
        lived_ms: int,
    ) -> None:
        """Write inside an open transaction, and tell it in `done`."""
        self._connection = connection
        self._stream = stream
        self._given = given
        self._done = done
        self._most = most_bytes
        self._lived_ms = lived_ms
        self._width = len(stream.channels) * costs.SAMPLE
        self._chunk_rows = CHUNK_BYTES // self._width
        self._tally = Tally()
        self._new = NewRecordings(connection, self._tally, stream.name, now_ms, lived_ms)
        self._here: set[str] = set()  # of those that come: which may be in the tables
        self._room = most_bytes - _stored_bytes(connection)  # before this transaction
        self._pinned: int | None = None  # bytes of what may not be evicted
        self._chunk = 0  # none that may be evicted is older
        self._grown: dict[int, None] = {}
        self._evicted: list[int] = []
        self._trimmed: dict[int, None] = {}
        self.courses: dict[str, Course] = {}

    def take(self, pieces: Sequence[Piece]) -> None:
        """Store pieces, one after another; a small store has room for several of their parts."""
        self._here |= _known(self._connection, self._stream.name, pieces)
        rows = max(LEAST_ROWS, self._most // PARTS // self._width)
        for piece in pieces:
            if len(piece.labels) <= rows:
                self._take(piece)
            else:
                for part in piece.parts(rows):
                    self._take(part)

    def _take(self, piece: Piece) -> None:
        """Store a piece, or what of it is not here yet, or say why not."""
        name, rows = piece.recording, len(piece.labels)
        course = self.courses.get(name) or self._given.course(name)
        if course is NOT_BEGUN and name not in self._here:  # as all of a table of short ones
            self.courses[name] = shared_course(rows, self._begin(piece))
            return
        recording = self._find(name)
        if recording is not None and course.end != recording.samples:  # others wrote to it
            if self._given.mode is Mode.NEW:
                course, piece = self._unseen(recording, course, piece)
                rows = len(piece.labels)
            elif self._given.mode is Mode.REPLACE:
                course, recording = self._replace(recording, course)
        end = course.end
        if rows and course.refused:
            self._done.refuse(RowError(piece.row, course.refused), rows)
        elif rows:
            end = (
                self._begin(piece) if recording is None else self._append(recording, course, piece)
            )
        self.courses[name] = Course(course.place + rows, end, course.refused)

    def evict_old(self, age_ms: int) -> None:
        """Evict what nothing was added to for longer, unless a plan stands on it."""
        self._write_new()
        sql = "SELECT key FROM free_recordings WHERE grown_ms < ?"
        for (key,) in self._connection.execute(sql, (self._lived_ms - age_ms,)).fetchall():
            self._evict(self._open(key))

    def finish(self) -> None:
        """Write what is new and the totals, and tell what has changed."""
        self._write_new()
        self._tally.write(self._connection)
        for key in self._evicted:
            self._grown.pop(key, None)
            self._trimmed.pop(key, None)
        self._done.changes = Changes(
            self._stream.name,
            self._done.stored,
            tuple(self._grown),
            evicted=tuple(self._evicted),
            trimmed=tuple(self._trimmed),
        )

    # --- what is here already --------------------------------------------------------------------

    def _unseen(
        self, recording: OpenRecording, course: Course, piece: Piece
    ) -> tuple[Course, Piece]:
        """What of a piece is not stored yet; a recording that is another one is refused."""
        if course.refused:
            return course, piece
        rows = min(len(piece.labels), recording.samples - course.place)
        if rows <= 0:
            return (replace(course, end=recording.samples) if rows == 0 else course), piece
        if not self._is_here(recording, course.place, piece, rows):
            refused = (
                f"recording {piece.recording} is here already with {recording.samples} samples, "
                "and these are others: --append puts them behind those, --replace in their place"
            )
            return replace(course, refused=refused), piece
        self._done.seen += rows
        place = course.place + rows
        end = recording.samples if place == recording.samples else course.end
        return Course(place, end), piece.after(rows)

    def _is_here(self, recording: OpenRecording, place: int, piece: Piece, rows: int) -> bool:
        """Whether the first rows of a piece are samples `place` and following.

        Those that were evicted are taken for the same, labels that a person changed as well.
        """
        first = max(place, recording.first)
        if first >= place + rows:
            return True
        data = piece.data[(first - place) * self._width : rows * self._width]
        if recording.read(first, place + rows - first, self._width) != data:
            return False
        labels = piece.labels[first - place : rows]
        return recording.revision > 0 or recording.labels(first, place + rows) == labels

    def _replace(
        self, recording: OpenRecording, course: Course
    ) -> tuple[Course, OpenRecording | None]:
        if course.place:
            end = recording.samples if course.place == recording.samples else None
            return replace(course, end=end), recording
        if one(self._connection, "SELECT 1 FROM pins WHERE recording = ?", (recording.key,)):
            refused = f"recording {recording.name} is in training: replace it later"
            return replace(course, refused=refused), recording
        recording.remove(evicted=False)
        self._evicted.append(recording.key)
        self._done.replaced += 1
        return course, None

    # --- what is new -----------------------------------------------------------------------------

    def _append(self, recording: OpenRecording, course: Course, piece: Piece) -> int | None:
        """Go on with a recording; returns how many samples it has, None: there is no room."""
        rows, runs = len(piece.labels), runs_of(piece.labels)
        if not self._make_room(self._size(rows, runs), recording):
            self._refuse_full(piece)
            return course.end
        hole = self._hole(recording, course, piece)
        recording.append(piece.data, rows, runs, piece.times, hole=hole)
        recording.close(self._lived_ms)
        self._done.stored += rows
        self._grown[recording.key] = None
        return recording.samples

    def _begin(self, piece: Piece) -> int | None:
        """Begin a recording; returns how many samples it has, None: there is no room.

        A table of short ones has no more than this for each row: what can be is done for all of
        them, by _write_new().
        """
        rows, runs = len(piece.labels), runs_of(piece.labels)
        size = costs.RECORDING + len(piece.recording) + self._size(rows, runs)
        if not self._make_room(size, None):
            self._refuse_full(piece)
            return None
        self._new.add(piece, runs, size)
        return rows

    def _write_new(self) -> None:
        """Have what is new in the tables, where it is found."""
        self._here |= self._new.names
        self._grown |= dict.fromkeys(self._new.keys)
        self._done.stored += self._new.samples
        self._new.write()

    def _hole(self, recording: OpenRecording, course: Course, piece: Piece) -> bool:
        """Whether the piece does not follow on from what is stored; counted and told."""
        if recording.samples == recording.first:
            return False
        if piece.hole is not None:
            words = f"recording {piece.recording}: {piece.hole.words}"
            told = "" if piece.hole.kind is HoleKind.REFUSED else words
            self._done.hole(piece.row, piece.hole.kind, told)
            return True
        if course.end == recording.samples:
            return False
        self._done.hole(
            piece.row,
            HoleKind.SEAM,
            f"recording {piece.recording} was here already: these rows are not joined to its "
            f"{recording.samples} samples",
        )
        return True

    # --- room ------------------------------------------------------------------------------------

    def _size(self, rows: int, runs: Sequence[Run]) -> int:
        """How much so many samples take, in chunks, a stretch and spans of their own."""
        size = costs.STRETCH + rows * self._width - costs.CHUNK * (-rows // self._chunk_rows)
        for _, _, label in runs:
            size += costs.SPAN + len(label)
        return size

    def _refuse_full(self, piece: Piece) -> None:
        rows = len(piece.labels)
        self._tally.add(self._stream.name, no_room=rows)
        reason = (
            f"no room for {rows} rows of recording {piece.recording}: store.bytes = {self._most}, "
            "and what else is stored is in training"
        )
        self._done.refuse(RowError(piece.row, reason), rows)

    def _make_room(self, size: int, growing: OpenRecording | None) -> bool:
        """Evict the oldest samples until `size` more bytes fit, or nothing if they never will."""
        if self._tally.bytes + self._new.bytes + size <= self._room:
            return True
        if self._pinned is None:
            self._pinned = _pinned_bytes(self._connection)
        fixed = 0 if growing is None else costs.RECORDING + MAX_NAME
        if self._pinned + size + fixed > self._most:
            return False
        while self._tally.bytes + self._new.bytes + size > self._room:
            if not self._evict_chunk(growing):
                return False
        return True

    def _evict_chunk(self, growing: OpenRecording | None) -> bool:
        """Evict the oldest chunk that may go; a recording goes with its last one."""
        self._write_new()
        row = one(self._connection, _OLDEST, (self._chunk,))
        if row is None:
            return False
        self._chunk, key = row
        recording = growing if growing is not None and growing.key == key else self._open(key)
        if recording is not growing and recording.is_one_chunk:
            self._evict(recording)
            return True
        before = recording.first
        recording.trim()
        recording.close()
        self._done.evicted_samples += recording.first - before
        self._trimmed[key] = None
        return True

    def _evict(self, recording: OpenRecording) -> None:
        self._done.evicted_samples += recording.samples - recording.first
        self._done.evicted += 1
        if len(self._done.gone) < MAX_ERRORS:
            self._done.gone.append(recording.name)
        recording.remove(evicted=True)
        self._evicted.append(recording.key)

    def _find(self, name: str) -> OpenRecording | None:
        if name in self._new.names:
            self._write_new()
        elif name not in self._here:
            return None
        return OpenRecording.find(self._connection, self._tally, self._stream.name, name)

    def _open(self, key: int) -> OpenRecording:
        return OpenRecording.by_key(self._connection, self._tally, key)


def _known(connection: sqlite3.Connection, stream: str, pieces: Sequence[Piece]) -> set[str]:
    """Find which recordings of pieces are in the tables."""
    sql = """SELECT r.id FROM json_each(?2) AS j
             CROSS JOIN recordings AS r ON r.stream = ?1 AND r.id = j.value"""
    names = json.dumps(list({piece.recording for piece in pieces}))
    return {name for (name,) in connection.execute(sql, (stream, names))}


def _stored_bytes(connection: sqlite3.Connection) -> int:
    row = one(connection, "SELECT coalesce(sum(bytes), 0) FROM streams")
    return 0 if row is None else int(row[0])


def _pinned_bytes(connection: sqlite3.Connection) -> int:
    row = one(connection, _PINNED)
    return 0 if row is None else int(row[0])
