"""Which windows make a personal model, and which choose it: no sample is in both."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.data import windows as bounds
from fedling_agent.data.windows import Example, Windows
from fedling_agent.store.personal import Made
from fedling_agent.training import personal
from fedling_agent.training.personal import Hindrance, Parted, Situation
from fedling_native import Normaliser
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.messages import Hits
from tests.support.device import AUTOENCODER, SPEC, TRAINING

Runs = list[tuple[int, int]]  # of each recording: windows, label


def cut(runs: Runs, stride: int = SPEC.stride) -> Windows:
    """Windows as a device has them, a recording after the other; labels may come again."""
    windows = Windows(f"r{number}" for number in range(len(runs)))
    for number, (count, label) in enumerate(runs):
        windows.add(number, range(0, count * stride, stride), number, label)
    return windows


def parted(runs: Runs, stride: int = SPEC.stride) -> Parted:
    return finish(personal.part(cut(runs, stride), SPEC))


def touch(one: Example, other: Example) -> bool:
    return one.recording == other.recording and abs(one.first - other.first) < SPEC.window


def test_part_of_each_label_the_newest_quarter_chooses() -> None:
    train, choose = parted([(40, 0), (8, 1)])
    assert [(e.recording, e.first) for e in choose] == [
        *(("r0", 5 * at) for at in range(30, 40)),
        *(("r1", 5 * at) for at in range(6, 8)),
    ]
    # Windows of 10 samples every 5: the one before the first that chooses touches it.
    assert Counter(train.labels) == {0: 29, 1: 5}


def test_part_by_time_where_a_label_comes_in_several_recordings() -> None:
    train, choose = parted([(4, 0), (4, 1), (4, 0), (4, 1)])
    assert {e.recording for e in choose} == {"r2", "r3"}
    assert Counter(e.recording for e in train) == {"r0": 4, "r1": 4, "r2": 1, "r3": 1}


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1)), max_size=8), st.integers(1, 12))
def test_part_no_sample_is_in_both_and_all_else_trains(runs: Runs, stride: int) -> None:
    windows = cut(runs, stride)
    train, choose = finish(personal.part(windows, SPEC))
    every, trains, chooses = list(windows), list(train), list(choose)
    assert not any(touch(one, other) for one in trains for other in chooses)
    left = [one for one in every if one not in trains and one not in chooses]
    assert all(any(touch(one, other) for other in chooses) for one in left)
    assert trains == sorted(trains, key=every.index)
    assert chooses == sorted(chooses, key=every.index)
    for label, count in Counter(windows.labels).items():
        own = [at for at, one in enumerate(every) if one.label == label]
        assert [every[at] for at in own[count - count // 4 :]] == [
            one for one in chooses if one.label == label
        ]


def test_part_no_more_choose_than_test_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_TESTED", 8)
    _, choose = parted([(60, 0), (20, 1)])
    assert Counter(choose.labels) == {0: 6, 1: 2}


@pytest.mark.parametrize(
    ("runs", "stride", "enough"),
    [
        ([(8, 0), (8, 1)], 5, True),
        ([(8, 0)], 5, False),  # nothing of the other label
        ([(8, 0), (3, 1)], 5, False),  # none of it chooses
        ([(8, 0), (8, 1)], 1, False),  # all that could train touch those that choose
        ([], 5, False),
    ],
)
def test_is_enough_only_with_every_label_in_both(runs: Runs, stride: int, enough: bool) -> None:
    assert personal.is_enough(parted(runs, stride), SPEC) is enough


def test_is_better_from_two_windows_on() -> None:
    assert [personal.is_better(Hits(9, 5), Hits(9, own)) for own in (4, 5, 6, 7)] == [
        False, False, False, True,
    ]  # fmt: skip


def test_further_as_in_a_round_but_longer() -> None:
    further = personal.further(TRAINING)
    assert further.epochs == 20
    assert (further.lr_q24, further.batch) == (TRAINING.lr_q24, TRAINING.batch)


LAST = Made(
    SPEC, 1, b"one", (-7, -7), Normaliser((), (), ()), None, Hits(20, 9), Hits(20, 9), 60, 1000
)
READY = Situation(
    spec=SPEC,
    base=b"two",
    drawn=False,
    planned=True,
    labelled={"down": 25, "up": 25},  # four windows of 10, one every 5
    stock=1000,
    last=LAST,
    rested=True,
    busy=False,
)
SAME = replace(READY, base=b"one")


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (READY, None),
        (replace(READY, last=None), None),
        (replace(READY, spec=None), Hindrance.MODEL),
        (replace(READY, drawn=True), Hindrance.MODEL),
        (replace(READY, spec=AUTOENCODER), Hindrance.LOSS),
        (replace(READY, planned=False), Hindrance.PLAN),
        (replace(READY, labelled={"down": 90, "up": 24}), Hindrance.EXAMPLES),
        (replace(READY, labelled={"down": 90}), Hindrance.EXAMPLES),
        (SAME, Hindrance.DONE),
        (replace(SAME, rested=False, busy=True), Hindrance.DONE),
        (replace(SAME, stock=1074), Hindrance.DONE),  # 60 windows, one every 5 samples: 75
        (replace(SAME, stock=1075), None),
        (replace(SAME, stock=10), Hindrance.DONE),  # fewer are no reason
        (replace(SAME, last=replace(LAST, spec=replace(SPEC, stream="ankle"))), None),
        (replace(READY, rested=False), Hindrance.REST),
        (replace(READY, busy=True), Hindrance.BUSY),
    ],
)
def test_hindrance(now: Situation, why: Hindrance | None) -> None:
    assert personal.hindrance(now) is why


def test_stock_grows_where_old_samples_make_room() -> None:
    assert personal.stock_of({"down": 5, "up": 7}, 3) == 15
