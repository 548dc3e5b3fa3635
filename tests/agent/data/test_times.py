"""When samples were taken: evenly between the first and the last, however they are cut."""

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from fedling_agent.data.streams import Row
from fedling_agent.data.times import Coming, Interval, Times

MOMENTS = st.integers(0, 2_000_000_000_000)
TIMES = st.builds(Times, MOMENTS, MOMENTS)


def exactly(times: Times, place: int, count: int) -> Fraction:
    """A straight line through both ends."""
    steps = max(1, count - 1)
    return times.first_ms + Fraction((times.last_ms - times.first_ms) * place, steps)


@given(TIMES, st.integers(1, 500), st.data())
def test_a_sample_is_on_the_line_to_the_millisecond(
    times: Times, count: int, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, count - 1))
    assert 0 <= exactly(times, place, count) - times.at(place, count) < 1


@given(TIMES, st.integers(1, 500), st.data())
def test_a_part_has_the_times_of_its_samples(times: Times, count: int, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(begin + 1, count))
    part = times.part(begin, stop, count)
    place = data.draw(st.integers(begin, stop - 1))
    assert abs(part.at(place - begin, stop - begin) - times.at(place, count)) <= 2


@given(TIMES, st.integers(1, 300), MOMENTS, MOMENTS)
@example(Times(1000, 3000), 3, 1000, 3000)  # the end is left out
@example(Times(3000, 1000), 3, 1000, 3000)  # a clock was set back
@example(Times(5, 5), 4, 5, 6)
@example(Times(5, 5), 4, 4, 5)
def test_within_is_each_sample_asked_by_itself(
    times: Times, count: int, begin: int, end: int
) -> None:
    interval = Interval(begin, end)
    asked = [n for n in range(count) if begin <= times.at(n, count) < end]
    assert list(times.within(interval, count)) == asked


@given(st.integers(2, 50), st.integers(0, 20_000), st.integers(-40_000, 40_000))
def test_goes_on_as_evenly_as_before(count: int, step: int, late: int) -> None:
    times = Times(1_000_000, 1_000_000 + step * (count - 1))
    assert times.goes_on(count, times.last_ms + step + late) is (abs(late) <= max(250, step / 2))


def test_the_second_sample_may_take_a_minute() -> None:
    assert [Times(5, 5).goes_on(1, 5 + gap) for gap in (0, 60_000, 60_001)] == [True, True, False]


def test_a_row_with_a_time_was_taken_then_another_when_it_came() -> None:
    coming = Coming(Times(1000, 5000), 11, 5)
    assert coming.of(Row(13, "r", None, None, (1,))) == 3000
    assert coming.of(Row(13, "r", None, 77_000_999, (1,))) == 77_000
    assert [coming.of(Row(row, "r", None, None, (1,))) for row in (11, 15)] == [1000, 5000]
