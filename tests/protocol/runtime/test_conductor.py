"""Events one at a time, actions in order, what they bring about after the whole list."""

from fedling_protocol.runtime.conductor import Conductor
from tests.support.ports import HandClock


class World:
    """A machine that answers each word with the letters of it, and writes down what is done."""

    def __init__(self) -> None:
        self.clock = HandClock(0.0)
        self.done: list[str] = []
        self.conductor: Conductor[int, str, str] = Conductor(
            self.clock, 0, self.step, self.perform, self.due, lambda: self.conductor.give("tick")
        )

    def step(self, state: int, event: str, now_ms: int) -> tuple[int, list[str]]:
        self.done.append(f"[{event}]")
        return state + 1, list(event) if event.isupper() else []

    def due(self, state: int) -> int | None:
        return 5000 if state == 1 else None

    def perform(self, action: str) -> None:
        self.done.append(action)
        if action == "H":
            self.conductor.hold()
        if action == "G":
            self.conductor.give("XY")


def test_actions_of_an_event_come_before_the_next_event() -> None:
    world = World()
    world.conductor.give("AGB")
    assert world.done == ["[AGB]", "A", "G", "B", "[XY]", "X", "Y"]
    assert world.conductor.state == 2


def test_held_action_keeps_what_follows_back_until_released() -> None:
    world = World()
    world.conductor.give("AHB")
    world.conductor.give("C")
    assert world.done == ["[AHB]", "A", "H"]
    assert world.conductor.busy
    world.conductor.release()
    assert world.done == ["[AHB]", "A", "H", "B", "[C]", "C"]
    assert not world.conductor.busy


def test_time_that_comes_while_an_action_is_held_rings_once() -> None:
    world = World()
    world.conductor.give("A")
    world.conductor.give("H")
    world.conductor.state = 1
    world.conductor.give("B")
    for seconds in (6, 7, 8):
        world.clock.move_to(seconds)
    world.conductor.release()
    assert world.done == ["[A]", "A", "[H]", "H", "[B]", "B", "[tick]"]


def test_machine_that_is_due_is_not_ticked_while_an_action_is_held() -> None:
    """It could do nothing: ticks would only pile up, as fast as the loop turns."""
    world = World()
    world.conductor.give("H")
    world.clock.move_to(6.0)
    assert world.clock.waiting == 0
    world.conductor.release()
    world.clock.move_to(7.0)
    assert world.done == ["[H]", "H", "[tick]"]


def test_closed_conductor_does_nothing_more() -> None:
    world = World()
    world.conductor.give("H")
    world.conductor.give("A")
    world.conductor.close()
    world.conductor.release()
    world.conductor.give("B")
    world.clock.move_to(10)
    assert world.done == ["[H]", "H"]


def test_tick_comes_when_it_is_due_and_once() -> None:
    world = World()
    world.conductor.give("A")
    world.clock.move_to(4)
    assert world.done == ["[A]", "A"]
    world.clock.move_to(5.001)
    assert world.done == ["[A]", "A", "[tick]"]
    world.clock.move_to(20)
    assert world.done == ["[A]", "A", "[tick]"]


def test_tick_is_never_a_millisecond_too_early() -> None:
    """A machine that was asked too early says the same time again: then nothing came any more."""
    early: list[int] = []
    for due in range(1_234_500, 1_235_500):
        clock = HandClock(0.0)
        ticks: list[int] = []

        def step(
            state: int, event: str, now_ms: int, ticks: list[int] = ticks
        ) -> tuple[int, list[str]]:
            ticks.append(now_ms)
            return state, []

        conductor: Conductor[int, str, str] = Conductor(
            clock, due, step, lambda _: None, lambda state: state, lambda: None
        )
        conductor.give("start")
        clock.move_to(clock.next_due)
        conductor.give("tick")
        early += [due] if ticks[-1] < due else []
    assert early == []
