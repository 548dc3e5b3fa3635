"""The aggregator's half of SPEC.md section 5: one function for each event and each row.

`do` is the list of actions that a step fills.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fedling_broker.rounds.events import (
    Action,
    CloseRound,
    Connected,
    Decision,
    Event,
    Folded,
    FoldRound,
    GrantPlace,
    JoinSeen,
    Opened,
    OpenRound,
    PublishPlan,
    PublishRest,
    RecordDecision,
    SendReceipt,
    SendTicket,
    StoreUpdate,
    Tick,
    UpdateSeen,
)
from fedling_broker.rounds.state import (
    DAY_S,
    Folding,
    Open,
    Opening,
    Over,
    Pausing,
    Phase,
    Rounds,
    between,
    whole_seconds,
)
from fedling_protocol.wire.messages import Answer, Verdict, WaitReason


def step(s: Rounds, event: Event, now_ms: int) -> tuple[Rounds, list[Action]]:
    """Advance the rounds of one task. Pure: no clock, no I/O, no randomness."""
    do: list[Action] = []
    s = ON[type(event)](s, event, now_ms, do)
    return advance(s, now_ms, do), do


# --- a join: the first row of the table that applies -----------------------------------------


def on_join(s: Rounds, join: JoinSeen, now: int, do: list[Action]) -> Rounds:
    known = join.known
    if not join.certified:
        wait(join, s.rules.wait_s, WaitReason.NOT_ENROLLED, do)
    elif not join.known_plan:
        tell(join, join.have, Verdict.REFUSED, "unknown plan", do)
    elif known and join.have in (None, known.update_hash):
        tell(join, known.update_hash, known.verdict, known.reason, do)
    elif known:
        tell(join, join.have, Verdict.REFUSED, "conflict", do)
    elif not isinstance(s.phase, Open) or s.phase.plan_id != join.plan_id:
        too_late_to_join(join, do)
    else:
        return with_phase(s, join_open(s, s.phase, join, now, do))
    return s


def too_late_to_join(join: JoinSeen, do: list[Action]) -> None:
    """About a finished update this is the last word; without one there is nothing to decide."""
    if join.have:
        decide(join, Decision(join.have, Verdict.LATE, ""), do)
    else:
        tell(join, None, Verdict.LATE, "", do)


def join_open(s: Rounds, phase: Open, join: JoinSeen, now: int, do: list[Action]) -> Open:
    """A device keeps its place until another one needs it, and has it prolonged."""
    age = now - phase.opened_ms
    until = phase.places.get(join.device)
    left = 0 if until is None else (until - age) // 1000 - s.rules.grace_s
    if left > 0:
        go(join, left, do)
    elif until is not None:
        return grant(s, phase, join, None, age, do)
    elif s.rules.cohort is not None and join.device not in s.rules.cohort:
        wait(join, DAY_S, WaitReason.NOT_IN_COHORT, do)
    elif len(phase.accepted) + len(phase.places) < s.rules.capacity:
        return grant(s, phase, join, None, age, do)
    else:
        return join_full(s, phase, join, age, do)
    return phase


def join_full(s: Rounds, phase: Open, join: JoinSeen, age: int, do: list[Action]) -> Open:
    """All places are taken, but one that has expired may be given away.

    There is one without an accepted update: fewer than the goal are accepted while a round is open.
    """
    oldest, until = min(phase.places.items(), key=lambda place: place[1])
    if until <= age:
        return grant(s, phase, join, oldest, age, do)
    wait(join, min(s.rules.wait_s, whole_seconds(until - age)), WaitReason.COHORT_FULL, do)
    return phase


def grant(
    s: Rounds, phase: Open, join: JoinSeen, instead_of: str | None, age: int, do: list[Action]
) -> Open:
    """Written down before it is said: a device that trains finds its place after any crash."""
    seconds = s.rules.ticket_s(age)
    until = age + (seconds + s.rules.grace_s) * 1000
    do.append(GrantPlace(phase.plan_id, join.device, until, instead_of, age))
    go(join, seconds, do)
    others = {device: end for device, end in phase.places.items() if device != instead_of}
    return replace(phase, places={**others, join.device: until})


# --- an update: the first row of the table that applies --------------------------------------


def on_update(s: Rounds, update: UpdateSeen, now: int, do: list[Action]) -> Rounds:
    known, update_hash = update.known, update.update_hash
    if known and known.update_hash == update_hash:
        tell(update, update_hash, Verdict.DUPLICATE, known.reason, do, of=known.verdict)
    elif known:
        tell(update, update_hash, Verdict.REFUSED, "conflict", do)
    elif not update.known_plan:
        tell(update, update_hash, Verdict.REFUSED, "unknown plan", do)
    elif not isinstance(s.phase, Open) or s.phase.plan_id != update.plan_id:
        decide(update, Decision(update_hash, Verdict.LATE, ""), do)
    elif update.device not in s.phase.places:
        decide(update, Decision(update_hash, Verdict.REFUSED, "no ticket"), do)
    elif update.misfit:
        decide(update, Decision(update_hash, Verdict.REFUSED, update.misfit), do)
        return replace(s, phase=without_place(s.phase, update.device))
    else:
        return replace(s, phase=accept(s.phase, update, now, do))
    return s


def accept(phase: Open, update: UpdateSeen, now: int, do: list[Action]) -> Open:
    """On disk first, then the word."""
    age = now - phase.opened_ms
    do.append(StoreUpdate(update.plan_id, update.device, update.update_hash, age))
    tell(update, update.update_hash, Verdict.ACCEPTED, "", do)
    phase = without_place(phase, update.device)
    return replace(phase, accepted=phase.accepted | {update.device})


def without_place(phase: Open, device: str) -> Open:
    return replace(phase, places={d: until for d, until in phase.places.items() if d != device})


# --- the round -------------------------------------------------------------------------------


def on_opened(s: Rounds, event: Opened, now: int, do: list[Action]) -> Rounds:
    do.append(PublishPlan(event.plan_id))
    return replace(s, phase=Open(event.plan_id, now))


def on_folded(s: Rounds, event: Folded, now: int, do: list[Action]) -> Rounds:
    s = between(s.rules, s.done + 1, now)
    if isinstance(s.phase, Over) or s.rules.pause_s:
        rest(s, now, do)
    return s


def on_connected(s: Rounds, event: Connected, now: int, do: list[Action]) -> Rounds:
    if isinstance(s.phase, Open):
        do.append(PublishPlan(s.phase.plan_id))
    elif isinstance(s.phase, Pausing | Over):
        rest(s, now, do)
    return s  # Opening, Folding: what is to be published follows at once


def on_tick(s: Rounds, event: Tick, now: int, do: list[Action]) -> Rounds:
    return s


def advance(s: Rounds, now: int, do: list[Action]) -> Rounds:
    """After every event: open, close or fold if it is time."""
    match s.phase:
        case Pausing(until_ms) if now >= until_ms:
            do.append(OpenRound(s.done + 1))
            return replace(s, phase=Opening())
        case Open():
            return with_phase(s, close_if_time(s, s.phase, now, do))
        case Folding(plan_id, asked=False):
            do.append(FoldRound(plan_id))
            return replace(s, phase=Folding(plan_id, asked=True))
    return s


def with_phase(s: Rounds, phase: Phase) -> Rounds:
    return s if phase is s.phase else replace(s, phase=phase)


def close_if_time(s: Rounds, phase: Open, now: int, do: list[Action]) -> Open | Folding:
    """At the goal; at the deadline, or ever after, with at least the minimum."""
    deadline = s.rules.deadline_ms
    overdue = deadline is not None and now - phase.opened_ms >= deadline
    if len(phase.accepted) < (s.rules.minimum if overdue else s.rules.goal):
        return phase if phase.overdue == overdue else replace(phase, overdue=overdue)
    do += [CloseRound(phase.plan_id), FoldRound(phase.plan_id)]
    return Folding(phase.plan_id, asked=True)


# --- words -----------------------------------------------------------------------------------


def go(join: JoinSeen, seconds: int, do: list[Action]) -> None:
    do.append(SendTicket(join.device, join.plan_id, join.nonce, Answer.GO, seconds, ""))


def wait(join: JoinSeen, seconds: int, reason: str, do: list[Action]) -> None:
    do.append(SendTicket(join.device, join.plan_id, join.nonce, Answer.WAIT, seconds, reason))


def decide(asked: JoinSeen | UpdateSeen, decision: Decision, do: list[Action]) -> None:
    """Written down before it is said."""
    do.append(RecordDecision(asked.plan_id, asked.device, decision))
    tell(asked, decision.update_hash, decision.verdict, decision.reason, do)


def tell(
    asked: JoinSeen | UpdateSeen,
    update_hash: bytes | None,
    verdict: Verdict,
    reason: str,
    do: list[Action],
    of: Verdict | None = None,
) -> None:
    do.append(SendReceipt(asked.device, asked.plan_id, update_hash, verdict, reason, of))


def rest(s: Rounds, now: int, do: list[Action]) -> None:
    until = s.phase.until_ms if isinstance(s.phase, Pausing) else now + DAY_S * 1000
    do.append(PublishRest(whole_seconds(until - now)))


Handler = Callable[[Rounds, Any, int, list[Action]], Rounds]  # each takes its own event

ON: dict[type[Event], Handler] = {
    Connected: on_connected,
    JoinSeen: on_join,
    UpdateSeen: on_update,
    Opened: on_opened,
    Folded: on_folded,
    Tick: on_tick,
}
