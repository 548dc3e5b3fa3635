"""Recordings: they only grow, labels have revisions, the oldest go."""

from array import array
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.data.recording import Changes, Recording, Span
from fedling_agent.data.streams import Channel, Hole, HoleKind, Row, RowError, Stream
from fedling_agent.store import costs
from fedling_agent.store import recordings as module
from fedling_agent.store.database import open_database
from fedling_agent.store.inputs import Ingested, Input, Mode
from fedling_agent.store.recordings import Bounds, Recordings
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import BadInput, Missing
from tests.support.device import STREAM, csv_lines, make_device, parse
from tests.support.totals import check_totals

DAY_MS = 86_400_000


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    return Store(tmp_path).recordings


def row(recording: str, value: int, label: str | None = None, hole: Hole | None = None) -> Row:
    return Row(1, recording, label, None, (value, -value), hole)


def rows(recording: str, count: int, label: str | None = None, first: int = 0) -> list[Row]:
    return [row(recording, n, label) for n in range(first, first + count)]


def room(recordings: int, samples: int) -> int:
    """Bytes that so many recordings take, of so many samples together, without labels."""
    of_each = costs.RECORDING + len("a") + costs.CHUNK + costs.STRETCH
    return recordings * of_each + samples * 2 * costs.SAMPLE


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
    given = Input()
    recordings.ingest(STREAM, [row("a", 1, "up"), row("a", 2, "up")], 5, given=given)
    recordings.ingest(STREAM, [row("a", 3, "up"), row("a", 4, "down")], 6, given=given)
    recording = only(recordings)
    assert (recording.id, recording.samples, recording.start_ms) == ("a", 4, 5)
    assert values(recordings, recording, 1, 3) == [2, -2, 3, -3, 4, -4]
    assert spans(recordings) == [Span(0, 2, "up", 0), Span(3, 3, "down", 0)]


def test_unlabelled_samples_part_spans(recordings: Recordings) -> None:
    recordings.ingest(STREAM, [row("a", 1, "up"), row("a", 2), row("a", 3, "up")], 5)
    assert spans(recordings) == [Span(0, 0, "up", 0), Span(2, 2, "up", 0)]


def test_first_time_is_the_start(recordings: Recordings) -> None:
    recordings.ingest(
        STREAM, [Row(1, "a", None, 77_000, (1, 2)), Row(2, "a", None, 99_000, (1, 2))], 5
    )
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
            recordings.ingest(STREAM, rows("a", size, first=total), 5)
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
    given = Input()
    recordings.ingest(STREAM, rows("a", 10, "up"), 5, given=given)
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
    recordings.ingest(STREAM, [row("a", 10, "up")], 6, given=given)
    assert spans(recordings) == [Span(0, 10, "up", 4)]


def stretches(recordings: Recordings) -> list[tuple[int, int]]:
    """Of the only recording, first one first."""
    return [(s.first, s.last) for s in recordings.stretches(only(recordings))[::-1]]


JUMP = Hole(HoleKind.JUMP, "time jumps")


def test_a_hole_ends_span_and_stretch_and_is_told(recordings: Recordings) -> None:
    given = [*rows("a", 3, "up"), row("a", 3, "up", JUMP), *rows("a", 2, "up")]
    done = recordings.ingest(STREAM, given, 5)
    assert spans(recordings) == [Span(0, 2, "up", 0), Span(3, 5, "up", 0)]
    assert stretches(recordings) == [(0, 2), (3, 5)]
    assert (done.holes, done.notes) == ({"jumps in time": 1}, [(1, "recording a: time jumps")])
    recordings.relabel("wrist", "a", 1, 4, "down")
    assert [(s.first, s.last, s.label) for s in spans(recordings)] == [
        (0, 0, "up"), (1, 2, "down"), (3, 4, "down"), (5, 5, "up"),
    ]  # fmt: skip
    assert recordings.labels("wrist", 9) == {"down": 4, "up": 2}


def test_a_seam_and_another_input_are_holes(recordings: Recordings) -> None:
    one, other = Input(), Input()
    recordings.ingest(STREAM, rows("a", 2), 5, given=one)
    done = recordings.ingest(STREAM, rows("a", 2), 5, given=other)
    assert done.holes == {"seams": 1}
    assert "was here already" in done.notes[0][1]
    assert recordings.ingest(STREAM, rows("a", 2), 5, given=other).holes == {}
    assert recordings.ingest(STREAM, rows("a", 2), 5, given=one).holes == {"seams": 1}
    assert stretches(recordings) == [(0, 1), (2, 5), (6, 7)]


