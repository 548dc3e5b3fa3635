"""Recordings in the store: samples that only grow, spans of labels, eviction of the oldest."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fedling_agent.data.recording import Changes, Recording, Span, Stretch
from fedling_agent.data.streams import Row, RowError, Stream
from fedling_agent.data.times import Coming, Interval, Times
from fedling_agent.store import awaited, costs
from fedling_agent.store.appending import Appender
from fedling_agent.store.awaited import Awaited
from fedling_agent.store.inputs import Ingested, Input, recall, remember
from fedling_agent.store.lived import live
from fedling_agent.store.open_recording import SAMPLES, OpenRecording, cut
from fedling_agent.store.pieces import group
from fedling_agent.store.tally import Tally
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database, one
from fedling_protocol.disk.errors import BadInput, Missing

PAGE = 256  # recordings, spans or stretches that are read at a time
LISTED = 64  # recordings on a page of a listing
LABELS = 32  # of each of them
DAY_MS = 86_400_000

# As Recording has it. A stream that is named by a value is looked up once for all rows.
_RECORDING = """SELECT key, id, start_ms, samples,
    (SELECT json_array_length(definition) FROM streams WHERE name = {}), revision, first
    FROM recordings WHERE """
_OF_STREAM = _RECORDING.format("?1") + "stream = ?1 AND "
_BY_KEY = _RECORDING.format("stream") + "key = ?"
_LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of the examples is kept."""

    bytes: int = 64 * 2**20  # on disk, of all streams
    age_days: float = 0.0  # that the device ran since a recording grew; 0: for ever


class Summary(NamedTuple):
    """How much is stored of one stream, and what of it had to go."""

    recordings: int
    samples: int
    bytes: int  # on disk
    evicted: int  # samples, in all
    no_room: int  # rows that were refused since there was no room, in all


@dataclass(frozen=True, slots=True)
class Listed:
    """One recording as a person is told of it."""

    key: int
    stream: str
    recording: str
    start_ms: int  # by the clock of this device
    samples: int
    first: int  # the oldest that is kept
    bytes: int
    holes: int
    labels: dict[str, int]  # samples of each of the most frequent ones
    in_training: bool


class Labelled(NamedTuple):
    """What a label that was given to a time has changed."""

    changes: Changes
    samples: int  # that have it now
    to_come: bool = False  # whether those that come later get it, too
    newest_ms: int | None = None  # when the newest of its stream was taken, where none has it


