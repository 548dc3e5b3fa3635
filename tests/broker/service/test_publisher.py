"""What is retained, in which order, and how often."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Model
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