# --- the same input again -----


def ingest(recordings: Recordings, rows_: list[Row], mode: Mode = Mode.NEW) -> Ingested:
    """A whole input."""
    return recordings.ingest(STREAM, rows_, 5, given=Input(mode))


def test_a_file_again_stores_nothing_twice(recordings: Recordings) -> None:
    given = [*rows("a", 5, "up"), *rows("b", 5)]
    assert (ingest(recordings, given).stored, ingest(recordings, given).seen) == (10, 10)
    assert recordings.summary()["wrist"].samples == 10


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from(["up", None]))),
    st.data(),
)
def test_an_interrupted_file_is_completed(
    given: list[tuple[str, int, str | None]], data: st.DataObject
) -> None:
    """However it was cut, and however often: at the end it is as if it had come once."""
    every = [row(*one) for one in given]
    with TemporaryDirectory() as folder, TemporaryDirectory() as other:
        cut_off, whole = Store(Path(folder)), Store(Path(other))
        total = 0
        for reached in [*data.draw(st.lists(st.integers(0, len(every)), max_size=3)), len(every)]:
            given_, half = Input(Mode.NEW), data.draw(st.integers(0, reached))
            for part in (every[:half], every[half:reached]):
                done = cut_off.recordings.ingest(STREAM, part, 5, given=given_)
                assert done.refused == 0
                assert done.holes == {}
                total += done.stored
        ingest(whole.recordings, every)
        assert total == len(every)
        contents = [
            {
                r.id: (store.recordings.samples(r, 0, r.samples), store.recordings.spans(r))
                for r in store.recordings.newest("wrist")
            }
            for store in (cut_off, whole)
        ]
        assert contents[0] == contents[1]
        cut_off.close()
        whole.close()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 8)), max_size=12), st.integers(0, 20))
def test_a_file_that_is_given_twice_at_once_is_stored_once(
    turns: list[tuple[bool, int]], already: int
) -> None:
    every = [*rows("a", 20, "up"), *rows("b", 10)]
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        ingest(store.recordings, every[:already])
        inputs, places = (Input(Mode.NEW), Input(Mode.NEW)), [0, 0]
        for which, count in [*turns, (False, 30), (True, 30)]:
            part = every[places[which] : places[which] + count]
            done = store.recordings.ingest(STREAM, part, 5, given=inputs[which])
            places[which] += len(part)
            assert (done.refused, done.holes) == (0, {})
        assert store.recordings.summary()["wrist"].samples == 30
        found = {r.id: store.recordings.samples(r, 0, r.samples)
                 for r in store.recordings.newest("wrist")}  # fmt: skip
        assert [array("h", found[name]).tolist()[::2] for name in "ab"] == [
            list(range(20)), list(range(10)),
        ]  # fmt: skip
        store.close()


def test_a_recording_with_other_samples_is_refused(recordings: Recordings) -> None:
    ingest(recordings, rows("a", 5, "up"))
    for other in (rows("a", 5, "up", 1), rows("a", 5, "down"), rows("a", 5)):
        done = ingest(recordings, [*rows("b", 2), *other])
        assert (done.stored + done.seen, done.refused) == (2, 5)
        assert "a is here already with 5 samples" in done.errors[0].reason
        assert "--append" in done.errors[0].reason
    assert len(recordings.newest("wrist")) == 2


def test_labels_that_a_person_has_changed_are_kept(recordings: Recordings) -> None:
    ingest(recordings, rows("a", 5, "up"))
    recordings.relabel("wrist", "a", None, None, "down")
    assert ingest(recordings, rows("a", 6, "up")).seen == 5
    assert [s.label for s in spans(recordings)] == ["down", "up"]


def test_appending_goes_on_behind_a_hole(recordings: Recordings) -> None:
    ingest(recordings, rows("a", 5))
    done = ingest(recordings, rows("a", 5), Mode.APPEND)
    assert (done.stored, done.seen, done.holes) == (5, 0, {"seams": 1})
    assert stretches(recordings) == [(0, 4), (5, 9)]