class Recordings:
    """One table of recordings, shared by all streams of a device."""

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self.bounds = bounds

    def ingest(
        self,
        stream: Stream,
        rows: Iterable[Row | RowError],
        now_ms: int,
        *,
        up_ms: int = 0,
        given: Input | None = None,
        before: int = 0,
        came: Times | None = None,
    ) -> Ingested:
        """Store the good rows and evict, in one transaction.

        up_ms: since boot; age is counted in what passes of it, whatever the clock says.
        came: when the first and the last of these lines came; None: they are a file's.
        given: the input that these rows go on with, by default a new one. before: its lines before
        these; the same request again is answered as it was, and stores nothing.
        Memory: the rows of this call; feed it some thousand at a time.
        Raises CannotWrite (nothing of this call is stored), BadInput (the stream's resolution or
        channels are not those of what is stored).
        """
        given, done = given or Input(), Ingested(Changes(stream.name))
        rows = list(rows)
        with self._database.transaction("examples") as connection:
            known = recall(connection, given, before)
            if known is not None:
                given.skip(rows)
                return known
            _declare(connection, stream)
            lived_ms = live(connection, up_ms)
            appender = Appender(
                connection, stream, given, done, self.bounds.bytes, now_ms, lived_ms
            )
            coming = _coming(rows, came)
            if came is not None:  # a file has its labels
                rows = _labelled(rows, coming, awaited.of(connection, stream.name, lived_ms))
            appender.take(group(rows, done, coming))
            if self.bounds.age_days > 0:
                appender.evict_old(int(self.bounds.age_days * DAY_MS))
            appender.finish()
            remember(connection, given, before, done)
        given.keep(appender.courses)
        return done

    def relabel(
        self,
        stream: str,
        recording: str,
        first: int | None,
        last: int | None,
        label: str | None,
    ) -> Labelled:
        """Change or remove (None) the label of samples first..last; raises the revision.

        first, last: None: from the oldest, to the newest.
        Raises Missing (no such recording), BadInput (no such samples).
        """
        tally = Tally()
        with self._database.transaction("a label") as connection:
            found = _find(connection, tally, stream, recording)
            first = found.first if first is None else first
            last = found.samples - 1 if last is None else last
            if not found.first <= first <= last < found.samples:
                raise BadInput(
                    f"{recording}: samples {first}..{last} of {found.first}..{found.samples - 1}"
                )
            found.relabel([(first, last)], label)
            found.close()
            tally.write(connection)
        return Labelled(Changes(stream, relabelled=(found.key,)), last - first + 1)

    def label_time(
        self,
        stream: str,
        interval: Interval,
        label: str | None,
        recording: str | None = None,
        *,
        now_ms: int,
        up_ms: int,
    ) -> Labelled:
        """Change or remove (None) the label of samples that were taken within an interval.

        Those that are still to come get it when they come: of a time that is just over, or not
        yet. recording: only this one. Raises Missing (no such recording), BadInput (so many times
        wait already that one more is too many).
        """
        tally, keys, samples = Tally(), [], 0
        with self._database.transaction("labels") as connection:
            for found in _taken(connection, tally, stream, recording, interval):
                parts = found.taken(interval)
                if parts:
                    found.relabel(parts, label)
                    found.close()
                    keys.append(found.key)
                    samples += sum(last - first + 1 for first, last in parts)
            tally.write(connection)
            lived_ms = live(connection, up_ms)
            until_ms = lived_ms + interval.end_ms - now_ms + awaited.WAIT_MS
            if until_ms > lived_ms:
                wanted = Awaited(interval, label, recording)
                awaited.put(connection, stream, wanted, until_ms, lived_ms)
            newest_ms = None if samples else _newest_ms(connection, stream)
        changes = Changes(stream, relabelled=tuple(keys))
        return Labelled(changes, samples, until_ms > lived_ms, newest_ms)

    def forget(self, stream: str, names: Sequence[str] | None = None) -> Changes:
        """Remove recordings for good, by default all of a stream.

        The caller aborts what was trained on them first. Raises Missing (no such recording), then
        none is removed.
        """
        tally = Tally()
        with self._database.transaction("the erasure of examples") as connection:
            if names is None:
                sql = "SELECT id FROM recordings WHERE stream = ?"
                names = [name for (name,) in connection.execute(sql, (stream,))]
            found = [_find(connection, tally, stream, name) for name in dict.fromkeys(names)]
            for recording in found:
                recording.remove(evicted=False)
            tally.write(connection)
        self._database.forget_deleted()
        return Changes(stream, evicted=tuple(recording.key for recording in found))

    def listing(self, stream: str | None = None, below: int | None = None) -> list[Listed]:
        """List a page of recordings for people, those that were begun last first.

        It reads all of their labels: beside the loop.
        """
        sql = f"""SELECT key, stream, id, start_ms, samples, first, bytes,
                  (SELECT count(*) FROM stretches WHERE recording = key),
                  EXISTS (SELECT 1 FROM pins WHERE recording = key) FROM recordings
                  WHERE key < ? AND stream = coalesce(?, stream)
                  ORDER BY key DESC LIMIT {LISTED}"""  # noqa: S608 (a constant)
        rows = self._database.rows(sql, _LAST if below is None else below, stream)
        return [
            Listed(key, of, name, start, samples - first, first, size, max(0, parts - 1),
                   self._labels_of(key), bool(pinned))
            for key, of, name, start, samples, first, size, parts, pinned in rows
        ]  # fmt: skip

    def _labels_of(self, key: int) -> dict[str, int]:
        sql = """SELECT label, sum(last - first + 1) FROM spans WHERE recording = ?
                 GROUP BY label ORDER BY 2 DESC, 1 LIMIT ?"""
        return dict(self._database.rows(sql, key, LABELS))

    def newest(self, stream: str, below: int | None = None) -> list[Recording]:
        """List a page of recordings with keys below a bound, those that were begun last first."""
        sql = f"{_OF_STREAM} key < ?2 ORDER BY key DESC LIMIT {PAGE}"
        key = _LAST if below is None else below
        rows = self._database.rows(sql, stream, key)
        return [Recording(*row) for row in rows]

    def by_key(self, key: int) -> Recording | None:
        """Find a recording by its key; None if it was evicted."""
        row = self._database.row(_BY_KEY, key)
        return None if row is None else Recording(*row)

    def by_id(self, stream: str, name: str) -> Recording | None:
        """Find a recording by its id; None if it was evicted, or never was."""
        row = self._database.row(_OF_STREAM + "id = ?2", stream, name)
        return None if row is None else Recording(*row)

    def definition(self, stream: str) -> list[list[str]] | None:
        """Name, unit and resolution of each channel, as first ingested; None: nothing was."""
        row = self._database.row("SELECT definition FROM streams WHERE name = ?", stream)
        if row is None:
            return None
        definition: list[list[str]] = json.loads(row[0])
        return definition

    def spans(self, recording: Recording, below: int | None = None) -> list[Span]:
        """List a page of spans that begin before sample `below`, the last first; none overlap."""
        sql = f"""SELECT first, last, label, revision FROM spans WHERE recording = ? AND first < ?
                  ORDER BY first DESC LIMIT {PAGE}"""  # noqa: S608 (a constant)
        rows = self._database.rows(sql, recording.key, _LAST if below is None else below)
        return [Span(*row) for row in rows]

    def samples(self, recording: Recording, first: int, count: int) -> bytes:
        """Read int16 counts in this machine's order, channels last. Raises Missing."""
        width = recording.channels * costs.SAMPLE
        rows = self._database.rows(SAMPLES, recording.key, first, first + count)
        found = cut(rows, first, count, width)
        if first < recording.first or len(found) != count * width:
            raise Missing(f"samples of recording {recording.id} were evicted")
        return found

    def stretches(self, recording: Recording, below: int | None = None) -> list[Stretch]:
        """List a page of stretches that begin before sample `below`, the last first."""
        sql = f"""SELECT first, last FROM stretches WHERE recording = ? AND first < ?
                  ORDER BY first DESC LIMIT {PAGE}"""  # noqa: S608 (a constant)
        rows = self._database.rows(sql, recording.key, _LAST if below is None else below)
        return [Stretch(*row) for row in rows]

    def summary(self) -> dict[str, Summary]:
        """Tell how much is stored, by stream: from totals that are kept."""
        sql = """SELECT name, recordings, samples, bytes, evicted, no_room FROM streams
                 WHERE recordings > 0 OR evicted > 0 OR no_room > 0"""
        return {row[0]: Summary(*row[1:]) for row in self._database.rows(sql)}

    def labels(self, stream: str, most: int) -> dict[str, int]:
        """Tell how many samples have each label, the most frequent ones first."""
        sql = """SELECT label, samples FROM labels WHERE stream = ?
                 ORDER BY samples DESC, label DESC LIMIT ?"""
        return dict(self._database.rows(sql, stream, most))

    def labelled(self, stream: str, label: str) -> int:
        """Tell how many samples have one label."""
        sql = "SELECT samples FROM labels WHERE stream = ? AND label = ?"
        row = self._database.row(sql, stream, label)
        return 0 if row is None else int(row[0])


