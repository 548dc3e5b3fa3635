"""Recordings: they only grow, labels have revisions, the oldest go."""

from array import array
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.data.recording import Changes, Recording, Span
from fedling_agent.data.streams import Channel, Row, RowError, Stream
from fedling_agent.store import recordings as module
from fedling_agent.store.database import open_database
from fedling_agent.store.recordings import Bounds, Recordings
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import BadInput, Missing
from tests.support.device import STREAM, csv_lines, make_device, parse

DAY_MS = 86_400_000


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    return Store(tmp_path).recordings


def row(recording: str, value: int, label: str | None = None) -> Row:
    return Row(1, recording, label, None, (value, -value))


def values(recordings: Recordings, recording: Recording, first: int, count: int) -> list[int]:
    return list(array("h", recordings.samples(recording, first, count)))


def only(recordings: Recordings) -> Recording:
    (recording,) = recordings.newest("wrist")
    return recording


def names(recordings: Recordings) -> list[str]:
    """Oldest first."""
    return [r.id for r in reversed(recordings.newest("wrist"))]


def spans(recordings: Recordings) -> list[Span]:
    """Of the only recording, first one first."""
    return recordings.spans(only(recordings))[::-1]


def test_known_recording_goes_on(recordings: Recordings) -> None:
    recordings.ingest(STREAM, [row("a", 1, "up"), row("a", 2, "up")], 5)
    recordings.ingest(STREAM, [row("a", 3, "up"), row("a", 4, "down")], 6)
    recording = only(recordings)
    assert (recording.id, recording.samples, recording.start_ms) == ("a", 4, 5)
    assert values(recordings, recording, 1, 3) == [2, -2, 3, -3, 4, -4]
    assert spans(recordings) == [Span(0, 2, "up", 0), Span(3, 3, "down", 0)]


def test_unlabelled_samples_part_spans(recordings: Recordings) -> None:
    recordings.ingest(STREAM, [row("a", 1, "up"), row("a", 2), row("a", 3, "up")], 5)
    assert spans(recordings) == [Span(0, 0, "up", 0), Span(2, 2, "up", 0)]


def test_first_time_is_the_start(recordings: Recordings) -> None:
    recordings.ingest(STREAM, [Row(1, "a", None, 77, (1, 2)), Row(2, "a", None, 99, (1, 2))], 5)
    assert only(recordings).start_ms == 77


def test_counts_of_errors_and_rows(recordings: Recordings) -> None:
    errors = [RowError(n, "bad") for n in range(30)]
    done = recordings.ingest(STREAM, [row("a", 1), *errors, row("a", 2)], 5)
    assert (done.stored, done.refused, len(done.errors)) == (2, 30, 20)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 3000), min_size=1, max_size=6), st.data())
