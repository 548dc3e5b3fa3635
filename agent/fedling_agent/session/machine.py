"""The device's half of SPEC.md section 5: one function for each event, then what is allowed now.

`do` is the list of actions that a step fills.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fedling_agent.session.events import (
    Action,
    Allowed,
    AskPlan,
    CancelFetch,
    CancelUpdate,
    Connected,
    Disconnected,
    Enrolled,
    Erase,
    Event,
    FetchModel,
    ModelComing,
    ModelStored,
    PauseTraining,
    PlanOver,
    PlanSeen,
    ReceiptSeen,
    RestSeen,
    SendJoin,
    SendUpdate,
    StartTraining,
    Tick,
    TicketSeen,
    TrainingFailed,
    UpdateLost,
    UpdateSent,
    UpdateSpooled,
)
from fedling_agent.session.state import (
    Dice,
    Fetch,
    Held,
    Idle,
    Joining,
    Paused,
    Ready,
    Sending,
    Sent,
    Session,
    Spooled,
    Timing,
    Training,
    Waiting,
)
from fedling_protocol.wire.chunks import count
from fedling_protocol.wire.messages import Answer, Plan, Rest, Ticket, Verdict, WaitReason

LEAST_LOOK_MS = 60_000  # between two asks for plans, whatever a rest says: each may bring them all

MOST_JOINS = 100  # one after another; over time one in each retry_ms, whatever tickets say


def step(s: Session, event: Event, now_ms: int) -> tuple[Session, list[Action]]:
    """Advance one device's session. Pure: no clock, no I/O, no randomness but s.dice."""
    do: list[Action] = []
    s = ON[type(event)](s, event, now_ms, do)
    return settle(s, now_ms, do), do


# --- the connection --------------------------------------------------------------------------


def on_connected(s: Session, event: Connected, now: int, do: list[Action]) -> Session:
    return spread(start_afresh(s, connected=True), now)


def on_disconnected(s: Session, event: Disconnected, now: int, do: list[Action]) -> Session:
    return start_afresh(s, connected=False)


def start_afresh(s: Session, connected: bool) -> Session:
    """Training goes on, and so does a wait; what waits for an answer joins again."""
    phase = Idle() if isinstance(s.phase, Joining | Ready | Sending) else s.phase
    return s._replace(
        phase=phase, connected=connected, tries=0, offer=None, ticket_ms=0, fetch=None,
        look_ms=None, standstill=None,
    )  # fmt: skip


def spread(s: Session, now: int) -> Session:
    """A fleet that sees a plan, or is connected again, at the same instant must not join at once.

    Who waits already does not begin anew.
    """
    if not s.spread_ms or s.ask_ms is not None:
        return s
    value, dice = s.dice.throw()
    return s._replace(dice=dice, ask_ms=now + part(value, s.spread_ms))


def on_enrolled(s: Session, event: Enrolled, now: int, do: list[Action]) -> Session:
    if isinstance(s.phase, Waiting) and s.phase.reason == WaitReason.NOT_ENROLLED:
        return s._replace(phase=Idle(), tries=0)
    return s


def on_allowed(s: Session, event: Allowed, now: int, do: list[Action]) -> Session:
    return s._replace(
        train=event.train, transfer=event.transfer, send=event.send, enough=event.enough
    )


# --- what a plan's topic says ----------------------------------------------------------------


def on_plan(s: Session, event: PlanSeen, now: int, do: list[Action]) -> Session:
    plan = event.plan
    if any(plan.moment < known.moment for known in (s.begun, s.offer) if known):
        return s  # came late: it was closed before the other was opened
    if s.look_ms is not None or s.standstill is not None:
        s = s._replace(look_ms=None, standstill=None)
    s = want_model(s, plan, event.held, do)
    if s.begun and s.begun.plan_id != plan.plan_id:
        s = give_up(s, "superseded", do)
    mine = {known.plan_id for known in (s.begun, s.offer, *s.spool) if known}
    s = s._replace(spread_ms=1000 * (plan.spread_s or 0))
    if event.finished or plan.plan_id in mine:
        return s
    if isinstance(s.phase, Held):  # it is late by now: a word of the aggregator ends it
        s = s._replace(phase=Idle())
    return spread(offered(s, plan), now)


