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
from tests.support.schedules.faults import LEAST_SHARE, Fault
from tests.support.schedules.pairs import RARE, Pair, gaps, missing, noted
from tests.support.schedules.planted import PLANTED
from tests.support.schedules.violation import Violation
from tests.support.schedules.world import Machines, World

SCHEDULES = 20_000
PARTS = 20
FEW = 600

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


def play(seeds: range) -> Counter[object]:
    """What happened in schedules that break nothing, of which each fault is in many."""
    seen: Counter[object] = Counter()
    suffered: Counter[Fault] = Counter()  # in how many schedules
    events: list[int] = []
    for seed in seeds:
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
    print(f"{len(seeds)} schedules, events: median {median(events)}, most {max(events)}")
    assert median(events) >= 60
    assert {f: suffered[f] for f in Fault if suffered[f] < LEAST_SHARE * len(seeds)} == {}
    return seen


def test_of_a_few_schedules_each_fault_is_in_many() -> None:
    play(range(FEW))


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_random_schedules_break_nothing(part: int) -> None:
    size = SCHEDULES // PARTS
    seen = play(range(part * size, (part + 1) * size))
    assert [what for what in REACHED if what not in seen] == []


@pytest.mark.long
def test_every_event_is_met_in_every_state_where_it_can_be() -> None:
    met: Counter[Pair] = Counter()
    machines = noted(Machines(), met)
    for seed in range(SCHEDULES // 4):
        World(seed, machines).run()
    assert [pair for pair in missing(met) if pair not in RARE] == []
    assert [pair for pair in gaps() if pair in met] == []


@pytest.mark.long
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
