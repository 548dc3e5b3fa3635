"""Bugs of the machines, and of who executes their actions, that schedules must find."""

from collections.abc import Callable
from dataclasses import replace

from fedling_agent.session import machine as session
from fedling_agent.session.events import (
    Action,
    CancelFetch,
    CancelUpdate,
    Event,
    PauseTraining,
    PlanOver,
    TicketSeen,
)
from fedling_agent.session.state import Joining, Session, Spooled, Timing, restore
from fedling_broker.rounds import events as broker
from fedling_broker.rounds import machine as rounds
from fedling_broker.rounds.state import Open, Rounds
from fedling_protocol.wire.messages import Plan, Verdict
from tests.support.schedules.world import Machines


def receipt_before_commit(
    s: Rounds, event: broker.Event, now: int
) -> tuple[Rounds, list[broker.Action]]:
    s, actions = rounds.step(s, event, now)
    stored = [i for i, action in enumerate(actions) if isinstance(action, broker.StoreUpdate)]
    for i in stored:
        actions[i : i + 2] = reversed(actions[i : i + 2])
    return s, actions


def known_update_not_looked_up(
    s: Rounds, event: broker.Event, now: int
) -> tuple[Rounds, list[broker.Action]]:
    if isinstance(event, broker.UpdateSeen):
        event = replace(event, past=event.past and broker.Past(None))
        if isinstance(s.phase, Open):
            s.phase.cohort._decisions.pop(event.device, None)
    return rounds.step(s, event, now)


def revocation_not_heard(
    s: Rounds, event: broker.Event, now: int
) -> tuple[Rounds, list[broker.Action]]:
    return rounds.step(s, broker.Tick() if isinstance(event, broker.DeviceGone) else event, now)


def certificate_not_asked_for(
    s: Rounds, event: broker.Event, now: int
) -> tuple[Rounds, list[broker.Action]]:
    if isinstance(event, broker.JoinSeen):
        event = replace(event, certified=True)
    return rounds.step(s, event, now)


def nonce_not_checked(s: Session, event: Event, now: int) -> tuple[Session, list[Action]]:
    if isinstance(event, TicketSeen) and isinstance(s.phase, Joining):
        event = TicketSeen(replace(event.ticket, nonce=s.phase.nonce))
    return session.step(s, event, now)


def goes_on_without(forbidden: type) -> Callable[..., tuple[Session, list[Action]]]:
    def step(s: Session, event: Event, now: int) -> tuple[Session, list[Action]]:
        s, actions = session.step(s, event, now)
        return s, [action for action in actions if not isinstance(action, forbidden)]

    return step


def spool_forgotten(
    timing: Timing, seed: bytes, begun: Plan | None, spool: tuple[Spooled, ...]
) -> Session:
    return restore(timing, seed, begun, ())


def dice_begin_again(
    timing: Timing, _seed: bytes, begun: Plan | None, spool: tuple[Spooled, ...]
) -> Session:
    """After a start they fall as they did before: what counts the throws was not written."""
    return restore(timing, b"the same at every start", begun, spool)


def key_without_plan() -> Machines:
    """What an aggregator knows of a device's update goes by the device alone."""
    known: dict[str, broker.Decision] = {}

    def step(s: Rounds, event: broker.Event, now: int) -> tuple[Rounds, list[broker.Action]]:
        if isinstance(event, broker.UpdateSeen) and isinstance(s.phase, Open):
            if event.device in known:
                s.phase.cohort._decisions.setdefault(event.device, known[event.device])
        s, actions = rounds.step(s, event, now)
        for action in actions:
            if isinstance(action, broker.StoreUpdate):
                known[action.device] = broker.Decision(action.update_hash, Verdict.ACCEPTED, "")
        return s, actions

    return Machines(rounds=step)


# Each is made anew for a schedule: it may remember what happened in it.
PLANTED: dict[str, Callable[[], Machines]] = {
    "receipt before commit": lambda: Machines(rounds=receipt_before_commit),
    "receipt before commit, by what a crash makes of it": lambda: Machines(
        rounds=receipt_before_commit, watched=False
    ),
    "known update not looked up": lambda: Machines(rounds=known_update_not_looked_up),
    "known update looked up without its plan": key_without_plan,
    "update deleted when the MQTT broker has it": lambda: Machines(keeps_sent=False),
    "place not written down": lambda: Machines(forgotten=frozenset({broker.GrantPlace})),
    "revocation not heard": lambda: Machines(rounds=revocation_not_heard),
    "certificate not asked for": lambda: Machines(rounds=certificate_not_asked_for),
    "nonce not checked": lambda: Machines(session=nonce_not_checked),
    "sends against conditions": lambda: Machines(session=goes_on_without(CancelUpdate)),
    "fetches against conditions": lambda: Machines(session=goes_on_without(CancelFetch)),
    "trains against conditions": lambda: Machines(session=goes_on_without(PauseTraining)),
    "trains again after a crash": lambda: Machines(restore=spool_forgotten),
    "counter of throws not written before use": lambda: Machines(restore=dice_begin_again),
    "receipt not written down": lambda: Machines(forgotten=frozenset({PlanOver})),
}