def on_rest(s: Session, event: RestSeen, now: int, do: list[Action]) -> Session:
    rest = event.rest
    if s.offer and rest.moment < s.offer.moment:
        return s  # came late: the plan was opened after it
    s = want_model(s, rest, event.held, do)
    if s.begun and rest.moment > s.begun.moment:
        s = give_up(s, "superseded", do)
    s = offered(s, None)
    wait, dice = back_off(s, tries=0)
    pause = max(LEAST_LOOK_MS, rest.look_again_s * 1000)
    return s._replace(dice=dice, look_ms=now + pause + wait, standstill=rest.paused)


def offered(s: Session, plan: Plan | None) -> Session:
    """What was going on about another offer is forgotten; what concerns the spool goes on."""
    phase = s.phase
    if isinstance(phase, Ready) or (
        isinstance(phase, Joining | Waiting)
        and phase.have is None
        and (plan is None or phase.plan_id != plan.plan_id)
    ):
        s = s._replace(phase=Idle(), tries=0)
    return s._replace(offer=plan)


def give_up(s: Session, reason: str, do: list[Action]) -> Session:
    """End the begun plan, of which nothing was sent or spooled."""
    if s.begun:
        do.append(PlanOver(s.begun.plan_id, None, None, reason))
        s = s._replace(phase=Idle(), begun=None)
    return s


# --- answers ---------------------------------------------------------------------------------


def on_ticket(s: Session, event: TicketSeen, now: int, do: list[Action]) -> Session:
    asked, ticket = s.phase, event.ticket
    if not isinstance(asked, Joining) or asked.nonce != ticket.nonce:
        return s  # not the join that we wait for
    if ticket.answer is Answer.WAIT:
        return told_to_wait(s, asked, ticket, now)
    ticket_ms = asked.sent_ms + ticket.seconds * 1000
    if now >= ticket_ms:
        return s  # the answer took longer than the ticket lasts; the join's own back-off follows
    s = s._replace(phase=Ready(), ticket_ms=ticket_ms, tries=0)
    return s if asked.have is None else send_again(s, asked, asked.have, ticket.here, now, do)


def told_to_wait(s: Session, asked: Joining, ticket: Ticket, now: int) -> Session:
    """A device without a certificate may wait for days: it asks less and less often."""
    tries = s.tries if ticket.reason == WaitReason.NOT_ENROLLED else 0
    wait, dice = back_off(s, tries)
    due = now + max(s.timing.retry_ms, ticket.seconds * 1000) + wait
    phase = Waiting(asked.plan_id, asked.have, ticket.reason, due)
    return s._replace(dice=dice, phase=phase, tries=tries)


def on_receipt(s: Session, event: ReceiptSeen, now: int, do: list[Action]) -> Session:
    receipt = event.receipt
    entry = next((e for e in s.spool if e.plan_id == receipt.plan_id), None)
    if entry:
        if entry.update_hash != receipt.update_hash:
            return s
        s = s._replace(spool=tuple(e for e in s.spool if e is not entry))
    elif not any(p and p.plan_id == receipt.plan_id for p in (s.begun, s.offer)):
        return s
    s = stop_sending(s, receipt.plan_id, do)
    verdict = receipt.of or receipt.verdict
    ended = entry.update_hash if entry else None
    do.append(PlanOver(receipt.plan_id, ended, verdict, receipt.reason))
    s = forget(s, receipt.plan_id)
    if verdict is not Verdict.ACCEPTED and not s.offer:
        do.append(AskPlan())  # the plan that we knew is not the open one
    return s


