"""When samples were taken: evenly between the first and the last, however they are cut."""

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from fedling_agent.data.streams import Row
from fedling_agent.data.times import NEAR_MS, Coming, Interval, Line, Times

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


def on_a_line(taken: list[int]) -> bool:
    """Whether each sample is a quarter of a step from a straight line, or of a second."""
    steps = len(taken) - 1
    slope = Fraction(taken[-1] - taken[0], steps)
    late = [abs(float(taken[0] + slope * n - moment)) for n, moment in enumerate(taken)]
    return max(late) <= max(250.0, abs(float(slope)) / 4) + 1


@given(
    st.integers(1, 50), st.integers(0, 9_000), st.integers(-40_000, 40_000), st.integers(1, 50),
    st.integers(0, 9_000),
)  # fmt: skip
@example(1, 0, 2000, 2, 1000)
@example(100, 1000, 1500, 100, 1500)  # a sensor that was slowed down
def test_goes_on_if_all_are_on_one_line(
    count: int, step: int, gap: int, more: int, then: int
) -> None:
    first = [1_000_000 + step * n for n in range(count)]
    others = [first[-1] + gap + then * n for n in range(more)]
    times, follow = Times(first[0], first[-1]), Times(others[0], others[-1])
    if count + more > 2 and times.goes_on(count, follow, more):
        assert on_a_line(first + others)


@given(st.integers(1, 50), st.integers(0, 9_000), st.integers(1, 50))
def test_an_even_sensor_goes_on(count: int, step: int, more: int) -> None:
    times = Times(500, 500 + step * (count - 1))
    follow = Times(times.last_ms + step, times.last_ms + step * more)
    assert times.goes_on(count, follow, more)


def test_the_second_sample_may_take_a_minute() -> None:
    told = [Times(5, 5).goes_on(1, Times(5 + n, 5 + n), 1) for n in (0, 60_000, 60_001)]
    assert told == [True, True, False]


@given(st.lists(st.integers(-30_000, 30_000), min_size=1, max_size=60))
def test_a_line_takes_what_is_near_it(steps: list[int]) -> None:
    taken, line = [1_000_000], Line(1_000_000)
    for step in steps:
        if not line.takes(taken[-1] + step):
            break
        taken.append(taken[-1] + step)
    times = Times(taken[0], taken[-1])
    late = [abs(times.at(n, len(taken)) - at) for n, at in enumerate(taken)]
    assert max(late) <= NEAR_MS + 2


@given(st.integers(0, 5000), st.integers(2, 400))
def test_a_clock_of_whole_seconds_is_on_one_line(step: int, count: int) -> None:
    line = Line(0)
    assert all(line.takes(step * n // 1000 * 1000) for n in range(1, count))


def test_a_file_says_nothing_of_when_it_came() -> None:
    assert Coming(None, 1, 5).of(Row(3, "r", None, None, (1,))) is None
    assert Coming(None, 1, 5).of(Row(3, "r", None, 5_000, (1,))) == 5


def test_a_row_with_a_time_was_taken_then_another_when_it_came() -> None:
    coming = Coming(Times(1000, 5000), 11, 5)
    assert coming.of(Row(13, "r", None, None, (1,))) == 3000
    assert coming.of(Row(13, "r", None, 77_000_999, (1,))) == 77_000
    assert [coming.of(Row(row, "r", None, None, (1,))) for row in (11, 15)] == [1000, 5000]
