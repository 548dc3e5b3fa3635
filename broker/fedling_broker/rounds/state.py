"""What the rounds of a task remember.

A state is spent when it is given to `machine.step`, since an open round's cohort is changed in
place: go on from the state that step returns. Nobody needs an old one. If a durable action fails,
the shell rebuilds the state from disk.
"""

from collections.abc import Mapping
from dataclasses import field

from fedling_broker.rounds.cohort import Cohort
from fedling_broker.rounds.events import Decision
from fedling_broker.rounds.policy import Policy
from fedling_broker.rounds.terms import Terms
from fedling_protocol.classes import dataclass


@dataclass(frozen=True, slots=True)
class Rules:
    """How the rounds of a task follow one another, from the task file."""

    policy: Policy  # how one round is held
    rounds: int  # rest after so many; 0: for ever
    pause_s: int = 0  # rest between rounds
    paused: bool = False  # rest after the one in work


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
    terms: Terms
    cohort: Cohort = field(default_factory=Cohort)
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
    """All that is remembered of the rounds of one task."""

    rules: Rules
    done: int  # rounds folded, -1: nor statistics; the one in work or the next is done + 1
    phase: Phase


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What the database says of the one plan that is not folded."""

    plan_id: bytes
    terms: Terms
    closed: bool
    age_ms: int
    """How long the round has been open. If it was opened since this machine's last boot (the
    kernel's boot id is written down with the opening): boot-time clock now minus at its opening;
    else the largest at_ms written down for it (0: none). Never too large, so no place is given
    away too early."""
    places: Mapping[str, int]  # device: until_ms of its GrantPlace, if it has no decision
    decisions: Mapping[str, Decision]  # device: the first that was written down


def restore(rules: Rules, done: int, plan: OnDisk | None, now_ms: int) -> Rounds:
    """Make the rounds after a start, from what is on disk. The shell gives Tick, then Connected.

    done: as in Rounds
    A pause between rounds begins anew.
    """
    if plan is None:
        return between(rules, done, now_ms)
    if plan.closed:
        return Rounds(rules, done, Folding(plan.plan_id, asked=False))
    cohort = Cohort(plan.places, plan.decisions)
    return Rounds(rules, done, Open(plan.plan_id, now_ms - plan.age_ms, plan.terms, cohort))


def between(rules: Rules, done: int, now_ms: int) -> Rounds:
    """Make the phase in which no plan is open and `done` rounds are folded."""
    if rules.paused or (rules.rounds and done >= rules.rounds):
        return Rounds(rules, done, Over())
    return Rounds(rules, done, Pausing(now_ms + (rules.pause_s * 1000 if done > 0 else 0)))


def due(s: Rounds) -> int | None:
    """Tell when the next Tick is due; None: not before another event. Ask again after each step."""
    if isinstance(s.phase, Pausing):
        return s.phase.until_ms
    if isinstance(s.phase, Open) and not s.phase.overdue:
        deadline_ms = s.rules.policy.deadline_ms
        return None if deadline_ms is None else s.phase.opened_ms + deadline_ms
    return None


def open_plan(s: Rounds) -> bytes | None:
    """The plan about which the state knows every decision; about others the database does."""
    return s.phase.plan_id if isinstance(s.phase, Open) else None