def test_any_piece_of_any_recording_reads_back(sizes: list[int], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        database = open_database(Path(folder) / "store.db")
        recordings, total = Recordings(database, Bounds()), 0
        for size in sizes:
            rows = [row("a", n) for n in range(total, total + size)]
            recordings.ingest(STREAM, rows, 5)
            total += size
        for _ in range(5):
            first = data.draw(st.integers(0, total - 1))
            count = data.draw(st.integers(1, total - first))
            got = values(recordings, only(recordings), first, count)
            assert got == [s * n for n in range(first, first + count) for s in (1, -1)]
        with pytest.raises(Missing):
            recordings.samples(only(recordings), first, total - first + 1)
        database.close()


def test_relabelling_raises_the_revision(recordings: Recordings) -> None:
    recordings.ingest(STREAM, [row("a", n, "up") for n in range(10)], 5)
    recordings.relabel("wrist", "a", 3, 5, "down")
    recordings.relabel("wrist", "a", 5, 6, "still")
    recordings.relabel("wrist", "a", 0, 0, None)
    assert only(recordings).revision == 3
    assert spans(recordings) == [
        Span(1, 2, "up", 0),
        Span(3, 4, "down", 1),
        Span(5, 6, "still", 2),
        Span(7, 9, "up", 0),
    ]
    recordings.relabel("wrist", "a", 0, 9, "up")
    assert spans(recordings) == [Span(0, 9, "up", 4)]
    recordings.ingest(STREAM, [row("a", 10, "up")], 6)
    assert spans(recordings) == [Span(0, 10, "up", 4)]


def test_changes_name_what_a_write_has_touched(tmp_path: Path) -> None:
    recordings = Store(tmp_path, Bounds(bytes=40)).recordings
    done = recordings.ingest(STREAM, [row("a", 1), row("b", 1), row("a", 2)], 5)
    keys = {r.id: r.key for r in recordings.newest("wrist")}
    assert done.changes == Changes("wrist", 3, (keys["a"], keys["b"]))
    changes = recordings.relabel("wrist", "b", 0, 0, "up")
    assert changes == Changes("wrist", relabelled=(keys["b"],))
    changes = recordings.ingest(STREAM, [row("b", n) for n in range(8)], 5).changes
    assert changes == Changes("wrist", 8, (keys["b"],), evicted=(keys["a"],))


def test_recording_that_is_evicted_by_the_rows_after_it_has_not_grown(tmp_path: Path) -> None:
    recordings = Store(tmp_path, Bounds(bytes=40)).recordings
    rows = [row("a", 1), *[row("b", n) for n in range(10)]]
    changes = recordings.ingest(STREAM, rows, 5).changes
    assert changes.grown == (only(recordings).key,)
    assert len(changes.evicted) == 1
    assert only(recordings).id == "b"


def test_bound_holds_whatever_happened_before(tmp_path: Path) -> None:
    store = Store(tmp_path, Bounds(bytes=40))
    for name in "abc":
        store.recordings.ingest(STREAM, [row(name, n) for n in range(4)], 5)
    store.close()
    again = Store(tmp_path, Bounds(bytes=40)).recordings
    again.ingest(STREAM, [row("c", 1)], 5)
    again.ingest(STREAM, [row("c", n) for n in range(2)], 5)
    assert names(again) == ["c"]
    with pytest.raises(BadInput):
        again.ingest(Stream("wrist", (STREAM.channels[0],)), [row("c", 1)], 5)
    again.erase()
    again.ingest(STREAM, [row("d", n) for n in range(10)], 5)
    assert again.ingest(STREAM, [row("e", 1)], 5).evicted == 1


def test_pages(recordings: Recordings) -> None:
    recordings.ingest(STREAM, [row(f"r{n}", n) for n in range(600)], 5)
    pages, below = [], None
    while page := recordings.newest("wrist", below):
        pages.append(page)
        below = page[-1].key
    assert [len(page) for page in pages] == [module.PAGE, module.PAGE, 600 - 2 * module.PAGE]
    assert [r.id for page in pages for r in page] == [f"r{n}" for n in reversed(range(600))]
    assert recordings.by_key(pages[0][5].key) == pages[0][5] == recordings.by_id("wrist", "r594")
    assert recordings.by_key(10**9) is None
    assert recordings.by_id("wrist", "other") is None
    assert recordings.newest("other") == []


def test_pages_of_spans(recordings: Recordings) -> None:
    recordings.ingest(STREAM, [row("a", n, f"l{n}") for n in range(600)], 5)
    first = recordings.spans(only(recordings))
    assert [span.first for span in first] == list(range(599, 599 - module.PAGE, -1))
    assert recordings.spans(only(recordings), 2) == [Span(1, 1, "l1", 0), Span(0, 0, "l0", 0)]
    assert recordings.spans(only(recordings), 0) == []


def test_relabelling_what_is_not_there(recordings: Recordings) -> None:
    recordings.ingest(STREAM, [row("a", 1, "up")], 5)
    with pytest.raises(Missing):
        recordings.relabel("wrist", "b", 0, 0, "up")
    with pytest.raises(BadInput, match=r"samples 0\.\.1 of 0\.\.0"):
        recordings.relabel("wrist", "a", 0, 1, "up")


def test_stream_must_not_change_under_its_recordings(recordings: Recordings) -> None:
    recordings.ingest(STREAM, [row("a", 1)], 5)
    finer = Stream("wrist", (STREAM.channels[0], Channel("y", "g", 0.0001)))
    with pytest.raises(BadInput, match="give the new stream another name"):
        recordings.ingest(finer, [row("a", 1)], 5)
    recordings.erase("wrist")
    recordings.ingest(finer, [row("a", 1)], 5)


def test_oldest_are_evicted_when_it_is_full(tmp_path: Path) -> None:
    recordings = Store(tmp_path, Bounds(bytes=40)).recordings  # ten samples
    for name in "abc":
        recordings.ingest(STREAM, [row(name, n) for n in range(4)], 5)
    assert names(recordings) == ["b", "c"]
    assert recordings.summary()["wrist"].bytes == 32
    done = recordings.ingest(STREAM, [row("d", n) for n in range(10)], 5)
    assert done.evicted == 2
    assert names(recordings) == ["d"]


def test_recording_larger_than_the_bound_is_refused(tmp_path: Path) -> None:
    recordings = Store(tmp_path, Bounds(bytes=40)).recordings
    recordings.ingest(STREAM, [row("a", n) for n in range(4)], 5)
    done = recordings.ingest(STREAM, [Row(7, "b", None, None, (1, 2))] * 11, 5)
    assert (done.stored, done.refused, done.evicted) == (0, 11, 0)
    assert done.errors[0].row == 7
    assert "store.bytes = 40" in done.errors[0].reason
    assert names(recordings) == ["a"]


def test_age_counts_from_the_last_sample(tmp_path: Path) -> None:
    recordings = Store(tmp_path, Bounds(age_days=2)).recordings
    recordings.ingest(STREAM, [row("a", 1), row("b", 1)], 0)
    recordings.ingest(STREAM, [row("a", 1)], DAY_MS)
    assert recordings.ingest(STREAM, [row("c", 1)], 2 * DAY_MS + 1).evicted == 1
    assert names(recordings) == ["a", "c"]


def test_frozen_recordings_stay(tmp_path: Path) -> None:
    device = make_device(tmp_path, bounds=Bounds(bytes=2000, age_days=1), recordings=2)
    device.freeze()
    later = device.ingest(csv_lines(1, 100, prefix="n"), 100 * DAY_MS)
    assert (later.evicted, later.stored, later.refused) == (0, 100, 0)
    full = device.ingest(csv_lines(1, 300, prefix="m"), 100 * DAY_MS)
    assert (full.stored, full.refused) == (0, 300)
    assert names(device.store.recordings) == ["r0", "r1", "n0"]


def test_erasing_leaves_no_trace(tmp_path: Path) -> None:
    store = Store(tmp_path)
    counts = (0x5341, 0x4D50)
    rows = [Row(1, "private-walk", "secret-label", None, counts)] * 50
    store.recordings.ingest(STREAM, rows, 5)
    traces = (b"private-walk", b"secret-label", array("h", counts).tobytes() * 2)
    assert all(trace in on_disk(tmp_path) for trace in traces)
    store.recordings.erase()
    left = on_disk(tmp_path)  # before close(), which would empty the log by itself
    store.close()
    assert [trace for trace in traces if trace in left] == []


def on_disk(directory: Path) -> bytes:
    """The database and its logs."""
    return b"".join(path.read_bytes() for path in directory.glob("store.db*"))


def test_parser_and_store_together(recordings: Recordings) -> None:
    done = recordings.ingest(STREAM, parse(csv_lines(2, 50)), 5)
    assert (done.stored, done.refused) == (100, 0)
    assert recordings.summary()["wrist"][:2] == (2, 100)