def forget(s: Session, plan_id: bytes) -> Session:
    """Forget a plan: nothing more happens about it."""
    if s.begun and s.begun.plan_id == plan_id:
        return s._replace(phase=Idle(), begun=None)
    if s.offer and s.offer.plan_id == plan_id:
        s = offered(s, None)
    if isinstance(s.phase, Joining | Waiting | Held) and s.phase.plan_id == plan_id:
        s = s._replace(phase=Idle(), tries=0)
    return s


# --- transfers -------------------------------------------------------------------------------


def want_model(s: Session, named: Plan | Rest, held: bool, do: list[Action]) -> Session:
    """The newest model is this one; it is fetched as soon as transfers are allowed."""
    moment, life = named.moment, named.moment.generation
    if s.fetch and s.fetch.moment > moment:
        return s  # came late
    if s.fetch and (s.fetch.moment.generation, s.fetch.model_hash) == (life, named.newest):
        return s  # came again
    if s.fetch and s.fetch.due_ms is not None:
        do.append(CancelFetch(s.fetch.version))
    size = named.model_size
    fetch = None if held else Fetch(moment.version, named.newest, size, None, moment)
    return s if fetch is s.fetch else s._replace(fetch=fetch)


def on_model_coming(s: Session, event: ModelComing, now: int, do: list[Action]) -> Session:
    """There are so many chunks, and each comes once: as long as they come the fetch goes on."""
    fetch = s.fetch
    if fetch is None or fetch.due_ms is None or fetch.version != event.version:
        return s
    return s._replace(fetch=replace(fetch, due_ms=now + s.timing.transfer_ms))


def on_model_stored(s: Session, event: ModelStored, now: int, do: list[Action]) -> Session:
    if s.fetch and (s.fetch.version, s.fetch.model_hash) == (event.version, event.model_hash):
        return s._replace(fetch=None)
    return s


def send_again(
    s: Session, asked: Joining, have: bytes, here: bytes, now: int, do: list[Action]
) -> Session:
    """Send a spooled update, unless it was sent not long ago and nothing came of it: then hold it.

    here: the chunks of it that have come through; there are so many, and each comes once
    """
    if not s.send:
        return s._replace(phase=Idle())
    sent = s.sent
    if sent and sent.update_hash == have and count(here) > count(sent.here):
        s = s._replace(sent=None)
    elif sent and sent.update_hash == have and now < sent.again_ms:
        return s._replace(phase=Held(asked.plan_id, sent.again_ms))
    return send(s, asked.plan_id, have, now, do, here)


def send(
    s: Session, plan_id: bytes, have: bytes, now: int, do: list[Action], here: bytes = b""
) -> Session:
    """Publish an update; each time that it has no answer it waits longer for the next."""
    do.append(SendUpdate(plan_id, have, here))
    times = s.sent.times + 1 if s.sent and s.sent.update_hash == have else 1
    wait, dice = (0, s.dice) if times == 1 else growing(s, times)
    phase = Sending(plan_id, False, now + s.timing.transfer_ms)
    return s._replace(dice=dice, phase=phase, sent=Sent(have, times, now + wait, here))


def uncounted(s: Session, now: int) -> Session:
    """We stopped a sending ourselves: that is no sign that somebody drops the update."""
    if s.sent is None or s.sent.times == 1:
        return s._replace(sent=None)
    return s._replace(sent=replace(s.sent, times=s.sent.times - 1, again_ms=now))


def growing(s: Session, times: int) -> tuple[int, Dice]:
    """Draw from the upper half of a ceiling that doubles: even the shortest one grows."""
    value, dice = s.dice.throw()
    half = min(s.timing.resend_longest_ms, s.timing.retry_ms << min(times - 1, 32)) // 2
    return half + part(value, half), dice


def stop_sending(s: Session, plan_id: bytes, do: list[Action]) -> Session:
    """Cancel what is still moving: it would go on moving when conditions fail."""
    if not isinstance(s.phase, Sending) or s.phase.plan_id != plan_id:
        return s
    if not s.phase.sent:
        do.append(CancelUpdate(plan_id))
    return s._replace(phase=Idle())


