"""Who takes part in an open round: places with their ends, and what was decided."""

from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from fedling_broker.rounds.events import Decision
from fedling_protocol.wire.messages import Verdict

SLACK = 64  # ends of places that are gone may pile up to the number of places and so many


class Cohort:
    """Changed in place, O(log n) a device: the state that holds it is spent by each step.

    A device has a place, or a decision, or neither. An end (`until_ms`) is an age of the round.
    """

    def __init__(
        self,
        places: Mapping[str, int] | None = None,
        decisions: Mapping[str, Decision] | None = None,
    ) -> None:
        """Fill it. places: device to until_ms, as last granted. decisions: the first of each."""
        self._decisions = dict(decisions or {})
        self._until = {d: until for d, until in (places or {}).items() if d not in self._decisions}
        self.accepted = sum(d.verdict is Verdict.ACCEPTED for d in self._decisions.values())
        self._ends: list[tuple[int, str]] = []  # a heap; what `_until` does not confirm is void
        self._tidy()

    def __repr__(self) -> str:
        return f"Cohort({self._until}, {self._decisions})"

    @property
    def taken(self) -> int:
        """Places that nobody else can have: those held, and those of accepted updates."""
        return len(self._until) + self.accepted

    def until(self, device: str) -> int | None:
        """When the device's place ends; None: it has none."""
        return self._until.get(device)

    def decision(self, device: str) -> Decision | None:
        """What was decided about the device's update."""
        return self._decisions.get(device)

    def oldest(self) -> tuple[str, int] | None:
        """The device whose place ends first, and its end; None: nobody has a place."""
        while self._ends:
            until, device = self._ends[0]
            if self._until.get(device) == until:
                return device, until
            heappop(self._ends)
        return None

    def grant(self, device: str, until_ms: int, instead_of: str | None) -> None:
        """Give a place, or prolong it; `instead_of` loses its own."""
        if instead_of is not None:
            del self._until[instead_of]
        self._until[device] = until_ms
        heappush(self._ends, (until_ms, device))
        if len(self._ends) > 2 * len(self._until) + SLACK:
            self._tidy()

    def decide(self, device: str, decision: Decision) -> None:
        """Take in the first word on the device's update; its place ends with it."""
        self._decisions[device] = decision
        self._until.pop(device, None)
        self.accepted += decision.verdict is Verdict.ACCEPTED

    def leave(self, device: str) -> None:
        """Take a device's place, if it has one."""
        self._until.pop(device, None)

    def _tidy(self) -> None:
        self._ends = [(until, device) for device, until in self._until.items()]
        heapify(self._ends)