def _find(connection: sqlite3.Connection, tally: Tally, stream: str, name: str) -> OpenRecording:
    found = OpenRecording.find(connection, tally, stream, name)
    if found is None:
        raise Missing(f"stream {stream} has no recording {name}")
    return found


def _taken(
    connection: sqlite3.Connection,
    tally: Tally,
    stream: str,
    recording: str | None,
    interval: Interval,
) -> list[OpenRecording]:
    """Open the recordings of an interval; or one, whenever it was taken. Raises Missing."""
    if recording is not None:
        return [_find(connection, tally, stream, recording)]
    sql = """SELECT DISTINCT c.recording FROM recordings AS r JOIN chunks AS c
             ON c.recording = r.key WHERE r.stream = ? AND max(c.began_ms, c.ended_ms) >= ?
             AND min(c.began_ms, c.ended_ms) < ?"""
    rows = connection.execute(sql, (stream, *interval)).fetchall()
    return [OpenRecording.by_key(connection, tally, key) for (key,) in rows]


def _newest_ms(connection: sqlite3.Connection, stream: str) -> int | None:
    """Tell when the last sample was taken of the recording that grew last."""
    sql = """SELECT ended_ms FROM chunks WHERE recording = (SELECT key FROM recordings
             WHERE stream = ? ORDER BY grown_ms DESC, key DESC LIMIT 1) ORDER BY first DESC"""
    row = one(connection, sql, (stream,))
    return None if row is None else row[0]


def _coming(rows: Sequence[Row | RowError], came: Times | None) -> Coming:
    """Tell when the lines came of which these rows are."""
    if not rows:
        return Coming(came, 0, 0)
    return Coming(came, rows[0].row, rows[-1].row - rows[0].row + 1)


def _labelled(
    rows: list[Row | RowError], coming: Coming, waiting: Sequence[Awaited]
) -> list[Row | RowError]:
    """Give rows the labels that wait for them."""
    if not waiting:
        return rows
    return [
        row
        if isinstance(row, RowError) or (taken_ms := coming.of(row)) is None
        else row._replace(label=awaited.label_of(waiting, row.recording, taken_ms, row.label))
        for row in rows
    ]


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
