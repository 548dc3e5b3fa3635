"""What the rounds of a task remember; every value is replaced, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

DAY_S = 86_400  # what a ticket and a rest say when nothing limits them


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
    wait_s: int = 300  # what a wait ticket says at most; devices add back-off of their own


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
    connected: bool = False  # was there a Connected? Before it nothing can be published


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What the database says of the one plan that is not folded."""

    plan_id: bytes
    closed: bool
    age_ms: int
    """How long the round has been open. If it was opened since this machine's last boot (the
    boot id of the kernel is written down with the opening): boot-time clock minus its opening;
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
        finished = rules.rounds and done >= rules.rounds
        pause_ms = rules.pause_s * 1000 if done else 0
        return Rounds(rules, done, Over() if finished else Pausing(now_ms + pause_ms))
    if plan.closed:
        return Rounds(rules, done, Folding(plan.plan_id, asked=False))
    opened_ms = now_ms - plan.age_ms
    return Rounds(rules, done, Open(plan.plan_id, opened_ms, dict(plan.places), plan.accepted))