def test_replacing_removes_what_was_there_once(recordings: Recordings) -> None:
    ingest(recordings, rows("a", 5, "up"))
    given, before = Input(Mode.REPLACE), only(recordings).key
    done = recordings.ingest(STREAM, rows("a", 2, "down"), 5, given=given)
    assert (done.stored, done.replaced, done.changes.evicted) == (2, 1, (before,))
    done = recordings.ingest(STREAM, rows("a", 2, "down", 2), 5, given=given)
    assert (done.stored, done.replaced, done.holes) == (2, 0, {})
    assert spans(recordings) == [Span(0, 3, "down", 0)]
    assert recordings.labels("wrist", 9) == {"down": 4}


def test_what_is_in_training_is_not_replaced(tmp_path: Path) -> None:
    device = make_device(tmp_path, recordings=1)
    device.freeze()
    done = ingest(device.store.recordings, rows("r0", 3), Mode.REPLACE)
    assert (done.stored, done.refused) == (0, 3)
    assert "in training" in done.errors[0].reason


def test_evicted_samples_are_taken_for_the_same(tmp_path: Path) -> None:
    recordings = Store(tmp_path, Bounds(bytes=20_000)).recordings
    given = rows("a", 6000, "up")
    ingest(recordings, given[:3000])
    ingest(recordings, given)
    assert only(recordings).first > 0
    done = ingest(recordings, given)
    assert (done.stored, done.seen, done.refused) == (0, 6000, 0)


# --- requests that are repeated -----


@pytest.mark.parametrize("mode", list(Mode))
def test_a_request_that_is_repeated_after_a_restart_stores_nothing_twice(
    tmp_path: Path, mode: Mode
) -> None:
    """Committed, and the service is gone before it could say so."""
    store = Store(tmp_path)
    given = Input(mode, "input")
    store.recordings.ingest(STREAM, rows("a", 4), 5, given=given)
    lost = store.recordings.ingest(
        STREAM, [*rows("a", 4, first=4), RowError(9, "bad")], 5, given=given, before=4
    )
    store.close()
    again = Store(tmp_path).recordings
    given = Input(mode, "input")
    given.skip(rows("a", 4))
    done = again.ingest(
        STREAM, [*rows("a", 4, first=4), RowError(9, "bad")], 5, given=given, before=4
    )
    assert (done.stored, done.refused, done.errors) == (4, 1, lost.errors)
    assert done.changes.samples == 0
    done = again.ingest(STREAM, rows("a", 2, first=8), 5, given=given, before=9)
    assert (done.stored, done.refused) == (2, 0)
    assert values(again, only(again), 0, 10)[::2] == list(range(10))


def test_the_last_inputs_are_remembered(recordings: Recordings) -> None:
    for number in range(150):
        recordings.ingest(STREAM, [row("a", 1)], 5, given=Input(id=f"input {number}"))
    assert recordings.ingest(STREAM, [row("a", 1)], 5, given=Input(id="input 149")).stored == 1
    assert recordings.summary()["wrist"].samples == 150
    assert recordings._database.rows("SELECT count(*) FROM inputs") == [(100,)]


# --- for people -----


def test_listing(tmp_path: Path) -> None:
    device = make_device(tmp_path, recordings=1, samples=40)
    recordings = device.store.recordings
    recordings.ingest(STREAM, [*rows("b", 3, "up"), row("b", 3, "other", JUMP)], 77)
    device.freeze()
    b, r0 = recordings.listing()
    assert (b.recording, b.start_ms, b.samples, b.holes) == ("b", 77, 4, 1)
    assert (b.labels, b.in_training) == ({"up": 3, "other": 1}, False)
    assert (r0.recording, r0.labels, r0.in_training) == ("r0", {"down": 20, "up": 20}, True)
    assert recordings.listing("wrist", b.key) == [r0]
    assert recordings.listing("ankle") == []


def test_forgetting_some_or_none(recordings: Recordings) -> None:
    recordings.ingest(STREAM, [*rows("a", 3, "up"), *rows("b", 3, "up"), row("c", 1)], 5)
    with pytest.raises(Missing, match="no recording d"):
        recordings.forget("wrist", ["a", "d"])
    changes = recordings.forget("wrist", ["a", "c", "a"])
    assert len(changes.evicted) == 2
    assert names(recordings) == ["b"]
    assert recordings.labels("wrist", 9) == {"up": 3}
    assert recordings.summary()["wrist"][:2] == (1, 3)
    assert recordings.summary()["wrist"].evicted == 0


STEPS = st.one_of(
    st.tuples(st.just("ingest"), st.sampled_from("abcd"), st.lists(st.sampled_from("xyz "))),
    st.tuples(st.just("relabel"), st.sampled_from("abcd"), st.sampled_from("xyz ")),
    st.tuples(st.just("forget"), st.sampled_from("abcd"), st.none()),
)


