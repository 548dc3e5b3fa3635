"""Synchronous rounds: a fixed number of places, closed at the goal or at the deadline."""

from fedling_broker.rounds.cohort import Cohort
from fedling_broker.rounds.policy import DAY_S, Admission, Keep, Take, TurnAway, whole_seconds
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import WaitReason


@dataclass(frozen=True, slots=True)
class Synchronous:
    """The policy of synchronous rounds, with the numbers of a task file."""

    goal: int  # a round closes at so many accepted updates
    minimum: int  # after the deadline it closes at so many; 1 <= minimum <= goal
    over_selection: int = 300  # places beyond the goal, in thousandths of it
    deadline_ms: int | None = None
    members: frozenset[str] | None = None  # named devices; each has its place, goal <= their number
    wait_s: int = 300  # what a wait ticket says at most; devices add jitter of their own
    grace_s: int = 300  # a place outlasts its ticket: what began in time may still arrive

    @property
    def capacity(self) -> int:
        """How many places a cohort has."""
        if self.members is not None:
            return len(self.members)
        return self.goal + -(-self.goal * self.over_selection // 1000)

    def admit(self, cohort: Cohort, device: str, age_ms: int) -> Admission:
        """A device keeps its place until another one needs it, and has it prolonged."""
        until = cohort.until(device)
        if until is not None:
            left = (until - age_ms) // 1000 - self.grace_s
            return Keep(left) if left > 0 else self.take(age_ms)
        if self.members is not None and device not in self.members:
            return TurnAway(DAY_S, WaitReason.NOT_IN_COHORT)
        if cohort.taken < self.capacity:
            return self.take(age_ms)
        return self.when_full(cohort, age_ms)

    def when_full(self, cohort: Cohort, age_ms: int) -> Admission:
        """All places are taken, but one that has expired may be given away."""
        oldest = cohort.oldest()
        assert oldest is not None  # fewer than the goal are accepted while a round is open
        device, until = oldest
        if until <= age_ms:
            return self.take(age_ms, device)
        return TurnAway(min(self.wait_s, whole_seconds(until - age_ms)), WaitReason.COHORT_FULL)

    def take(self, age_ms: int, instead_of: str | None = None) -> Take:
        """Give a place, its ticket as long as `ticket_s` says."""
        seconds = self.ticket_s(age_ms)
        return Take(seconds, age_ms + (seconds + self.grace_s) * 1000, instead_of)

    def ticket_s(self, age_ms: int) -> int:
        """Tell how long a new ticket is good when the round is so old: to its deadline.

        After the deadline, when a round waits for its minimum, it is as long as a round.
        """
        if self.deadline_ms is None:
            return DAY_S
        left_ms = self.deadline_ms - age_ms
        return whole_seconds(left_ms if left_ms > 0 else self.deadline_ms)

    def enough(self, cohort: Cohort, overdue: bool) -> bool:
        """Whether the goal is reached or, from the deadline on, the minimum."""
        return cohort.accepted >= (self.minimum if overdue else self.goal)
