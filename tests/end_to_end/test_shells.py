"""The real services of both ends in random schedules, in virtual time, with every fault we know.

A schedule is made from its seed alone: World(seed).run() plays a failed one again.
"""

from collections import Counter
from statistics import median

import pytest

from fedling_agent.session import events as agent
from fedling_broker.rounds import events as broker
from fedling_protocol.wire.messages import Answer, Verdict
from tests.support.shells.faults import Focus
from tests.support.shells.planted import FOCUS, PLANTED
from tests.support.shells.violation import Violation
from tests.support.shells.world import World

pytestmark = pytest.mark.first

PART = 250  # schedules
QUICK, MANY = range(0, 2_000, PART), range(2_000, 3_500, PART)
SCHEDULES = 5_500  # among which each planted bug must be found

# What the schedules of one part must have reached at least once: every action, every answer.
REACHED: list[object] = [
    *(agent.SendJoin, agent.AskPlan, agent.FetchModel, agent.CancelFetch, agent.StartTraining),
    *(agent.PauseTraining, agent.SendUpdate, agent.CancelUpdate, agent.PlanOver),
    *(broker.OpenRound, broker.PublishPlan, broker.PublishRest, broker.GrantPlace),
    *(broker.SendTicket, broker.StoreUpdate, broker.RecordDecision, broker.SendReceipt),
    *(broker.CloseRound, broker.FoldRound),
    *((Answer.GO, ""), (Answer.WAIT, "not enrolled"), (Answer.WAIT, "cohort full")),
    *((Answer.WAIT, "not in cohort"), "superseded", "failed: planted", "the disk was full"),
    *((Verdict.ACCEPTED, None, True), (Verdict.DUPLICATE, Verdict.ACCEPTED, True)),
    *((Verdict.LATE, None, True), (Verdict.LATE, None, False)),
    *("added again", "put back", "another id", "replayed", "of a former life"),
    *("statistics", "erased", "tested"),
]
RARE = ["a place was given away"]  # somewhere in the first eighth


@pytest.mark.parametrize("first", QUICK)
def test_random_schedules_break_nothing(first: int) -> None:
    play(range(first, first + PART))


@pytest.mark.long
@pytest.mark.parametrize("first", MANY)
def test_many_random_schedules_break_nothing(first: int) -> None:
    play(range(first, first + PART))


def play(seeds: range) -> None:
    """Play schedules, in which everything must have been met."""
    seen: Counter[object] = Counter()
    events: list[int] = []
    for seed in seeds:
        world = World(seed)
        try:
            events.append(world.run())
        except (AssertionError, Violation) as error:
            error.add_note(f"schedule {seed}")
            raise
        seen += world.seen
    print(
        f"{len(seeds)} schedules, events: median {median(events)}, {min(events)} to {max(events)}"
    )
    assert median(events) >= 60
    assert [what for what in REACHED if what not in seen] == []


@pytest.mark.long
@pytest.mark.parametrize("what", RARE)
def test_rare_things_happen(what: object) -> None:
    for seed in range(SCHEDULES // 8):
        world = World(seed)
        world.run()
        if what in world.seen:
            return
    pytest.fail(f"never: {what}")


@pytest.mark.long
@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bug_is_found(bug: str) -> None:
    """A test of the test."""
    for seed in range(SCHEDULES):
        try:
            World(seed, PLANTED[bug], FOCUS.get(bug, Focus.NOTHING)).run()
        except Violation as violation:
            print(f"{bug}: found in schedule {seed}: {violation}")
            return
    pytest.fail(f"not found: {bug}")