@settings(max_examples=40)
@given(st.lists(STEPS, max_size=12), st.integers(500, 3000))
def test_totals_are_what_is_stored(steps: list[tuple[str, str, object]], most: int) -> None:
    with TemporaryDirectory() as folder:
        database = open_database(Path(folder) / "store.db")
        recordings = Recordings(database, Bounds(bytes=most))
        for what, name, more in steps:
            here = recordings.by_id("wrist", name)
            if what == "ingest":
                assert isinstance(more, list)
                holes = [JUMP if label == "x" else None for label in more]
                recordings.ingest(STREAM, [
                    row(name, 1, label.strip() or None, hole)
                    for label, hole in zip(more, holes, strict=True)
                ], 5)  # fmt: skip
            elif here and what == "relabel" and here.first < here.samples:
                recordings.relabel("wrist", name, None, None, str(more).strip() or None)
            elif here and what == "forget":
                recordings.forget("wrist", [name])
        check_totals(recordings, most)
        database.close()


def test_changes_name_what_a_write_has_touched(tmp_path: Path) -> None:
    recordings = Store(tmp_path, Bounds(bytes=room(2, 28))).recordings
    done = recordings.ingest(STREAM, [row("a", 1), row("b", 1), row("a", 2)], 5)
    keys = {r.id: r.key for r in recordings.newest("wrist")}
    assert done.changes == Changes("wrist", 3, (keys["a"], keys["b"]))
    changes = recordings.relabel("wrist", "b", 0, 0, "up").changes
    assert changes == Changes("wrist", relabelled=(keys["b"],))
    changes = recordings.ingest(STREAM, rows("b", 60), 5).changes
    evicted, trimmed = (keys["a"],), (keys["b"],)
    assert changes == Changes("wrist", 60, (keys["b"],), evicted=evicted, trimmed=trimmed)


def test_recording_that_is_evicted_by_the_rows_after_it_has_not_grown(tmp_path: Path) -> None:
    recordings = Store(tmp_path, Bounds(bytes=room(1, 10))).recordings
    changes = recordings.ingest(STREAM, [row("a", 1), *rows("b", 10)], 5).changes
    assert changes.grown == (only(recordings).key,)
    assert len(changes.evicted) == 1
    assert only(recordings).id == "b"


def test_bound_holds_whatever_happened_before(tmp_path: Path) -> None:
    bounds = Bounds(bytes=room(2, 10))
    store = Store(tmp_path, bounds)
    for name in "abc":
        store.recordings.ingest(STREAM, rows(name, 4), 5)
    store.close()
    again = Store(tmp_path, bounds).recordings
    again.ingest(STREAM, rows("c", 4), 5)
    assert names(again) == ["c"]
    with pytest.raises(BadInput):
        again.ingest(Stream("wrist", (STREAM.channels[0],)), [row("c", 1)], 5)
    again.forget("wrist")
    assert again.summary() == {"wrist": (0, 0, 0, 8, 0)}
    again.ingest(STREAM, rows("d", 40), 5)
    assert again.ingest(STREAM, rows("e", 40), 5).evicted == 1


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
    recordings.forget("wrist")
    recordings.ingest(finer, [row("a", 1)], 5)


def test_oldest_are_evicted_when_it_is_full(tmp_path: Path) -> None:
    recordings = Store(tmp_path, Bounds(bytes=room(2, 10))).recordings
    for name in "abc":
        recordings.ingest(STREAM, rows(name, 4), 5)
    assert names(recordings) == ["b", "c"]
    assert recordings.summary()["wrist"] == (2, 8, room(2, 8), 4, 0)
    done = recordings.ingest(STREAM, rows("d", 40), 5)
    assert (done.evicted, done.gone, done.evicted_samples) == (2, ["b", "c"], 8)
    assert names(recordings) == ["d"]


def test_rows_that_never_fit_are_refused_and_nothing_goes(tmp_path: Path) -> None:
    recordings = Store(tmp_path, Bounds(bytes=room(2, 10))).recordings
    recordings.ingest(STREAM, rows("a", 4), 5)
    done = recordings.ingest(STREAM, [Row(7, "b", None, None, (1, 2))] * 100, 5)
    assert (done.stored, done.refused, done.evicted) == (0, 100, 0)
    assert done.errors[0].row == 7
    assert f"store.bytes = {room(2, 10)}" in done.errors[0].reason
    assert names(recordings) == ["a"]
    assert recordings.summary()["wrist"] == (1, 4, room(1, 4), 0, 100)