def on_update_sent(s: Session, event: UpdateSent, now: int, do: list[Action]) -> Session:
    if isinstance(s.phase, Sending) and s.phase.plan_id == event.plan_id and not s.phase.sent:
        wait, dice = back_off(s, s.tries)
        due = now + s.timing.retry_ms + wait
        return s._replace(dice=dice, phase=Sending(event.plan_id, True, due))
    return s


# --- training --------------------------------------------------------------------------------


def on_update_spooled(s: Session, event: UpdateSpooled, now: int, do: list[Action]) -> Session:
    if not s.begun or s.begun.plan_id != event.plan_id:
        return s
    first = not s.spool
    spool = (*s.spool, Spooled(event.plan_id, event.update_hash))
    s = s._replace(phase=Idle(), begun=None, spool=spool)
    if s.send and now < s.ticket_ms and first:
        return send(s, event.plan_id, event.update_hash, now, do)
    return s


def on_training_failed(s: Session, event: TrainingFailed, now: int, do: list[Action]) -> Session:
    if s.begun and s.begun.plan_id == event.plan_id:
        return give_up(s, f"failed: {event.reason}", do)
    return s


def on_update_lost(s: Session, event: UpdateLost, now: int, do: list[Action]) -> Session:
    """Its plan may still be open, but it is not trained twice."""
    entry = Spooled(event.plan_id, event.update_hash)
    if entry not in s.spool:
        return s
    do += [PlanOver(entry.plan_id, entry.update_hash, None, "its file is damaged"), AskPlan()]
    left = tuple(known for known in s.spool if known != entry)
    return forget(stop_sending(s, entry.plan_id, do)._replace(spool=left), entry.plan_id)


def on_erase(s: Session, event: Erase, now: int, do: list[Action]) -> Session:
    """End the plans that saw the examples, whatever state they are in."""
    if isinstance(s.phase, Sending):
        s = stop_sending(s, s.phase.plan_id, do)
    s = give_up(s, "erased", do)
    do += [PlanOver(entry.plan_id, entry.update_hash, None, "erased") for entry in s.spool]
    return s._replace(phase=Idle(), spool=())


# --- time ------------------------------------------------------------------------------------


def on_tick(s: Session, event: Tick, now: int, do: list[Action]) -> Session:
    """What is due ends; `settle` begins it anew if it is still wanted and allowed."""
    if s.fetch and s.fetch.due_ms is not None and now >= s.fetch.due_ms:
        do += [CancelFetch(s.fetch.version, late=True), AskPlan()]
        s = offered(s, None)._replace(fetch=None)  # the model may be gone, and its plan closed
    if isinstance(s.phase, Sending) and now >= s.phase.due_ms:
        s = stop_sending(s, s.phase.plan_id, do)
    elif isinstance(s.phase, Joining | Waiting | Held) and now >= s.phase.due_ms:
        s = s._replace(phase=Idle())
    if s.look_ms is not None and s.transfer and now >= s.look_ms:
        do.append(AskPlan())
        s = s._replace(look_ms=None)
    return s


def back_off(s: Session, tries: int) -> tuple[int, Dice]:
    """Draw milliseconds between 0 and a ceiling that doubles with each try (full jitter)."""
    value, dice = s.dice.throw()
    return jitter(s.timing, value, tries), dice


def jitter(timing: Timing, value: bytes, tries: int) -> int:
    ceiling = min(timing.longest_ms, timing.retry_ms << min(tries, 32))
    return part(value, ceiling)


def part(value: bytes, ceiling_ms: int) -> int:
    """Draw a number between 0 and the ceiling, by a throw of the dice."""
    return int.from_bytes(value[8:16], "big") % (ceiling_ms + 1)


# --- what is wanted and allowed now ----------------------------------------------------------


