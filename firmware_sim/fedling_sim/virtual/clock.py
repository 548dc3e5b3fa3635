"""Virtual time: the world's whole microseconds, and the boot-time clock of each process in it."""

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeVar

from fedling_protocol.runtime.loop import Timer

A = TypeVar("A")

US = 1_000_000  # world time in a second


class Killed(BaseException):
    """A process dies where this is raised; no `except Exception` of it may survive.

    bury: what becomes of the process, called when nothing of it is on the stack any more
    """

    def __init__(self, bury: Callable[[], None]) -> None:
        super().__init__("killed")
        self.bury = bury


class Endless(Exception):
    """In one instant something happens again and again, and time stands still."""


class WorldClock:
    """What is due when. Events of one instant happen in the order in which they were asked for.

    Times are kept in a heap, the events of one time in a list: a message on a network with one
    latency costs an append.
    """

    def __init__(self, most_at_once: int = 1_000_000) -> None:
        """most_at_once: events in one instant; turn() raises Endless when there are more."""
        self.now_us = 0
        self.events = 0  # that have happened
        self._most_at_once = most_at_once
        self._times: list[int] = []
        self._due: dict[int, list[tuple[Callable[[Any], None], Any]]] = {}

    def at(self, due_us: int, call: Callable[[A], None], argument: A) -> None:
        """Have call(argument) happen; at the end of this instant, if due_us is not later."""
        if due_us < self.now_us:
            due_us = self.now_us
        events = self._due.get(due_us)
        if events is None:
            self._due[due_us] = [(call, argument)]
            heappush(self._times, due_us)
        else:
            events.append((call, argument))

    def after(self, seconds: float, call: Callable[[A], None], argument: A) -> None:
        self.at(self.now_us + round(seconds * US), call, argument)

    def next_us(self) -> int | None:
        """When the next instant is; None: nothing will ever happen."""
        return self._times[0] if self._times else None

    def turn(self) -> bool:
        """Go to the next instant and let all of it happen. False: there is none. Raises Endless."""
        if not self._times:
            return False
        self.now_us = heappop(self._times)
        events = self._due[self.now_us]
        going = iter(events)  # it also meets what is appended meanwhile
        while True:
            try:
                for call, argument in going:
                    call(argument)
                    if len(events) > self._most_at_once:
                        raise Endless(f"at {self.now_us} us {call} again and again")
                break
            except Killed as killed:
                killed.bury()
        self.events += len(events)
        del self._due[self.now_us]
        return True

    def run(self, until_us: int) -> None:
        """Everything up to and including a time, which is then now."""
        while self._times and self._times[0] <= until_us:
            self.turn()
        self.now_us = max(self.now_us, until_us)


class NodeClock:
    """A Clock: time and timers of one process.

    boot_s: what the boot-time clock shows when the world's shows `world.now_us` of now
    wall_s: what the wall clock shows now

    It counts half microseconds past the whole one, so that it never stands on a whole millisecond:
    there, seconds * 1000 may round to the millisecond before, and a machine would be ticked at the
    instant that it asked for and find that it is not due, for ever.
    """

    __slots__ = (
        *("_ahead_us", "_armed_us", "_made", "_timers", "_told", "_wall_ahead_us", "closed"),
        *("_waking", "world"),
    )

    def __init__(self, world: WorldClock, boot_s: float = 0.0, wall_s: float = 0.0) -> None:
        self.world = world
        self.closed = False
        self._ahead_us = round(boot_s * US) - world.now_us + 0.5
        self._wall_ahead_us = round(wall_s * US) - world.now_us
        self._timers: list[tuple[float, int, Timer]] = []
        self._made = 0  # timers of one instant run in the order they were made
        self._armed_us: int | None = None  # when the world wakes us; other wake-ups are void
        self._told: Callable[[Exception], None] | None = None
        self._waking = False  # timers are being called

    def now(self) -> float:
        return (self.world.now_us + self._ahead_us) / US

    def wall(self) -> float:
        return (self.world.now_us + self._wall_ahead_us) / US

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        return self.at((self.world.now_us + self._ahead_us) / US + seconds, call)

    def at(self, due: float, call: Callable[[], None]) -> Timer:
        timer = Timer(due, call)
        if not self.closed:
            self._made += 1
            heappush(self._timers, (due, self._made, timer))
            if self._timers[0][2] is timer and not self._waking:
                self._arm()
        return timer

    def on_error(self, told: Callable[[Exception], None]) -> None:
        self._told = told

    def jump(self, seconds: float) -> None:
        """The board was suspended: so much time is gone at once, and what became due happens."""
        self._ahead_us += round(seconds * US)
        self._wall_ahead_us += round(seconds * US)
        self._arm()

    def set_wall(self, wall_s: float) -> None:
        """Somebody set the clock: nothing becomes due by that."""
        self._wall_ahead_us = round(wall_s * US) - self.world.now_us

    def close(self) -> None:
        """The process is dead: nothing of it happens any more."""
        self.closed = True
        self._timers.clear()
        self._armed_us = None

    def _arm(self) -> None:
        """Be woken for the first timer that nobody has cancelled."""
        timers = self._timers
        while timers and timers[0][2].cancelled:
            heappop(timers)
        if not timers:
            return
        world = self.world
        due = timers[0][0]
        due_us = math.ceil(due * US - self._ahead_us)
        if (due_us + self._ahead_us) / US < due:  # floats: now() would not have reached it
            due_us += 1
        due_us = max(due_us, world.now_us)
        if due_us != self._armed_us:
            self._armed_us = due_us
            world.at(due_us, self._wake, due_us)

    def _wake(self, armed_us: int) -> None:
        if armed_us != self._armed_us:
            return
        self._armed_us = None
        timers = self._timers
        moment, made = self.now(), self._made  # a timer set by a callback waits for the next turn
        self._waking = True  # what is due first is known when all were called
        try:
            while timers and timers[0][0] <= moment and timers[0][1] <= made:
                timer = heappop(timers)[2]
                if not timer.cancelled:
                    self._call(timer)
        finally:
            self._waking = False
            self._arm()

    def _call(self, timer: Timer) -> None:
        """As a loop does: what fails is told, and the next one is called."""
        try:
            timer.call()
        except Exception as error:
            if self._told is None:
                raise
            self._told(error)
