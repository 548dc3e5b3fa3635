"""Both state machines against each other, in 20,000 random schedules with every fault we know.

A schedule is made from its seed alone: World(seed).run() plays a failed one again.
"""

from collections import Counter
from statistics import median

import pytest

from fedling_agent.session.events import (
    AskPlan,
    CancelFetch,
    CancelUpdate,
    FetchModel,
    PauseTraining,
    PlanOver,
    SendJoin,
    SendUpdate,
    StartTraining,
)
from fedling_broker.rounds import events as broker
from fedling_protocol.wire.messages import Answer, Verdict
from tests.support.schedules.faults import Fault
from tests.support.schedules.pairs import RARE, Pair, gaps, missing, noted
from tests.support.schedules.planted import PLANTED
from tests.support.schedules.violation import Violation
from tests.support.schedules.world import Machines, World

pytestmark = pytest.mark.long

SCHEDULES = 20_000
PARTS = 20
SHARE = 0.2  # of the schedules suffer each fault
SELDOM = {Fault.DEVICE_REVOKED}  # instead of other ways in which a device drops out of a round

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
    suffered: Counter[Fault] = Counter()  # in how many schedules
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
        suffered.update(fault for fault in Fault if world.seen[fault])
    print(f"{size} schedules, events: median {median(events)}, {min(events)} to {max(events)}")
    assert median(events) >= 60
    seldom = [fault for fault in Fault if suffered[fault] < SHARE * size and fault not in SELDOM]
    assert seldom == []
    assert [what for what in REACHED if what not in seen] == []


def test_every_event_is_met_in_every_state_where_it_can_be() -> None:
    met: Counter[Pair] = Counter()
    machines = noted(Machines(), met)
    for seed in range(SCHEDULES // 4):
        World(seed, machines).run()
    assert [pair for pair in missing(met) if pair not in RARE] == []
    assert [pair for pair in gaps() if pair in met] == []


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bug_is_found(bug: str) -> None:
    """A test of the test."""
    for seed in range(SCHEDULES // 4):
        try:
            World(seed, PLANTED[bug]()).run()
        except Violation as violation:
            print(f"{bug}: found in schedule {seed}: {violation}")
            return
    pytest.fail(f"not found: {bug}")
