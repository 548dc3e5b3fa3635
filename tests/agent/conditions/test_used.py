"""What the day has cost: 24 hours of running, over restarts, whatever a clock says."""

from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.conditions.used import HOURS, Used

EVENTS = st.lists(
    st.one_of(st.integers(0, 10_000).map(float), st.integers(0, 10**6), st.none()), max_size=80
)


@given(EVENTS)
def test_totals_are_those_of_the_last_hours(events: list[float | int | None]) -> None:
    """A float: seconds of work; an integer: bytes; None: an hour is over."""
    used = Used()
    hours: list[list[float | int]] = [[]]
    for event in events:
        if event is None:
            hours.append([])
            used.next_hour()
        elif isinstance(event, float):
            hours[-1].append(event)
            used.work(event)
        else:
            hours[-1].append(event)
            used.move(event)
        again = Used()
        again.load(used.hours)
        assert again == used
    last = [one for hour in hours[-HOURS:] for one in hour]
    assert used.work_ms == 1000 * sum(one for one in last if isinstance(one, float))
    assert used.bytes == sum(one for one in last if isinstance(one, int))
    assert len(used.hours) <= HOURS


@given(st.lists(st.floats(0, 0.002), max_size=80))
def test_batches_below_a_millisecond_add_up(batches: list[float]) -> None:
    used = Used()
    for seconds in batches:
        used.work(seconds)
    assert abs(used.work_ms - 1000 * sum(batches)) <= 0.5 + 1e-6
