"""Windows, newest first, and the hold-out."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.data import windows
from fedling_agent.data.recording import Span
from fedling_agent.data.windows import (
    Cutter,
    Example,
    HoldOut,
    Windows,
    choose,
    held_out_windows,
    room,
    room_for_tests,
    training_windows,
)
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.messages import TaskSpec, Training
from tests.support import naive_windows
from tests.support.device import AUTOENCODER, SECRET, SPEC, TRAINING
from tests.support.recordings import SHELVES, Shelf, shelf


def chosen(
    source: Shelf, spec: TaskSpec = SPEC, training: Training = TRAINING, most: int = 10**6
) -> list[Example]:
    cutter = training_windows(spec, training, SECRET)
    found, used = finish(choose(source, spec.stream, cutter, most))
    assert [r.id for r in used] == found.names
    assert {e.recording for e in found} == set(found.names)
    return list(found)


def labelled(*spans: Span) -> Shelf:
    source = shelf([[(spans[-1].last + 1, "")]])
    source.stored[0] = (source.stored[0][0], list(spans))
    return source


def test_one_span_covers_a_window() -> None:
    spans = Span(0, 12, "up", 0), Span(13, 40, "down", 3), Span(41, 60, "other", 0)
    assert [(e.first, e.label, e.revision) for e in chosen(labelled(*spans))] == [
        (0, 1, 0),
        (15, 0, 3),
        (20, 0, 3),
        (25, 0, 3),
        (30, 0, 3),
    ]


def test_a_task_without_labels_takes_every_window() -> None:
    source = shelf([[(3, ""), (10, "up"), (18, "")]])
    assert [(e.first, e.label, e.revision) for e in chosen(source, AUTOENCODER)] == [
        *((0, 0, 0), (5, 0, 0), (10, 0, 0), (15, 0, 0), (20, 0, 0))
    ]
    assert chosen(shelf([[(9, "up")]]), AUTOENCODER) == []


@pytest.mark.parametrize("spec", [SPEC, AUTOENCODER])
def test_no_window_has_samples_of_both_sides_of_a_hole(spec: TaskSpec) -> None:
    source = shelf([[(14, "up")]])
    source.grow(1, [(26, "up")], hole=True)
    assert [e.first for e in chosen(source, spec)] == [0, 15, 20, 25, 30]


def test_labels_that_look_the_same_are_the_same() -> None:
    spec = replace(SPEC, labels=("cafe\u0301", " walk"))
    source = shelf([[(10, "caf\u00e9"), (10, "walk")]])
    assert [e.label for e in chosen(source, spec)] == [0, 1]


def test_recordings_of_other_channels_have_no_windows() -> None:
    assert chosen(shelf([[(40, "up")]]), replace(SPEC, channels=1)) == []


@given(
    SHELVES,
    st.integers(1, 20),
    st.integers(1, 30),
    st.integers(0, 900),
    st.integers(1, 40),
    st.booleans(),
    st.integers(1, 40),
)
def test_chosen_windows_are_the_newest_of_all(
    recordings: list[list[tuple[int, str]]],
    window: int,
    stride: int,
    holdout: int,
    block: int,
    labels: bool,
    most: int,
) -> None:
    spec = replace(SPEC, window=window, stride=stride, labels=SPEC.labels if labels else ())
    training = replace(TRAINING, holdout=holdout, holdout_block=block)
    source = shelf(recordings, holes=True)
    for room_ in (most, 10**6):
        expected = naive_windows.choose(spec, training, SECRET, source.stored, room_, source.holes)
        assert chosen(source, spec, training, room_) == expected


@given(SHELVES, st.integers(1, 20), st.integers(1, 30), st.integers(1, 900), st.integers(1, 40))
def test_windows_that_end_after_a_sample_are_those_that_came_with_it(
    recordings: list[list[tuple[int, str]]], window: int, stride: int, holdout: int, block: int
) -> None:
    spec = replace(SPEC, window=window, stride=stride)
    training = replace(TRAINING, holdout=holdout, holdout_block=block)
    source = shelf(recordings, holes=True)
    cutter = training_windows(spec, training, SECRET)
    for recording, spans in source.stored:
        holes = source.holes.get(recording.key, ())
        every = naive_windows.cut(spec, training, SECRET, recording, spans, holes)
        for seen in (0, 1, recording.samples // 2, recording.samples):
            runs = list(cutter.back(source, recording, seen))
            found = [first for run in runs for first in run.firsts[::-1]]
            after = [e.first for e in every if e.first + window > seen]
            assert found == after[::-1]


@given(SHELVES, st.integers(1, 20), st.integers(1, 30), st.integers(1, 900), st.integers(1, 40))
def test_windows_that_test_lie_wholly_in_what_is_held_out(
    recordings: list[list[tuple[int, str]]], window: int, stride: int, holdout: int, block: int
) -> None:
    """None of them touches a sample that trains; together with the others they are all but those
    that lie across a border."""
    spec = replace(SPEC, window=window, stride=stride)
    training = replace(TRAINING, holdout=holdout, holdout_block=block)
    source = shelf(recordings, holes=True)
    for most in (7, 10**6):
        found, _ = finish(choose(source, "wrist", held_out_windows(spec, training, SECRET), most))
        assert list(found) == naive_windows.choose(
            spec, training, SECRET, source.stored, most, source.holes, tests=True
        )
    trained = chosen(source, spec, training, 10**6)
    samples = {(e.recording, n) for e in trained for n in range(e.first, e.first + window)}
    assert not samples & {(e.recording, n) for e in found for n in range(e.first, e.first + window)}
    every = chosen(source, spec, replace(training, holdout=0), 10**6)
    assert {*trained, *found} <= {*every}


def test_classes_are_those_of_all_windows_held_out_or_not() -> None:
    source = shelf([[(30, "up")], [(30, "down")], [(9, "up")]])
    cutter = training_windows(SPEC, replace(TRAINING, holdout=900, holdout_block=1), SECRET)
    finish(choose(source, "wrist", cutter, 10**6))
    assert cutter.classes == {SPEC.labels.index("up"), SPEC.labels.index("down")}
    short = training_windows(SPEC, TRAINING, SECRET)
    finish(choose(shelf([[(9, "up")], [(30, "down")]]), "wrist", short, 10**6))
    assert short.classes == {SPEC.labels.index("down")}


def test_no_more_windows_test_than_train() -> None:
    assert room_for_tests(SPEC, 10) == 10
    assert room_for_tests(SPEC, 10**6) == 4096
    assert room_for_tests(replace(SPEC, window=65_535, channels=1), 10**6) == 16


def test_old_blocks_are_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    held = HoldOut.held

    def counted(self: HoldOut, recording: str, block: int) -> bool:
        asked.append(block)
        return held(self, recording, block)

    monkeypatch.setattr(HoldOut, "held", counted)
    source = shelf([[(10**9, "up")], [(10**9, "up")]])
    training = replace(TRAINING, holdout=200)
    found = chosen(source, replace(SPEC, stride=1), training, 5000)
    assert len(found) == 5000
    assert {e.recording for e in found} == {"r2"}
    assert len(asked) == len(set(asked)) < 100


def test_samples_that_came_since_are_not_looked_at() -> None:
    source = shelf([[(30, "up")]])
    recording = source.stored[0][0]
    source.grow(1, [(100, "up")])
    cutter = Cutter(SPEC, None)
    assert [r.firsts for r in cutter.back(source, recording)] == [range(0, 21, 5)]


def test_slices_are_short_when_there_is_nothing_to_find() -> None:
    source = shelf([[(1, "other")] * 5000])
    recording, _ = source.stored[0]
    source.stored[0] = (recording, [Span(n, n, "other", 0) for n in range(5000)])
    slices = choose(source, "wrist", Cutter(SPEC, None), 10)
    assert sum(1 for _ in slices) >= 5000 // windows.RUNS


def test_hold_out_is_hashed_in_slices() -> None:
    source = shelf([[(100_000, "")]])
    training = replace(TRAINING, holdout=900, holdout_block=10)
    slices = choose(source, "wrist", training_windows(AUTOENCODER, training, SECRET), 10**6)
    assert sum(1 for _ in slices) > 5000 // windows.RUNS


def test_room_is_bounded_by_examples_bytes_and_samples() -> None:
    assert room(replace(SPEC, window=1)) == 65_536
    assert room(replace(SPEC, window=1024, channels=2)) == 2**24 // 4096
    assert room(replace(SPEC, window=65_535, channels=1)) == 2**24 // 131_070


def test_windows_are_a_sequence_of_examples() -> None:
    some = Windows(["a", "b"])
    some.add(1, range(10, 14, 2), 3, 255)
    some.add(0, (2**40,), 2**40, 0)
    some.reverse()
    expected = [Example("a", 2**40, 2**40, 0), Example("b", 12, 3, 255), Example("b", 10, 3, 255)]
    assert list(some) == expected
    assert len(some) == 3
    assert some[1] == expected[1]
    assert list(some.slice(1, 9)) == expected[1:]


def test_share_of_the_hold_out() -> None:
    kept = HoldOut(SECRET, "wrist", replace(TRAINING, holdout=200))
    held = sum(kept.held("a", block) for block in range(5000))
    assert 900 < held < 1100
    assert held == sum(kept.held("a", block) for block in range(5000))
    other = HoldOut(bytes(32), "wrist", replace(TRAINING, holdout=200))
    assert any(kept.held("a", n) != other.held("a", n) for n in range(50))
