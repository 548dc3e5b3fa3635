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
    DeviceGone,
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
from fedling_broker.rounds.policy import DAY_S, Keep, Policy, Take, TurnAway, whole_seconds
from fedling_broker.rounds.state import (
    Folding,
    Open,
    Opening,
    Over,
    Pausing,
    Rounds,
    between,
)
from fedling_broker.rounds.terms import misfit
from fedling_protocol.wire.messages import Answer, Join, Receipt, Ticket, Verdict, WaitReason


def step(s: Rounds, event: Event, now_ms: int) -> tuple[Rounds, list[Action]]:
    """Advance the rounds of one task; `s` is spent. Pure: no clock, no I/O, no randomness."""
    do: list[Action] = []
    s = ON[type(event)](s, event, now_ms, do)
    return advance(s, now_ms, do), do


# --- a join: the first row of the table that applies -----------------------------------------


def on_join(s: Rounds, event: JoinSeen, now: int, do: list[Action]) -> Rounds:
    join, phase = event.join, open_for(s, event.join.plan_id)
    known = known_decision(phase, event)
    if not event.certified:
        wait(event, s.rules.policy.wait_s, WaitReason.NOT_ENROLLED, do)
    elif phase is None and event.past is None:
        tell(event, join.have, Verdict.REFUSED, "unknown plan", do)
    elif known and join.have in (None, known.update_hash):
        tell(event, known.update_hash, known.verdict, known.reason, do)
    elif known:
        tell(event, join.have, Verdict.REFUSED, "conflict", do)
    elif phase is None:
        too_late_to_join(event, do)
    else:
        admit(s.rules.policy, phase, event, now, do)
    return s


def open_for(s: Rounds, plan_id: bytes) -> Open | None:
    """Find the open round, if this is its plan."""
    return s.phase if isinstance(s.phase, Open) and s.phase.plan_id == plan_id else None


def known_decision(phase: Open | None, event: JoinSeen | UpdateSeen) -> Decision | None:
    """Find what was decided before about this device and the plan that it speaks of."""
    if phase is not None:
        return phase.cohort.decision(event.device)
    return None if event.past is None else event.past.decision


def too_late_to_join(event: JoinSeen, do: list[Action]) -> None:
    """About a finished update this is the last word; without one there is nothing to decide."""
    if event.join.have:
        decide(event, Decision(event.join.have, Verdict.LATE, ""), None, do)
    else:
        tell(event, None, Verdict.LATE, "", do)


def admit(policy: Policy, phase: Open, event: JoinSeen, now: int, do: list[Action]) -> None:
    """A place is written down before it is said: a device that trains finds it after any crash."""
    age = now - phase.opened_ms
    match policy.admit(phase.cohort, event.device, age):
        case Keep(seconds):
            go(event, seconds, do)
        case TurnAway(seconds, reason):
            wait(event, seconds, reason, do)
        case Take(seconds, until_ms, instead_of):
            phase.cohort.grant(event.device, until_ms, instead_of)
            do.append(GrantPlace(phase.plan_id, event.device, until_ms, instead_of, age))
            go(event, seconds, do)


# --- an update: the first row of the table that applies --------------------------------------


def on_update(s: Rounds, event: UpdateSeen, now: int, do: list[Action]) -> Rounds:
    update_hash, phase = event.update_hash, open_for(s, event.update.plan_id)
    known = known_decision(phase, event)
    if known and known.update_hash == update_hash:
        tell(event, update_hash, Verdict.DUPLICATE, known.reason, do, of=known.verdict)
    elif known:
        tell(event, update_hash, Verdict.REFUSED, "conflict", do)
    elif phase is None and event.past is None:
        tell(event, update_hash, Verdict.REFUSED, "unknown plan", do)
    elif phase is None:
        decide(event, Decision(update_hash, Verdict.LATE, ""), None, do)
    elif phase.cohort.until(event.device) is None:
        decide(event, Decision(update_hash, Verdict.REFUSED, "no ticket"), phase, do)
    elif reason := misfit(phase.terms, event.update):
        decide(event, Decision(update_hash, Verdict.REFUSED, reason), phase, do)
    elif event.unreadable:
        decide(event, Decision(update_hash, Verdict.REFUSED, "vector"), phase, do)
    else:
        accept(phase, event, now, do)
    return s


def is_to_be_read(s: Rounds, event: UpdateSeen) -> bool:
    """Whether nothing but its vector decides about a coded update."""
    phase = open_for(s, event.update.plan_id)
    return (
        phase is not None
        and phase.terms.is_coded
        and phase.cohort.decision(event.device) is None
        and phase.cohort.until(event.device) is not None
        and not misfit(phase.terms, event.update)
    )


