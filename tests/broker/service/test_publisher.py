"""What is retained, in which order, and how often."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_native import Sums
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Model, PlanKind
from tests.support.hand_aggregator import TOPICS, HandAggregator


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state")
    yield aggregator
    aggregator.store.close()


def test_the_model_is_retained_before_the_plan_that_stands_on_it(
    aggregator: HandAggregator,
) -> None:
    aggregator.add_task()
    aggregator.settle()
    assert aggregator.link.published == []
    aggregator.connect()
    topics = [p.topic for p in aggregator.link.published]
    wanted = [
        TOPICS.of(Kind.KEYS, "aggregator"),
        TOPICS.of(Kind.TASKS),
        TOPICS.of(Kind.MODEL, "tiny", 1),
        TOPICS.of(Kind.PLAN, "tiny", "train"),
    ]
    assert topics == wanted
    assert all(p.retain for p in aggregator.link.published)


def test_only_the_newest_model_stays_after_its_puback(aggregator: HandAggregator) -> None:
    aggregator.add_task(goal=1)
    aggregator.enrol(1)
    aggregator.connect()
    aggregator.accepted(1, aggregator.plan)
    first = [TOPICS.of(kind, "tiny", 1) for kind in (Kind.CHANGE, Kind.MODEL)]
    assert aggregator.emptied() == first
    assert aggregator.store.models.retained("tiny") == [1, 2]
    _, emptied = [p for p in aggregator.link.published if not p.payload]
    assert emptied.done is not None
    emptied.done()
    aggregator.settle()
    assert aggregator.store.models.retained("tiny") == [2]


def test_a_model_is_published_once_a_connection(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.connect()
    aggregator.service.turns.run(aggregator.service.runners.connected)
    aggregator.settle()
    assert len(aggregator.said(Model)) == 1
    aggregator.connect()
    assert len(aggregator.said(Model)) == 2


def emptied_plans(aggregator: HandAggregator) -> list[str]:
    return [topic for topic in aggregator.emptied() if "/plan/" in topic]


def test_a_plan_of_another_kind_is_taken_back_once_a_connection(tmp_path: Path) -> None:
    """A device would find two plans of a task. Of a task that has one kind nothing is emptied."""
    aggregator = HandAggregator(tmp_path / "state")
    aggregator.add_task(goal=1, normalise="fleet")
    aggregator.add_task("other")
    aggregator.enrol(1)
    plans = {kind: TOPICS.of(Kind.PLAN, "tiny", kind) for kind in PlanKind}
    others = [topic for kind, topic in plans.items() if kind is not PlanKind.STATISTICS]
    aggregator.connect()
    assert emptied_plans(aggregator) == others
    aggregator.service.turns.run(aggregator.service.runners.connected)
    aggregator.settle()
    assert emptied_plans(aggregator) == others
    aggregator.connect()
    assert emptied_plans(aggregator) == others + others
    aggregator.measured(1, aggregator.plan_of("tiny"), Sums(4, (4, 4), (40, 40)))
    assert aggregator.plan_of("tiny").kind is PlanKind.TRAIN
    of_before = [topic for kind, topic in plans.items() if kind is not PlanKind.TRAIN]
    assert emptied_plans(aggregator) == others + others + of_before
    aggregator.store.close()


def test_a_task_that_is_added_again_is_held_back_for_nothing_that_another_did(
    aggregator: HandAggregator,
) -> None:
    """And its model, of the same version, is published."""
    aggregator.add_task()
    aggregator.connect()
    for _ in range(2):
        aggregator.service.publisher._holding.cut("tiny", "model", 60_000)
    before = len(aggregator.said(Model))
    aggregator.remove_task()
    aggregator.add_task()
    aggregator.clock.move(2.0)
    assert len(aggregator.said(Model)) == before + 1
    assert aggregator.plan_of("tiny").generation > 1
