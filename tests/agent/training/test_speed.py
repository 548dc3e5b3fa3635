"""How long a batch may take follows from its work and from what was measured."""

from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.training.speed import LEAST_S, MARGIN, PATIENCE, SLOWEST, Speed
from fedling_protocol.wire.limits import MAX_WORK

WORK = st.integers(1, MAX_WORK)


def test_deadline_before_anything_was_measured_is_that_of_a_slow_board() -> None:
    assert Speed().deadline_s(MAX_WORK, 0) == MARGIN * MAX_WORK / SLOWEST


def test_deadline_of_a_small_batch_is_the_least() -> None:
    assert Speed(duty=0.5).deadline_s(1000, 0) == LEAST_S


@given(st.lists(st.tuples(WORK, st.floats(1e-6, 1e4)), min_size=1), st.floats(0.001, 1))
def test_a_batch_as_slow_as_the_last_one_is_in_time(
    batches: list[tuple[int, float]], duty: float
) -> None:
    speed = Speed(duty)
    for work, spent_s in batches:
        speed.measured(work, spent_s)
    work, spent_s = batches[-1]
    assert speed.deadline_s(work, 0) >= 0.99 * MARGIN * spent_s / duty
    assert speed.pause_s(work) >= 0.99 * spent_s


@given(WORK, st.integers(0, 2))
def test_each_try_has_more_time(work: int, tries: int) -> None:
    speed = Speed()
    assert speed.deadline_s(work, tries + 1) == PATIENCE * speed.deadline_s(work, tries)
