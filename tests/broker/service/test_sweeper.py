"""What the MQTT broker holds of removed tasks is emptied, a few topics at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.service import sweeper
from fedling_protocol.wire.kinds import Kind
from tests.support.hand_aggregator import TOPICS, HandAggregator

TASKS = ("one", "two", "three")


@pytest.fixture
def aggregator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HandAggregator]:
    """Of each task the MQTT broker holds a plan and a model."""
    monkeypatch.setattr(sweeper, "AT_ONCE", 2)
    aggregator = HandAggregator(tmp_path / "state")
    for task in TASKS:
        aggregator.add_task(task)
    aggregator.connect()
    aggregator.link.published.clear()
    yield aggregator
    aggregator.store.close()


def remove(aggregator: HandAggregator, *tasks: str) -> None:
    for task in tasks:
        aggregator.remove_task(task)
    aggregator.clock.move(2.0)


def acknowledge(aggregator: HandAggregator) -> None:
    """The MQTT broker has all that was published."""
    published, aggregator.link.published = aggregator.link.published, []
    for message in published:
        if message.done is not None:
            message.done()
    aggregator.settle()


def held(task: str) -> set[str]:
    """The topics on which something of a task is retained."""
    return {TOPICS.of(Kind.PLAN, task, "train"), TOPICS.of(Kind.MODEL, task, 1)}


def test_the_next_topics_follow_the_puback_of_the_last(aggregator: HandAggregator) -> None:
    remove(aggregator, *TASKS)
    emptied: set[str] = set()
    for task in sorted(TASKS):
        now = set(aggregator.emptied())
        assert held(task) <= now
        assert not any(held(other) & now for other in TASKS if other != task)
        emptied |= now
        acknowledge(aggregator)
    assert set().union(*map(held, TASKS)) <= emptied
    assert aggregator.store.withdrawn.some(1) == []


def test_a_task_that_is_removed_later_is_emptied_as_well(aggregator: HandAggregator) -> None:
    for task in TASKS:
        remove(aggregator, task)
        assert held(task) <= set(aggregator.emptied())
        acknowledge(aggregator)
    assert aggregator.store.withdrawn.some(1) == []


def test_what_was_under_way_on_a_connection_that_ended_is_emptied_on_the_next(
    aggregator: HandAggregator,
) -> None:
    remove(aggregator, "one")
    lost = aggregator.link.published
    aggregator.link.published = []
    aggregator.connect()
    assert held("one") <= set(aggregator.emptied())
    for message in lost:  # late, and of another connection
        if message.done is not None:
            message.done()
    aggregator.settle()
    acknowledge(aggregator)
    assert aggregator.store.withdrawn.some(1) == []
    remove(aggregator, "two")
    assert held("two") <= set(aggregator.emptied())
