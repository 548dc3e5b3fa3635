"""Bursts are allowed, floods are not."""

from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.runtime.throttle import Throttle

BURST, EACH_S = 5, 10.0


def test_some_at_once_then_one_each_time() -> None:
    throttle = Throttle(BURST, EACH_S)
    assert [throttle.take(0.0) for _ in range(BURST)] == [0.0] * BURST
    assert throttle.take(0.0) == EACH_S
    assert throttle.take(4.0) == EACH_S - 4.0
    assert throttle.take(EACH_S) == 0.0
    assert throttle.take(EACH_S) == EACH_S


@given(st.lists(st.integers(0, 30), max_size=200))
def test_no_more_than_the_burst_and_one_each_time(gaps: list[int]) -> None:
    throttle, now, taken = Throttle(BURST, EACH_S), 0.0, list[float]()
    for gap in gaps:
        now += gap
        wait_s = throttle.take(now)
        if wait_s == 0.0:
            taken.append(now)
        assert wait_s <= EACH_S
    for first, begin in enumerate(taken):
        for count, end in enumerate(taken[first:], 1):
            assert count <= BURST + (end - begin) / EACH_S


def test_a_clock_that_is_set_back_forbids_nothing_for_ever() -> None:
    throttle = Throttle(BURST, EACH_S)
    for _ in range(BURST):
        throttle.take(1e9)
    assert throttle.take(0.0) <= EACH_S
    assert throttle.take(EACH_S) == 0.0