def is_awaited(s: Rounds, plan_id: bytes, device: str) -> bool:
    """Whether an update of this device may be accepted: then its chunks are kept."""
    phase = open_for(s, plan_id)
    if phase is None or phase.cohort.decision(device) is not None:
        return False
    return phase.cohort.until(device) is not None


def accept(phase: Open, event: UpdateSeen, now: int, do: list[Action]) -> None:
    """Accept an update: on disk first, then the word."""
    phase.cohort.decide(event.device, Decision(event.update_hash, Verdict.ACCEPTED, ""))
    age = now - phase.opened_ms
    do.append(
        StoreUpdate(event.device, event.update, event.message, event.update_hash, age, event.read)
    )
    tell(event, event.update_hash, Verdict.ACCEPTED, "", do)


def on_gone(s: Rounds, event: DeviceGone, now: int, do: list[Action]) -> Rounds:
    """Its place is free at once. What was accepted of it stays."""
    if isinstance(s.phase, Open):
        s.phase.cohort.leave(event.device)
    return s


# --- the round -------------------------------------------------------------------------------


def on_opened(s: Rounds, event: Opened, now: int, do: list[Action]) -> Rounds:
    do.append(PublishPlan(event.plan_id))
    return replace(s, phase=Open(event.plan_id, now, event.terms))


def on_folded(s: Rounds, event: Folded, now: int, do: list[Action]) -> Rounds:
    s = between(s.rules, s.done + 1, now)
    if not isinstance(s.phase, Pausing) or s.phase.until_ms > now:
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
    """Open, close or fold if it is time; after every event."""
    match s.phase:
        case Pausing(until_ms) if now >= until_ms:
            do.append(OpenRound(s.done + 1))
            return replace(s, phase=Opening())
        case Open() as phase:
            return close_if_time(s, phase, now, do)
        case Folding(plan_id, asked=False):
            do.append(FoldRound(plan_id))
            return replace(s, phase=Folding(plan_id, asked=True))
    return s


def close_if_time(s: Rounds, phase: Open, now: int, do: list[Action]) -> Rounds:
    """Close when the policy has enough; it may ask for less once the round is overdue."""
    policy = s.rules.policy
    deadline = policy.deadline_ms
    overdue = deadline is not None and now - phase.opened_ms >= deadline
    if policy.enough(phase.cohort, overdue):
        do += [CloseRound(phase.plan_id), FoldRound(phase.plan_id)]
        return replace(s, phase=Folding(phase.plan_id, asked=True))
    return s if phase.overdue == overdue else replace(s, phase=replace(phase, overdue=overdue))


# --- words -----------------------------------------------------------------------------------


def go(event: JoinSeen, seconds: int, do: list[Action]) -> None:
    said = replace(ticket(event.join, Answer.GO, seconds), here=event.here)
    do.append(SendTicket(event.device, said))


def wait(event: JoinSeen, seconds: int, reason: str, do: list[Action]) -> None:
    do.append(SendTicket(event.device, ticket(event.join, Answer.WAIT, seconds, reason)))


def ticket(join: Join, answer: Answer, seconds: int, reason: str = "") -> Ticket:
    return Ticket(join.plan_id, join.nonce, answer, seconds, reason)


def decide(
    event: JoinSeen | UpdateSeen, decision: Decision, phase: Open | None, do: list[Action]
) -> None:
    """Decide on an update; written down before it is said. phase: its open round, if one is."""
    if phase is not None:
        phase.cohort.decide(event.device, decision)
    size = len(event.message) if isinstance(event, UpdateSeen) else 0
    do.append(RecordDecision(plan_of(event), event.device, decision, size))
    tell(event, decision.update_hash, decision.verdict, decision.reason, do)


def tell(
    event: JoinSeen | UpdateSeen,
    update_hash: bytes | None,
    verdict: Verdict,
    reason: str,
    do: list[Action],
    of: Verdict | None = None,
) -> None:
    do.append(SendReceipt(event.device, Receipt(plan_of(event), update_hash, verdict, reason, of)))


def plan_of(event: JoinSeen | UpdateSeen) -> bytes:
    return (event.join if isinstance(event, JoinSeen) else event.update).plan_id


def rest(s: Rounds, now: int, do: list[Action]) -> None:
    until = s.phase.until_ms if isinstance(s.phase, Pausing) else now + DAY_S * 1000
    do.append(PublishRest(whole_seconds(until - now)))


Handler = Callable[[Rounds, Any, int, list[Action]], Rounds]  # each takes its own event

ON: dict[type[Event], Handler] = {
    Connected: on_connected,
    JoinSeen: on_join,
    UpdateSeen: on_update,
    DeviceGone: on_gone,
    Opened: on_opened,
    Folded: on_folded,
    Tick: on_tick,
}
