"""Events in the order asked for; timers never early, never twice, none of the dead."""

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedling_protocol.runtime.conductor import Conductor
from fedling_sim.virtual.clock import US, Endless, Killed, NodeClock, WorldClock

SECONDS = st.floats(0, 1e6, allow_nan=False)


def test_events_of_one_instant_happen_in_the_order_asked_for() -> None:
    world = WorldClock()
    seen: list[str] = []

    def first(word: str) -> None:
        seen.append(word)
        world.at(world.now_us, seen.append, "asked for in that instant")
        world.at(0, seen.append, "asked for too late")

    world.at(20, seen.append, "later")
    world.at(10, first, "first")
    world.at(10, seen.append, "second")
    world.run(10)
    assert seen == ["first", "second", "asked for in that instant", "asked for too late"]
    assert world.now_us == 10
    world.run(30)
    assert (seen[-1], world.now_us, world.next_us(), world.turn()) == ("later", 30, None, False)


def test_killed_process_is_buried_and_the_instant_goes_on() -> None:
    world = WorldClock()
    seen: list[str] = []

    def die(_: None) -> None:
        raise Killed(partial(seen.append, "buried"))

    world.at(5, die, None)
    world.at(5, seen.append, "another process")
    world.run(5)
    assert seen == ["buried", "another process"]


# The example: a microsecond that is late enough, and whose seconds as a float are not.
@given(st.lists(st.tuples(SECONDS, SECONDS), max_size=20), SECONDS)
@example([(444.3500820000513, 1.0)], 933910.714)
def test_timers_run_once_in_order_and_never_early(
    timers: list[tuple[float, float]], boot_s: float
) -> None:
    world = WorldClock()
    clock = NodeClock(world, boot_s)
    fired: list[tuple[float, float]] = []

    def fire(due: float, again_s: float) -> None:
        fired.append((due, clock.now()))
        due = clock.now() + again_s
        clock.at(due, lambda: fired.append((due, clock.now())))

    for seconds, again_s in timers:
        due = clock.now() + seconds
        clock.at(due, partial(fire, due, again_s))
    while world.turn():
        pass
    assert len(fired) == 2 * len(timers)
    assert all(0 <= now - due < 3 / US for due, now in fired)
    assert [now for _, now in fired] == sorted(now for _, now in fired)


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=5), st.integers(0, 10**12))
def test_machine_ticked_at_a_millisecond_finds_itself_due(due_ms: list[int], boot_us: int) -> None:
    """Else a conductor would tick for ever in one instant of virtual time."""
    world = WorldClock()
    ticked: list[int] = []

    def step(state: int, event: str, now_ms: int) -> tuple[int, list[str]]:
        assert now_ms >= state or event == "begin"
        ticked.append(now_ms)
        left = [due for due in due_ms if due > now_ms]
        return (min(left) if left else 0), []

    def due(state: int) -> int | None:
        return state or None

    def tick() -> None:
        conductor.give("tick")

    conductor: Conductor[int, str, str] = Conductor(
        NodeClock(world, boot_us / US), 0, step, lambda _: None, due, tick
    )
    conductor.give("begin")
    while world.turn():
        assert len(ticked) <= len(due_ms) + 1
    assert ticked[1:] == sorted({due for due in due_ms if due > ticked[0]})


def test_suspended_board_finds_time_gone_and_what_became_due() -> None:
    world = WorldClock()
    one, other = NodeClock(world, 100.0, 5000.0), NodeClock(world, 7.0)
    seen: list[str] = []
    one.after(30, lambda: seen.append("one"))
    one.after(90, lambda: seen.append("one later"))
    other.after(20, lambda: seen.append("other"))
    one.jump(60)
    assert seen == []
    assert (round(one.now(), 3), round(one.wall(), 3), round(other.now(), 3)) == (160, 5060, 7)
    world.run(0)
    assert seen == ["one"]
    world.run(31 * US)
    assert seen == ["one", "other", "one later"]


def test_cancelled_timers_and_those_of_the_dead_do_not_run() -> None:
    world = WorldClock()
    clock = NodeClock(world)
    seen: list[str] = []
    clock.after(1, lambda: seen.append("cancelled")).cancel()
    clock.after(2, lambda: seen.append("alive"))
    clock.after(3, clock.close)
    clock.after(3, lambda: seen.append("dead"))
    world.run(4 * US)
    clock.after(1, lambda: seen.append("set by the dead"))
    world.run(10 * US)
    assert seen == ["alive"]


def test_timer_of_no_seconds_waits_until_the_callback_has_returned() -> None:
    world = WorldClock()
    clock = NodeClock(world, 3.0)
    seen: list[str] = []

    def call() -> None:
        clock.after(0, lambda: seen.append("then"))
        seen.append("first")

    clock.after(0, call)
    assert seen == []
    world.run(0)
    assert seen == ["first", "then"]


def test_instant_without_an_end_is_told() -> None:
    """It would take all memory, and no test of what comes later would ever run."""
    world = WorldClock(most_at_once=1000)
    clock = NodeClock(world)
    seen: list[int] = []

    def again() -> None:
        seen.append(world.now_us)
        clock.after(0, again)

    clock.after(2, again)
    with pytest.raises(Endless, match="at 2000000 us"):
        world.run(3 * US)
    assert len(seen) == 1000


def test_setting_the_wall_clock_makes_nothing_due() -> None:
    world = WorldClock()
    clock = NodeClock(world)
    seen: list[str] = []
    clock.after(10, lambda: seen.append("due"))
    clock.set_wall(1e9)
    world.run(US)
    assert (seen, clock.wall()) == ([], 1e9 + 1)


def count_down(clock: NodeClock, left: list[int]) -> Callable[[], None]:
    def call() -> None:
        left[0] -= 1
        if left[0]:
            clock.after(0.5, call)

    return call


def test_void_wake_ups_do_not_pile_up() -> None:
    """A timer that is set again and again, always earlier than the last: one wake-up each."""
    world = WorldClock()
    clock = NodeClock(world)
    for seconds in range(100, 0, -1):
        clock.after(seconds, lambda: None)
    left = [1000]
    clock.after(0.5, count_down(clock, left))
    while world.turn():
        pass
    assert left == [0]
    assert world.events < 100 + 1000 + 200


def test_timers_of_one_callback_wake_the_process_for_the_first_of_them() -> None:
    world = WorldClock()
    clock = NodeClock(world)

    def set_three() -> None:
        for seconds in (5, 4, 3):
            clock.after(seconds, lambda: None)

    clock.after(1, set_three)
    world.run(100 * US)
    assert world.events == 4
