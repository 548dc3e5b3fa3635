"""Holes: where a sample does not follow on from the one before."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.data import holes as module
from fedling_agent.data.holes import Holes, seconds
from fedling_agent.data.streams import Hole, HoleKind, Row, RowError

REFUSED, JUMP, BACK, REPEAT = (
    HoleKind.REFUSED, HoleKind.JUMP, HoleKind.BACK, HoleKind.REPEAT,
)  # fmt: skip
Given = tuple[str, float | None] | RowError


def kinds(given: Sequence[Given]) -> list[HoleKind | None]:
    """Of each good row, what hole is before it. given: recording and time in seconds."""
    rows: list[Row | RowError] = [
        one if isinstance(one, RowError) else Row(
            1, one[0], None, None if one[1] is None else round(one[1] * 1e6), (0,)
        )
        for one in given
    ]  # fmt: skip
    found = [row for row in Holes().mark(rows) if isinstance(row, Row)]
    return [None if row.hole is None else row.hole.kind for row in found]


def times(*given: float) -> list[Given]:
    return [("a", time) for time in given]


def test_a_refused_row_ends_what_it_was_in() -> None:
    bad = RowError(2, "bad", "a")
    assert kinds([("a", None), bad, ("a", None), ("a", None)]) == [None, REFUSED, None]
    assert kinds([("a", None), ("b", None), bad, ("b", None), ("a", None)])[2:] == [None, REFUSED]


def test_a_refused_row_of_nobody_knows_what_ends_all() -> None:
    given: list[Given] = [
        ("a", None),
        ("b", None),
        RowError(3, "bad"),
        ("b", None),
        ("a", None),
        ("a", None),
    ]
    assert kinds(given)[2:] == [REFUSED, REFUSED, None]


def test_a_refused_row_before_a_recording_begins_is_no_hole() -> None:
    assert kinds([RowError(1, "bad", "a"), RowError(2, "bad"), ("a", None)]) == [None]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0, 0.02, 0.04, 90_000, 90_000.02], [None, None, None, JUMP, None]),
        ([5, 5.02, 5.01, 5.03], [None, None, BACK, None]),
        ([0, 0.02, 0.02, 0.04], [None, None, REPEAT, None]),
        ([0, 0.02, 0.041, 0.059, 0.1, 0.12], [None] * 6),  # one sample lost: jitter
        ([0, 0.02, 0.04, 0.11], [None, None, None, JUMP]),
        ([0, 3600, 7200], [None] * 3),
    ],
)
def test_time_that_does_not_go_on(given: list[float], expected: list[HoleKind | None]) -> None:
    assert kinds(times(*given)) == expected


def test_another_rate_becomes_the_usual_one() -> None:
    slow = [1 + n for n in range(20)]
    found = kinds(times(*[n / 50 for n in range(50)], *slow))
    assert found.count(JUMP) == 5
    assert found[-14:] == [None] * 14


def test_a_clock_of_whole_seconds_is_no_row_of_holes() -> None:
    found = kinds(times(*[n // 50 for n in range(1000)]))
    assert found.count(REPEAT) == module.COARSE
    assert found[20:] == [None] * 980


def test_rows_that_come_twice_are_no_coarse_clock() -> None:
    assert kinds(times(*[n // 2 / 50 for n in range(100)])).count(REPEAT) == 50


def test_a_jump_over_a_refused_row_is_told_as_one() -> None:
    bad = RowError(4, "bad", "a")
    assert kinds([*times(0, 0.02, 0.04), bad, ("a", 0.08), bad, ("a", 9.0)])[3:] == [REFUSED, JUMP]


def test_recordings_are_apart() -> None:
    given: list[Given] = []
    for n in range(10):
        given += [("a", n / 50), ("b", 1000 - n / 10), ("c", None)]
    assert kinds(given)[0::3] == [None] * 10
    assert kinds(given)[1::3] == [None] + [BACK] * 9
    assert kinds(given)[2::3] == [None] * 10


def test_memory_is_bounded() -> None:
    holes = Holes()
    for n in range(module.MOST_RECORDINGS + 100):
        list(holes.mark([Row(1, f"r{n}", None, 5, (0,)), RowError(2, "bad", f"r{n}")]))
        list(holes.mark([RowError(3, "bad", f"s{n}")]))
    list(holes.mark([RowError(1, "bad")]))
    assert len(holes._paces) == module.MOST_RECORDINGS
    assert len(holes._refused) <= module.MOST_RECORDINGS


ROWS = st.one_of(
    st.tuples(st.sampled_from("ab"), st.one_of(st.none(), st.integers(0, 10).map(float))),
    st.builds(RowError, st.just(1), st.just("bad"), st.sampled_from(["a", "b", None])),
)


@given(st.lists(ROWS, max_size=30))
def test_pieces_do_not_matter_and_nothing_else_is_changed(given: list[Given]) -> None:
    rows = [
        one if isinstance(one, RowError) else Row(
            1, one[0], None, None if one[1] is None else int(one[1] * 1e6), (0,)
        )
        for one in given
    ]  # fmt: skip
    together, apart = list(Holes().mark(rows)), Holes()
    assert together == [marked for row in rows for marked in apart.mark([row])]
    assert [row._replace(hole=None) if isinstance(row, Row) else row for row in together] == rows


def test_words() -> None:
    (first, *_, last) = Holes().mark(
        [Row(n, "a", None, round(at * 1e6), (0,)) for n, at in enumerate([0, 0.02, 0.04, 90_000])]
    )
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert first.hole is None
    assert last.hole == Hole(JUMP, "time jumps by 25 h, the usual step is 20 ms")
    assert [seconds(us) for us in (3, 2000, 1.5e6, 90e6, 7200e6, 200_000e6)] == [
        "3 us", "2 ms", "1.5 s", "90 s", "2 h", "2.31 d",
    ]  # fmt: skip
