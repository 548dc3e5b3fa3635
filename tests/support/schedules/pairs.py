"""Which events both machines have met in which state; and why they never meet some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

from fedling_agent.session import events as agent
from fedling_agent.session import state as session
from fedling_broker.rounds import events as broker
from fedling_broker.rounds import state as rounds
from tests.support.schedules.world import Machines

Pair = tuple[type, type]  # state, event


def noted(machines: Machines, pairs: Counter[Pair]) -> Machines:
    """The same machines, which count the pairs that they meet."""

    def note(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(s: Any, event: Any, now_ms: int) -> Any:
            pairs[type(s.phase), type(event)] += 1
            return step(s, event, now_ms)

        return stepped

    return replace(machines, session=note(machines.session), rounds=note(machines.rounds))


def every() -> list[Pair]:
    """All pairs of a state and an event of both machines."""
    of_device = ((s, e) for s in get_args(session.Phase) for e in get_args(agent.Event))
    of_aggregator = ((s, e) for s in get_args(rounds.Phase) for e in get_args(broker.Event))
    return [*of_device, *of_aggregator]


DEVICE, AGGREGATOR = set(get_args(session.Phase)), set(get_args(rounds.Phase))

# Pairs that never meet: why, in which states, which events.
GAPS: tuple[tuple[str, set[type], set[type]], ...] = (
    (
        "what waits for an answer, or for a model, ends with the connection",
        {session.Joining, session.Ready, session.Sending},
        {agent.Connected},
    ),
    (
        "a child runs, or ends after its batch, for a plan that is begun only",
        DEVICE - {session.Training, session.Paused},
        {agent.UpdateSpooled, agent.TrainingFailed},
    ),
    (
        "an update moves, or is found to be damaged, while it is being sent only",
        DEVICE - {session.Sending},
        {agent.UpdateSent, agent.UpdateLost},
    ),
    (
        "a model is fetched before its plan begins, and a later one ends that plan",
        {session.Training, session.Paused},
        {agent.ModelComing, agent.ModelStored},
    ),
    (
        "a round is opened in the step that asks for it",
        {rounds.Opening},
        {*get_args(broker.Event)} - {broker.Opened},
    ),
    (
        "the sum of a round is made in the step that asks for it; the services make it beside "
        "the loop, and meet joins and updates meanwhile in their schedules",
        {rounds.Folding},
        {*get_args(broker.Event)} - {broker.Folded, broker.Tick},
    ),
    ("nobody asked for it", AGGREGATOR - {rounds.Opening}, {broker.Opened}),
    ("nobody asked for it", AGGREGATOR - {rounds.Folding}, {broker.Folded}),
)

# Pairs that a few thousand schedules meet, or do not.
RARE: frozenset[Pair] = frozenset(
    {
        *((session.Held, event) for event in get_args(agent.Event)),
        *((session.Ready, event) for event in (agent.Enrolled, agent.Erase)),
        *((session.Paused, event) for event in get_args(agent.Event)),
    }
)


def gaps() -> dict[Pair, str]:
    """Why a pair never meets, of each that does not."""
    return {
        (state, event): why for why, states, events in GAPS for state in states for event in events
    }


def missing(pairs: Counter[Pair]) -> list[Pair]:
    """Pairs that were not met, and nobody said why."""
    return [pair for pair in every() if pair not in pairs and pair not in gaps()]