def settle(s: Session, now: int, do: list[Action]) -> Session:
    """End what is no longer allowed, begin what is allowed now; after every event."""
    if s.ask_ms is not None and now >= s.ask_ms:
        s = s._replace(ask_ms=None)
    s = settle_transfers(s, now, do)
    s = settle_training(s, now, do)
    return ask(s, now, do) if isinstance(s.phase, Idle) else s


def settle_transfers(s: Session, now: int, do: list[Action]) -> Session:
    """Nothing large is sent or received while conditions for it fail."""
    if isinstance(s.phase, Sending) and not s.phase.sent and not s.send:
        s = uncounted(stop_sending(s, s.phase.plan_id, do), now)
    fetch = s.fetch
    if not fetch:
        return s
    if fetch.due_ms is None and s.transfer:
        do.append(FetchModel(fetch.version, fetch.model_hash, fetch.size, fetch.moment.generation))
        return s._replace(fetch=replace(fetch, due_ms=now + s.timing.transfer_ms))
    if fetch.due_ms is not None and not s.transfer:
        do.append(CancelFetch(fetch.version))
        return s._replace(fetch=replace(fetch, due_ms=None))
    return s


def settle_training(s: Session, now: int, do: list[Action]) -> Session:
    """A begun plan is trained while conditions allow; one with a ticket begins."""
    if isinstance(s.phase, Ready):
        return begin(s, now, do)
    if not s.begun:
        return s
    if isinstance(s.phase, Training) and not s.train:
        do.append(PauseTraining(s.begun.plan_id))
        return s._replace(phase=Paused())
    if isinstance(s.phase, Paused) and s.train:
        do.append(StartTraining(s.begun))
        return s._replace(phase=Training())
    return s


def begin(s: Session, now: int, do: list[Action]) -> Session:
    if now >= s.ticket_ms or not s.offer:
        return s._replace(phase=Idle())
    if s.fetch or not (s.train and s.enough):
        return s
    do.append(StartTraining(s.offer))
    return s._replace(phase=Training(), begun=s.offer, offer=None)


def ask(s: Session, now: int, do: list[Action]) -> Session:
    """Join: with the oldest spool entry if there is one, else for the open plan."""
    if not (s.connected and s.send and s.ask_ms is None):
        return s
    if s.spool:
        return join(s, s.spool[0].plan_id, s.spool[0].update_hash, now, do)
    if s.offer and s.train and s.enough:
        return join(s, s.offer.plan_id, None, now, do)
    return s


def join(s: Session, plan_id: bytes, have: bytes | None, now: int, do: list[Action]) -> Session:
    value, dice = s.dice.throw()
    nonce = value[:8]
    due = now + s.timing.retry_ms + jitter(s.timing, value, s.tries)
    do.append(SendJoin(plan_id, nonce, have))
    paid = max(s.paid_ms, now) + s.timing.retry_ms
    again = paid - MOST_JOINS * s.timing.retry_ms
    return s._replace(
        phase=Joining(plan_id, have, nonce, now, due), dice=dice, tries=s.tries + 1,
        paid_ms=paid, ask_ms=again if again > now else s.ask_ms,
    )  # fmt: skip


Handler = Callable[[Session, Any, int, list[Action]], Session]  # each takes its own event

ON: dict[type[Event], Handler] = {
    Connected: on_connected,
    Disconnected: on_disconnected,
    Enrolled: on_enrolled,
    Allowed: on_allowed,
    PlanSeen: on_plan,
    RestSeen: on_rest,
    TicketSeen: on_ticket,
    ReceiptSeen: on_receipt,
    ModelComing: on_model_coming,
    ModelStored: on_model_stored,
    UpdateSent: on_update_sent,
    UpdateSpooled: on_update_spooled,
    TrainingFailed: on_training_failed,
    UpdateLost: on_update_lost,
    Erase: on_erase,
    Tick: on_tick,
}