def test_one_recording_for_ever_keeps_its_newest_samples(tmp_path: Path) -> None:
    """And of others the oldest go first, whichever they are of."""
    recordings = Store(tmp_path, Bounds(bytes=60_000)).recordings
    given, changes = Input(), []
    for at in range(0, 30_000, 500):
        done = recordings.ingest(STREAM, rows("a", 500, "up", at), 5, given=given)
        assert (done.stored, done.refused) == (500, 0)
        changes.append(done.changes)
    recording = only(recordings)
    kept = recording.samples - recording.first
    assert recording.samples == 30_000
    assert 54_000 <= 4 * kept < recordings.summary()["wrist"].bytes <= 60_000
    assert recordings.summary()["wrist"][1:4:2] == (kept, recording.first)
    assert spans(recordings) == [Span(recording.first, 29_999, "up", 0)]
    assert recordings.labels("wrist", 9) == {"up": kept}
    assert values(recordings, recording, recording.first, kept)[::2] == [
        n if n < 2**15 else n - 2**16 for n in range(recording.first, 30_000)
    ]
    with pytest.raises(Missing):
        recordings.samples(recording, recording.first - 1, 1)
    assert changes[-1].trimmed in ((), (recording.key,))
    assert any(one.trimmed for one in changes)
    done = recordings.ingest(STREAM, rows("b", 2000), 5)
    assert (done.stored, done.evicted) == (2000, 0)
    assert done.evicted_samples > 0


@pytest.mark.parametrize("label_of", [lambda _n: None, lambda n: "up", lambda n: f"l{n % 2}"])
@pytest.mark.parametrize("many", [True, False], ids=["a recording a row", "one recording"])
def test_the_file_is_bounded_as_well(
    tmp_path: Path, label_of: Callable[[int], str | None], many: bool
) -> None:
    bounds = Bounds(bytes=200_000)
    store = Store(tmp_path, bounds)
    empty = size_of(tmp_path)
    for at in range(0, 8000, 500):
        given = [
            row(f"recording-{n}" if many else "a", n, label_of(n)) for n in range(at, at + 500)
        ]
        assert store.recordings.ingest(STREAM, given, 5).stored == 500
    assert store.recordings.summary()["wrist"].bytes <= bounds.bytes
    store.close()
    assert size_of(tmp_path) - empty < 1.6 * bounds.bytes  # pages are not full


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("store.db"))


# --- age: in time that the device has run, whatever its clock says -----


def test_age_counts_from_the_last_sample(tmp_path: Path) -> None:
    recordings = Store(tmp_path, Bounds(age_days=2)).recordings
    recordings.ingest(STREAM, [row("a", 1), row("b", 1)], 0)
    recordings.ingest(STREAM, [row("a", 1)], 0, up_ms=DAY_MS)
    done = recordings.ingest(STREAM, [row("c", 1)], 0, up_ms=2 * DAY_MS + 1)
    assert (done.evicted, done.gone, done.evicted_samples) == (1, ["b"], 1)
    assert names(recordings) == ["a", "c"]


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2 * DAY_MS),  # that pass
            st.one_of(st.none(), st.integers(0, DAY_MS)),  # a reboot, so long ago
            st.sampled_from([0, 2**31 * 1000, 2**33 * 1000, 1_700_000_000_000]),  # the clock says
        ),
        max_size=8,
    )
)
def test_age_is_never_more_than_has_passed(steps: list[tuple[int, int | None, int]]) -> None:
    with TemporaryDirectory() as folder:
        database = open_database(Path(folder) / "store.db")
        recordings = Recordings(database, Bounds(age_days=3))
        grown: dict[str, int] = {}
        now = up = 5
        for number, (passes, rebooted, wall_ms) in enumerate(steps):
            now, up = now + passes, up + passes
            if rebooted is not None:
                up = min(rebooted, up)
            recordings.ingest(STREAM, [row(f"r{number}", 1)], wall_ms, up_ms=up)
            grown[f"r{number}"] = now
            young = {name for name, at in grown.items() if now - at <= 3 * DAY_MS}
            assert young <= set(names(recordings))
            if all(step[1] is None for step in steps):
                assert young == set(names(recordings))
        database.close()


