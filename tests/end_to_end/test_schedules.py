"""Both state machines against each other, in 20,000 random schedules with every fault we know.

A schedule is made from its seed alone: World(seed).run() plays a failed one again.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import pytest

from fedling_agent.session import machine as session
from fedling_agent.session.events import (
    Action,
    AskPlan,
    CancelFetch,
    CancelUpdate,
    Event,
    FetchModel,
    PauseTraining,
    PlanOver,
    SendJoin,
    SendUpdate,
    StartTraining,
    TicketSeen,
)
from fedling_agent.session.state import Joining, Session, Spooled, Timing, restore
from fedling_broker.rounds import events as broker
from fedling_broker.rounds import machine as rounds
from fedling_broker.rounds.state import Open, Rounds
from fedling_protocol.wire.messages import Answer, Plan, Verdict
from tests.support.schedules.violation import Violation
from tests.support.schedules.world import Machines, World

pytestmark = pytest.mark.long

SCHEDULES = 20_000
PARTS = 20

# What the schedules of one part must have reached at least once: every action, every answer.
REACHED: list[object] = [
    *(SendJoin, AskPlan, FetchModel, CancelFetch, StartTraining, PauseTraining),
    *(SendUpdate, CancelUpdate, PlanOver),
    *(broker.OpenRound, broker.PublishPlan, broker.PublishRest, broker.GrantPlace),
    *(broker.SendTicket, broker.StoreUpdate, broker.RecordDecision, broker.SendReceipt),
    *(broker.CloseRound, broker.FoldRound),
    *((Answer.GO, ""), (Answer.WAIT, "not enrolled"), (Answer.WAIT, "cohort full")),
    *((Answer.WAIT, "not in cohort"), "superseded", "erased", "failed: planted"),
    *((Verdict.ACCEPTED, None, True), (Verdict.DUPLICATE, Verdict.ACCEPTED, True)),
    *((Verdict.LATE, None, True), (Verdict.LATE, None, False), "a place was given away"),
]


@pytest.mark.parametrize("part", range(PARTS))
def test_random_schedules_break_nothing(part: int) -> None:
    seen: Counter[object] = Counter()
    events: list[int] = []
    size = SCHEDULES // PARTS
    for seed in range(part * size, (part + 1) * size):
        world = World(seed)
        try:
            events.append(world.run())
        except AssertionError as error:
            error.add_note(f"schedule {seed}")
            raise
        assert len(world.devices) >= 4
        assert len(world.aggregator.journal) >= 2
        seen += world.seen
    print(f"{size} schedules, events: median {median(events)}, {min(events)} to {max(events)}")
    assert median(events) >= 60
    assert [what for what in REACHED if what not in seen] == []


# --- a test of the test: planted bugs are found -----------------------------------------------


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


PLANTED = {
    "receipt before commit": Machines(rounds=receipt_before_commit),
    "receipt before commit, by what a crash makes of it": Machines(
        rounds=receipt_before_commit, watched=False
    ),
    "known update not looked up": Machines(rounds=known_update_not_looked_up),
    "place not written down": Machines(forgotten=frozenset({broker.GrantPlace})),
    "nonce not checked": Machines(session=nonce_not_checked),
    "sends against conditions": Machines(session=goes_on_without(CancelUpdate)),
    "fetches against conditions": Machines(session=goes_on_without(CancelFetch)),
    "trains against conditions": Machines(session=goes_on_without(PauseTraining)),
    "trains again after a crash": Machines(restore=spool_forgotten),
    "receipt not written down": Machines(forgotten=frozenset({PlanOver})),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bug_is_found(bug: str) -> None:
    for seed in range(SCHEDULES // 4):
        try:
            World(seed, PLANTED[bug]).run()
        except Violation as violation:
            print(f"{bug}: found in schedule {seed}: {violation}")
            return
    pytest.fail(f"not found: {bug}")
