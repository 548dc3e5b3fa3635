"""Looks at the conditions for one task: reads, decides, remembers what hysteresis needs."""

import time
from collections.abc import Callable

from fedling_agent.conditions import policy, sensors
from fedling_agent.conditions.policy import Allowance, Memory, Policy
from fedling_agent.conditions.sensors import Readings, Roots
from fedling_agent.training.process import LEASE_NS
from fedling_protocol.wire.messages import Conditions


class Watcher:
    """The readings of this device, read again when they are older than a lease."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._last: Readings | None = None

    def readings(self, *, fresh: bool = False) -> Readings:
        """fresh: read now; else a reading of the last 200 ms will do."""
        last = self._last
        if fresh or last is None or time.monotonic_ns() - last.at_ns >= LEASE_NS:
            self._last = last = sensors.read(self._roots)
        return last


class Gate:
    """What one task may do now."""

    def __init__(self, policy_: Policy, watcher: Watcher, asked: Callable[[], Conditions | None]):
        """asked: what the task's plan asks of a device, None when none is known."""
        self._policy = policy_
        self._watcher = watcher
        self._asked = asked
        self._memory = Memory()

    def look(self, *, fresh: bool = False) -> tuple[Allowance, Readings]:
        """The decision and what it was made from."""
        readings = self._watcher.readings(fresh=fresh)
        allowance, self._memory = policy.decide(self._policy, self._asked(), readings, self._memory)
        return allowance, readings
