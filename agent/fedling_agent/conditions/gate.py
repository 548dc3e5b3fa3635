"""What one task may do now: the decision, with the memory that hysteresis and dwell need."""

from collections.abc import Callable
from functools import partial

from fedling_agent.conditions.condition import Readings
from fedling_agent.conditions.decision import Allowance, Memory, decide
from fedling_agent.conditions.policy import Policy
from fedling_agent.conditions.watcher import Watcher
from fedling_protocol.wire.messages import Conditions

Then = Callable[[Allowance, Readings], None]


class Gate:
    """Says what one task may do now, and remembers what that depends on."""

    def __init__(self, policy: Policy, watcher: Watcher, asked: Callable[[], Conditions | None]):
        """asked: what the task's plan asks of a device, None when none is known."""
        self._policy = policy
        self._watcher = watcher
        self._asked = asked
        self._memory = Memory()
        self._decided: tuple[Readings, Conditions | None, Allowance] | None = None

    @property
    def fresh(self) -> bool:
        """Whether look() may be acted on; else refresh() first."""
        return self._watcher.fresh

    def look(self) -> Allowance:
        """Decide on the latest readings. No I/O, no waiting."""
        return self._decide(self._watcher.latest)

    def refresh(self, then: Then) -> None:
        """Decide on readings made from now on; `then` is called later, from the loop."""
        self._watcher.refresh(partial(self._answer, then))

    def _answer(self, then: Then, readings: Readings) -> None:
        then(self._decide(readings), readings)

    def _decide(self, readings: Readings) -> Allowance:
        asked, last = self._asked(), self._decided
        if last is not None and last[0] is readings and last[1] == asked:
            return last[2]  # said again of the same readings it is the same
        allowance, self._memory = decide(self._policy, asked, readings, self._memory)
        self._decided = readings, asked, allowance
        return allowance
