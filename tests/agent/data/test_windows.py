"""Windows and the hold-out."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.data.windows import HoldOut, cut
from fedling_agent.store.recordings import Recording, Span
from tests.support.device import AUTOENCODER, SECRET, SPEC, TRAINING

ALL = HoldOut(SECRET, "wrist", TRAINING)


def recording(samples: int) -> Recording:
    return Recording(1, "a", 0, samples, 2)


def test_one_span_covers_a_window() -> None:
    spans = [Span(0, 12, "up", 0), Span(13, 40, "down", 3), Span(41, 60, "other", 0)]
    found = list(cut(SPEC, recording(61), spans, ALL))
    assert [(e.first, e.label, e.revision) for e in found] == [
        (0, 1, 0),
        (15, 0, 3),
        (20, 0, 3),
        (25, 0, 3),
        (30, 0, 3),
    ]


def test_a_task_without_labels_takes_every_window() -> None:
    spans = [Span(3, 12, "up", 0)]
    found = list(cut(AUTOENCODER, recording(31), spans, ALL))
    assert [(e.first, e.label, e.revision) for e in found] == [
        *((0, 0, 0), (5, 0, 0), (10, 0, 0), (15, 0, 0), (20, 0, 0))
    ]
    assert list(cut(AUTOENCODER, recording(9), [], ALL)) == []


@given(
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["up", "down", ""])), max_size=8),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 900),
    st.integers(1, 40),
)
def test_windows_are_whole_labelled_and_never_mixed(
    pieces: list[tuple[int, str]], window: int, stride: int, holdout: int, block: int
) -> None:
    spec = replace(SPEC, window=window, stride=stride)
    labels = [label for length, label in pieces for _ in range(length)]
    spans, at = [], 0
    for length, label in pieces:
        if label:
            spans.append(Span(at, at + length - 1, label, 0))
        at += length
    kept = HoldOut(SECRET, "wrist", replace(TRAINING, holdout=holdout, holdout_block=block))
    found = {e.first: e.label for e in cut(spec, recording(at), spans, kept)}
    for first in range(0, at, stride):
        whole = labels[first : first + window]
        inside = any(s.first <= first and first + window - 1 <= s.last for s in spans)
        held = [kept.held("a", n // block) for n in range(first, first + window)]
        if inside and not any(held):
            assert found.pop(first) == spec.labels.index(whole[0])
    assert not found


def test_share_of_the_hold_out() -> None:
    kept = HoldOut(SECRET, "wrist", replace(TRAINING, holdout=200))
    held = sum(kept.held("a", block) for block in range(5000))
    assert 900 < held < 1100
    assert held == sum(kept.held("a", block) for block in range(5000))
    other = HoldOut(bytes(32), "wrist", replace(TRAINING, holdout=200))
    assert any(kept.held("a", n) != other.held("a", n) for n in range(50))


def test_no_hold_out_keeps_everything() -> None:
    assert not any(ALL.held("a", block) for block in range(1000))
