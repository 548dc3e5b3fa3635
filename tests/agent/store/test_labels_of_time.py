"""Labels that are given to a time: what is stored of it has them, and what comes later as well."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.data.recording import Changes
from fedling_agent.data.streams import Hole, HoleKind, Row, RowError
from fedling_agent.data.times import FIRST_MS, Interval, Times
from fedling_agent.store import awaited
from fedling_agent.store.inputs import Input, Mode
from fedling_agent.store.open_recording import CHUNK_BYTES
from fedling_agent.store.recordings import Bounds, Labelled, Recordings
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import BadInput, Missing
from tests.support.device import STREAM
from tests.support.totals import check_totals

NOW = 1_790_000_000_000
HOLE = Hole(HoleKind.JUMP, "time jumps")


@pytest.fixture
def recordings(tmp_path: Path) -> Iterator[Recordings]:
    store = Store(tmp_path)
    yield store.recordings
    check_totals(store.recordings, Bounds().bytes)
    store.close()


def rows(
    count: int,
    recording: str = "r",
    label: str | None = None,
    first: int = 1,
    us: int | None = None,
) -> list[Row]:
    """With a time each (us: of the first, a second apart), or without."""
    return [
        Row(first + n, recording, label, None if us is None else us + 1_000_000 * n, (n % 99, 0))
        for n in range(count)
    ]


def feed(recordings: Recordings, count: int, first_ms: int, last_ms: int, **more: object) -> None:
    """Rows of a sensor that has no clock, which came between two moments."""
    came = Times(NOW + first_ms, NOW + last_ms)
    given = more.pop("given", None)
    assert given is None or isinstance(given, Input)
    lines = rows(count, **more)  # type: ignore[arg-type]
    recordings.ingest(STREAM, lines, NOW + last_ms, came=came, given=given)


def give(
    recordings: Recordings, begin_ms: int, end_ms: int, label: str | None = "walk",
    recording: str | None = None, *, at_ms: int | None = None, up_ms: int = 0,
) -> Labelled:  # fmt: skip
    now_ms = NOW + (end_ms if at_ms is None else at_ms)
    interval = Interval(NOW + begin_ms, NOW + end_ms)
    return recordings.label_time("wrist", interval, label, recording, now_ms=now_ms, up_ms=up_ms)


def labels(recordings: Recordings, name: str = "r") -> list[str | None]:
    """Of each sample."""
    recording = recordings.by_id("wrist", name)
    assert recording is not None
    found: list[str | None] = [None] * recording.samples
    below = None
    while spans := recordings.spans(recording, below):
        for span in spans:
            found[span.first : span.last + 1] = [span.label] * (span.last + 1 - span.first)
        below = spans[-1].first
    return found


def runs(found: list[str | None]) -> list[tuple[str | None, int]]:
    """Each label, and how many samples have it in a row."""
    told: list[tuple[str | None, int]] = []
    for label in found:
        if told and told[-1][0] == label:
            told[-1] = (label, told[-1][1] + 1)
        else:
            told.append((label, 1))
    return told


def test_the_last_second_of_a_sensor_without_a_clock(recordings: Recordings) -> None:
    feed(recordings, 100, 0, 9_900)  # ten a second
    done = give(recordings, 8_000, 9_000)
    assert (done.samples, len(done.changes.relabelled)) == (10, 1)
    assert runs(labels(recordings)) == [(None, 80), ("walk", 10), (None, 10)]


def test_what_a_row_says_of_its_time_counts_not_when_it_came(recordings: Recordings) -> None:
    day_before = NOW - 86_400_000
    recordings.ingest(STREAM, rows(60, us=1000 * day_before), NOW)
    assert give(recordings, -60_000, 1).samples == 0
    assert give(recordings, -86_400_000 + 10_000, -86_400_000 + 20_000).samples == 10
    assert runs(labels(recordings)) == [(None, 10), ("walk", 10), (None, 40)]


def test_over_pieces_chunks_holes_and_recordings(recordings: Recordings) -> None:
    large = CHUNK_BYTES // 4 + 1000  # samples: more than a chunk
    feed(recordings, large, 0, large - 1)
    feed(recordings, 1000, large, large + 999, label="sit")
    recordings.ingest(
        STREAM, [rows(1, first=1)[0]._replace(hole=HOLE), *rows(9, first=2)], NOW + large + 1009,
        came=Times(NOW + large + 1000, NOW + large + 1009),
    )  # fmt: skip
    feed(recordings, 50, large + 1010, large + 1059, recording="other")
    done = give(recordings, 100, large + 1020)
    assert done.samples == large + 910 + 10
    assert len(done.changes.relabelled) == 2
    assert runs(labels(recordings)) == [(None, 100), ("walk", large + 910)]
    assert runs(labels(recordings, "other")) == [("walk", 10), (None, 40)]


def test_a_label_takes_the_place_of_another_and_none_of_any(recordings: Recordings) -> None:
    feed(recordings, 10, 0, 900, label="sit")
    give(recordings, 200, 500)
    give(recordings, 400, 700, None)
    assert runs(labels(recordings)) == [("sit", 2), ("walk", 2), (None, 3), ("sit", 3)]


def test_who_labels_nothing_is_told_when_the_newest_sample_was_taken(
    recordings: Recordings,
) -> None:
    assert give(recordings, 0, 1000).newest_ms is None
    feed(recordings, 10, 0, 900, recording="s")
    recordings.ingest(STREAM, rows(3, us=5_000_000), NOW, up_ms=1)  # a sensor that knows no date
    assert give(recordings, 1000, 2000).newest_ms == 7000
    assert give(recordings, 0, 2000).newest_ms is None


def test_a_sensor_that_changes_its_pace_and_says_so(recordings: Recordings) -> None:
    """50 a second, then 20: the times of its rows are kept to a second."""
    taken = [20 * n for n in range(2000)] + [40_000 + 50 * n for n in range(2000)]
    lines = zip(rows(4000), taken, strict=True)
    given = [row._replace(time_us=1000 * (NOW + at)) for row, at in lines]
    recordings.ingest(STREAM, given, NOW)
    give(recordings, 40_000, 50_000)
    (_, before), (_, labelled), _ = runs(labels(recordings))
    assert 1950 <= before <= 2020
    assert abs(labelled - 200) <= 70
    (recording,) = recordings.newest("wrist")
    assert len(recordings.stretches(recording)) == 1  # nothing is missing


def test_a_later_label_takes_the_place_of_those_that_wait_for_the_same(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(awaited, "MOST", 3)
    for n in range(5):
        give(recordings, 10 - n, 20 + n, f"l{n}")
    feed(recordings, 3, 0, 20)
    assert labels(recordings) == [None, "l4", "l4"]


def test_of_one_recording_only(recordings: Recordings) -> None:
    feed(recordings, 10, 0, 900)
    feed(recordings, 10, 0, 900, recording="s")
    assert give(recordings, 0, 1000, recording="s").samples == 10
    assert runs(labels(recordings)) == [(None, 10)]
    with pytest.raises(Missing, match="no recording t"):
        give(recordings, 0, 1000, recording="t")


def test_a_sensor_that_rests_is_not_stretched_over_its_rest(recordings: Recordings) -> None:
    """Its rows have no time, so nobody sees a hole; but each chunk knows when it came."""
    feed(recordings, 10, 0, 900)
    feed(recordings, 10, FIRST_MS + 1_000_000, FIRST_MS + 1_000_900)
    assert give(recordings, 1_000, FIRST_MS + 1_000_000).samples == 0
    assert give(recordings, 0, 1_000).samples == 10


def test_rows_one_by_one_make_no_tiny_chunks(recordings: Recordings) -> None:
    sensor = Input()
    for n in range(500):
        feed(recordings, 1, 100 * n, 100 * n, given=sensor)
    (size,) = [listed.bytes for listed in recordings.listing()]
    assert size < 500 * 4 + 400
    assert give(recordings, 10_000, 20_000).samples == 100
    assert runs(labels(recordings)) == [(None, 100), ("walk", 100), (None, 300)]


# --- samples that are still to come ----------------------------------------------------------


def test_rows_that_waited_for_others_get_the_label_when_they_come(recordings: Recordings) -> None:
    feed(recordings, 10, 0, 900)
    done = give(recordings, 500, 1500)
    assert (done.samples, done.to_come) == (5, True)
    feed(recordings, 10, 1000, 1900)
    assert runs(labels(recordings)) == [(None, 5), ("walk", 10), (None, 5)]


def test_of_what_comes_only_the_time_that_was_meant(recordings: Recordings) -> None:
    give(recordings, 0, 500, at_ms=0)  # the next half a second
    give(recordings, 300, 400, "hop", at_ms=0)  # who said it last is right
    give(recordings, 800, 900, None, at_ms=0)
    feed(recordings, 10, 0, 900, label="sit")
    assert runs(labels(recordings)) == [
        ("walk", 3), ("hop", 1), ("walk", 1), ("sit", 3), (None, 1), ("sit", 1),
    ]  # fmt: skip


def test_a_refused_row_moves_no_time(recordings: Recordings) -> None:
    give(recordings, 200, 300, at_ms=0)
    given: list[Row | RowError] = list(rows(10))
    given[1] = RowError(2, "no number", "r")
    recordings.ingest(STREAM, given, NOW + 900, came=Times(NOW, NOW + 900))
    assert runs(labels(recordings)) == [(None, 1), ("walk", 1), (None, 7)]


def test_a_file_has_its_own_labels(recordings: Recordings) -> None:
    give(recordings, -1000, 1000, at_ms=0)
    recordings.ingest(STREAM, rows(10, label="sit"), NOW, given=Input(Mode.NEW))
    assert runs(labels(recordings)) == [("sit", 10)]


def test_of_one_recording_that_is_still_to_grow(recordings: Recordings) -> None:
    feed(recordings, 1, 0, 0)
    give(recordings, 100, 1000, recording="r", at_ms=0)
    feed(recordings, 5, 100, 500)
    feed(recordings, 5, 100, 500, recording="s")
    assert runs(labels(recordings)) == [(None, 1), ("walk", 5)]
    assert runs(labels(recordings, "s")) == [(None, 5)]


def test_nothing_waits_for_ever(recordings: Recordings) -> None:
    give(recordings, 0, 1000)
    recordings.ingest(STREAM, rows(10), NOW, up_ms=awaited.WAIT_MS + 1, came=Times(NOW, NOW + 900))
    assert runs(labels(recordings)) == [(None, 10)]
    assert not give(recordings, 0, 1000, at_ms=1000 + awaited.WAIT_MS).to_come  # long over


def test_as_many_wait_as_may_and_one_more_changes_nothing(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(awaited, "MOST", 3)
    feed(recordings, 10, 0, 900)
    for n in range(3):
        give(recordings, n, n + 1)
    with pytest.raises(BadInput, match="3 times wait for their samples already"):
        give(recordings, 0, 1000, "hop")
    assert "hop" not in labels(recordings)
    late = awaited.WAIT_MS + 10
    assert give(recordings, 0, 1000, "hop", up_ms=late).to_come  # the others are gone


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    give(store.recordings, 0, 500)
    store.close()
    store = Store(tmp_path)
    feed(store.recordings, 10, 0, 900)
    assert runs(labels(store.recordings)) == [("walk", 5), (None, 5)]
    store.close()


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.sampled_from("ab"), st.integers(1, 40)),
        st.tuples(st.just("label"), st.integers(0, 300), st.integers(1, 100)),
    ),
    max_size=12,
)


@given(EVENTS)
@settings(deadline=None)
def test_whatever_comes_first(events: list[tuple[str, object, int]]) -> None:
    """Each sample has the label that was last given to its time: all recordings grow one after the
    other, and sample n of all was taken at second n."""
    sensor = Input()
    taken, given_ = 0, list[tuple[int, int, str]]()
    places: dict[str, list[int]] = {"a": [], "b": []}
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for number, (what, which, count) in enumerate(events):
            if what == "rows":
                name = str(which)
                begin, taken = taken, taken + count
                came = 1000 * begin, 1000 * (taken - 1)
                feed(store.recordings, count, *came, recording=name, given=sensor)
                places[name] += range(begin, taken)
            else:
                assert isinstance(which, int)
                give(store.recordings, 1000 * which, 1000 * (which + count), f"l{number}")
                given_.append((which, which + count, f"l{number}"))
        for name, samples in places.items():
            wanted = [
                next((word for low, high, word in given_[::-1] if low <= n < high), None)
                for n in samples
            ]
            assert (labels(store.recordings, name) if samples else []) == wanted
        check_totals(store.recordings, Bounds().bytes)
        store.close()


def test_changes_name_what_was_labelled(recordings: Recordings) -> None:
    feed(recordings, 10, 0, 900)
    (recording,) = recordings.newest("wrist")
    assert give(recordings, 0, 100).changes == Changes("wrist", relabelled=(recording.key,))
    assert give(recordings, 5000, 6000).changes == Changes("wrist")
