"""What the rounds of a task remember; every value is replaced, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

DAY_S = 86_400  # what a ticket, a wait or a rest says when nothing limits it


@dataclass(frozen=True, slots=True)
class Rules:
    """How rounds go, from the task file."""

    goal: int  # a round closes at so many accepted updates
    minimum: int  # after the deadline it closes at so many; 1 <= minimum <= goal
    rounds: int  # rest after so many; 0: for ever
    over_selection: int = 300  # places beyond the goal, in thousandths of it
    deadline_ms: int | None = None
    cohort: frozenset[str] | None = None  # named devices; each has its place, goal <= their number
    pause_s: int = 0  # rest between rounds
    wait_s: int = 300  # what a wait ticket says at most; devices add jitter of their own
    grace_s: int = 300  # a place outlasts its ticket: what began in time may still arrive

    @property
    def capacity(self) -> int:
        """Places in a cohort."""
        if self.cohort is not None:
            return len(self.cohort)
        return self.goal + -(-self.goal * self.over_selection // 1000)

    def ticket_s(self, age_ms: int) -> int:
        """How long a new ticket is good when the round is so old: to its deadline.

        After the deadline, when a round waits for its minimum, it is as long as a round.
        """
        if self.deadline_ms is None:
            return DAY_S
        left_ms = self.deadline_ms - age_ms
        return whole_seconds(left_ms if left_ms > 0 else self.deadline_ms)


def whole_seconds(ms: int) -> int:
    """Rounded up, at least 1."""
    return max(1, -(-ms // 1000))


@dataclass(frozen=True, slots=True)
class Pausing:
    """No round is open; the next one opens at `until_ms`."""

    until_ms: int


@dataclass(frozen=True, slots=True)
class Opening:
    """OpenRound was asked for."""


@dataclass(frozen=True, slots=True)
class Open:
    """A plan is out. Places expire by the age of the round: now - opened_ms."""

    plan_id: bytes
    opened_ms: int
    places: Mapping[str, int] = field(default_factory=dict)  # device: until_ms; no decision yet
    accepted: frozenset[str] = frozenset()  # devices
    overdue: bool = False  # past its deadline, with fewer than the minimum


@dataclass(frozen=True, slots=True)
class Folding:
    """The plan is closed; FoldRound was asked for if `asked`."""

    plan_id: bytes
    asked: bool


@dataclass(frozen=True, slots=True)
class Over:
    """All rounds are done."""


Phase = Pausing | Opening | Open | Folding | Over


@dataclass(frozen=True, slots=True)
class Rounds:
    """The rounds of one task."""

    rules: Rules
    done: int  # rounds folded; the one in work, or the next, has number done + 1
    phase: Phase


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What the database says of the one plan that is not folded."""

    plan_id: bytes
    closed: bool
    age_ms: int
    """How long the round has been open. If it was opened since this machine's last boot (the
    kernel's boot id is written down with the opening): boot-time clock now minus at its opening;
    else the largest at_ms written down for it (0: none). Never too large, so no place is given
    away too early."""
    places: Mapping[str, int]  # device: until_ms of its GrantPlace; only those without a decision
    accepted: frozenset[str]  # devices


def restore(rules: Rules, done: int, plan: OnDisk | None, now_ms: int) -> Rounds:
    """The rounds after a start, from what is on disk. The shell then gives Tick, and Connected.

    done: rounds folded
    A pause between rounds begins anew.
    """
    if plan is None:
        return between(rules, done, now_ms)
    if plan.closed:
        return Rounds(rules, done, Folding(plan.plan_id, asked=False))
    opened_ms = now_ms - plan.age_ms
    return Rounds(rules, done, Open(plan.plan_id, opened_ms, dict(plan.places), plan.accepted))


def between(rules: Rules, done: int, now_ms: int) -> Rounds:
    """No plan is open, `done` rounds are folded."""
    if rules.rounds and done >= rules.rounds:
        return Rounds(rules, done, Over())
    return Rounds(rules, done, Pausing(now_ms + (rules.pause_s * 1000 if done else 0)))


def due(s: Rounds) -> int | None:
    """When the next Tick is due; None: not before another event. Ask again after each step."""
    if isinstance(s.phase, Pausing):
        return s.phase.until_ms
    if isinstance(s.phase, Open) and s.rules.deadline_ms is not None and not s.phase.overdue:
        return s.phase.opened_ms + s.rules.deadline_ms
    return None