def test_frozen_recordings_stay(tmp_path: Path) -> None:
    device = make_device(tmp_path, bounds=Bounds(bytes=3000, age_days=1), recordings=2)
    device.freeze()
    later = device.ingest(csv_lines(1, 100, prefix="n"), up_ms=100 * DAY_MS)
    assert (later.evicted, later.stored, later.refused) == (0, 100, 0)
    full = device.ingest(csv_lines(1, 600, prefix="m"), up_ms=100 * DAY_MS)
    assert (full.stored, full.refused) == (0, 600)
    assert names(device.store.recordings) == ["r0", "r1", "n0"]


def test_one_recording_in_training_lets_older_samples_go(tmp_path: Path) -> None:
    """What the plan needs stays, bit for bit, while the recording grows in a full store."""
    device = make_device(tmp_path, bounds=Bounds(bytes=60_000), recordings=0)
    recordings, given = device.store.recordings, Input()
    for at in range(0, 9000, 500):  # only the second half trains
        label = "up" if at >= 4500 else "other"
        recordings.ingest(STREAM, rows("r0", 500, label, at), 5, given=given)
    key = only(recordings).key
    device.freeze()
    needed = device.store.database.rows("SELECT first FROM pins")[0][0]
    assert needed == 4500
    before = recordings.samples(only(recordings), needed, 4500)
    refused = 0
    for _ in range(40):
        done = recordings.ingest(STREAM, rows("r0", 250), 5, given=given)
        refused += done.refused
    recording = recordings.by_key(key)
    assert recording is not None
    assert 0 < recording.first <= needed
    assert recordings.samples(recording, needed, 4500) == before
    assert refused > 0  # then nothing is left that may go
    assert recordings.summary()["wrist"].no_room == refused
    (device.store.files.job(device.plan.plan_id) / "examples").write_bytes(b"damaged")
    assert device.mend() is not None


def test_erasing_leaves_no_trace(tmp_path: Path) -> None:
    store = Store(tmp_path)
    counts = (0x5341, 0x4D50)
    given = [Row(1, "private-walk", "secret-label", None, counts)] * 50
    store.recordings.ingest(STREAM, given, 5)
    traces = (b"private-walk", b"secret-label", array("h", counts).tobytes() * 2)
    assert all(trace in on_disk(tmp_path) for trace in traces)
    store.recordings.forget("wrist")
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


# --- cost: in steps of SQLite's machine, which no load of this one changes -----


class Steps:
    """Counts what a call has SQLite do, and the lines of Python do not grow with."""

    def __init__(self, recordings: Recordings) -> None:
        self._connection = recordings._database._connection()

    def of(self, call: Callable[[], object]) -> int:
        seen = 0

        def step() -> int:
            nonlocal seen
            seen += 1
            return 0

        self._connection.set_progress_handler(step, 20)
        call()
        self._connection.set_progress_handler(None, 20)
        return seen


KINDS: dict[str, Callable[[int], Row]] = {
    "one label": lambda n: row("a", n % 999, "up"),
    "labels change": lambda n: row("a", n % 999, f"l{n % 2}"),
    "a label a row": lambda n: row("a", n % 999, f"l{n}"),
    "a hole a row": lambda n: row("a", n % 999, "up", JUMP),
    "a recording a row": lambda n: row(f"r{n}", n % 999, "up"),
}


@pytest.mark.parametrize("most", [64 * 2**20, 150_000], ids=["room", "full"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_request_costs_more_because_more_is_stored(tmp_path: Path, kind: str, most: int) -> None:
    recordings, make, given = Store(tmp_path, Bounds(bytes=most)).recordings, KINDS[kind], Input()
    steps = Steps(recordings)

    def ingest_at(at: int) -> None:
        recordings.ingest(STREAM, [make(n) for n in range(at, at + 250)], 5, given=given)

    def look() -> list[int]:
        """What status asks for in the loop."""
        return [
            steps.of(recordings.summary),
            steps.of(lambda: recordings.labels("wrist", 32)),
            steps.of(lambda: recordings.labelled("wrist", "up")),
        ]

    costs_ = [steps.of(lambda at=at: ingest_at(at)) for at in range(0, 1000, 250)]  # type: ignore[misc]
    before = look()
    costs_ += [steps.of(lambda at=at: ingest_at(at)) for at in range(1000, 8000, 250)]  # type: ignore[misc]
    assert sum(costs_[-12:]) < 1.6 * sum(costs_[8:20]) + 100  # a chunk goes now and then
    assert all(now <= 1.6 * then + 20 for now, then in zip(look(), before, strict=True))
