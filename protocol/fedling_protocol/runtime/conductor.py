"""Between a pure state machine and the world: events in, one action after another out.

Both shells have one conductor for each task. It holds the contract of session/events.py and
rounds/events.py: one event at a time is given to `step`, the actions are executed in their order,
and what an action brings about is an event that waits until the whole list was executed. An action
that goes on beside the loop (a durable write) holds the next ones back until it is done.
"""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from fedling_protocol.runtime.loop import Clock, Timer
from fedling_protocol.runtime.worker import Failed, raise_

S = TypeVar("S")  # the machine's state
E = TypeVar("E")  # its events
A = TypeVar("A")  # its actions

ROUNDING_S = 1e-6  # a float of seconds must not be a millisecond short of what is due

Step = Callable[[S, E, int], tuple[S, list[A]]]


class Conductor(Generic[S, E, A]):
    """Drives one machine. `state` is what the last step returned.

    step: pure; milliseconds of the boot-time clock are its third argument
    perform: executes one action; may call hold() and give()
    due: when the machine wants a tick, in the same milliseconds
    on_due: called at that time; it gives the tick, as soon as a shell is ready for an event
    failed: told what a step or an action raised; the machine is closed before, since its state is
    half of what it should be. By default it is raised
    """

    def __init__(
        self,
        clock: Clock,
        state: S,
        step: Step[S, E, A],
        perform: Callable[[A], None],
        due: Callable[[S], int | None],
        on_due: Callable[[], None],
        failed: Failed = raise_,
    ) -> None:
        self.state = state
        self.closed = False
        self._clock = clock
        self._step = step
        self._perform = perform
        self._due = due
        self._on_due = on_due
        self._failed = failed
        self._events: deque[E] = deque()
        self._actions: deque[A] = deque()
        self._timer: Timer | None = None
        self._timer_ms: int | None = None
        self._held = 0
        self._going = False

    @property
    def busy(self) -> bool:
        """Whether an action is under way, or something waits for it."""
        return self._held > 0 or bool(self._events) or bool(self._actions)

    def give(self, event: E) -> None:
        """Step on this event, unless something is being executed: then when that is done."""
        self._events.append(event)
        self._go_on()

    def hold(self) -> None:
        """Hold the next actions back: this one goes on beside the loop, and release() follows."""
        self._held += 1

    def release(self) -> None:
        """Let the next action begin: the one that held it back is done."""
        self._held -= 1
        self._go_on()

    def close(self) -> None:
        """Take no step, action or tick any more. What is on disk stays."""
        self.closed = True
        self._events.clear()
        self._actions.clear()
        self._set_timer(None)

    def _go_on(self) -> None:
        if self._going:
            return
        self._going = True
        try:
            while not self._held and not self.closed and self._advance():
                pass
        except Exception as error:  # noqa: BLE001 (the boundary of a task)
            self.close()
            self._failed(error)
        finally:
            self._going = False
        # While an action is held, nobody could take a tick: what is due then would ring for ever.
        if not self.closed and not self._held:
            self._set_timer(self._due(self.state))

    def _advance(self) -> bool:
        """Execute the next action, else take the next event. False: there is none."""
        if self._actions:
            self._perform(self._actions.popleft())
        elif self._events:
            event = self._events.popleft()
            self.state, actions = self._step(self.state, event, self._now_ms())
            self._actions.extend(actions)
        else:
            return False
        return True

    def _now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    def _set_timer(self, due_ms: int | None) -> None:
        if due_ms == self._timer_ms:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms, self._timer = due_ms, None
        if due_ms is not None:
            self._timer = self._clock.at(due_ms / 1000 + ROUNDING_S, self._ring)

    def _ring(self) -> None:
        """Set again after the next step, at the same time if that did not change it."""
        self._timer = self._timer_ms = None
        self._on_due()
