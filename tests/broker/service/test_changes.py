"""What is published of a model after a round: all of it, and how it follows from the last one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_broker.service.publisher import worth_keeping
from fedling_broker.store.store import Store
from fedling_native.integers import read_change, read_model
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Change, Model, Plan, Recent
from tests.support.hand_aggregator import TOPICS, HandAggregator

TARGET = 100  # bytes of an update; a task whose updates are not coded has no changes either


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    """A task on which two devices work, for some rounds."""
    made = HandAggregator(tmp_path / "state")
    made.add_task(rounds=12, target=TARGET)
    made.enrol(1, 2)
    made.connect()
    yield made
    made.store.close()


def play(aggregator: HandAggregator, step: int) -> Plan:
    """A round; the plan of the next."""
    plan = aggregator.plan
    for number in (1, 2):
        aggregator.accepted(number, plan, step)
    acknowledge(aggregator)
    return aggregator.plan


def acknowledge(aggregator: HandAggregator) -> None:
    """The MQTT broker has all that was published."""
    for published in list(aggregator.link.published):
        if published.done is not None:
            published.done()
    aggregator.settle()


def weights_of(aggregator: HandAggregator, version: int) -> bytes:
    spec, models = aggregator.plan.spec, aggregator.store.models
    row = models.find("tiny", version)
    assert row is not None
    return models.bytes_of(row, spec)


def test_whoever_follows_the_changes_holds_the_models(aggregator: HandAggregator) -> None:
    """And whoever takes the whole ones the same."""
    held, layers = weights_of(aggregator, 1), aggregator.plan.spec.layers
    before = aggregator.said(Model)[0].exponents
    for step in (900, -400, 1500, -700, 20):
        plan = play(aggregator, step)
        change, model = aggregator.said(Change)[-1], aggregator.said(Model)[-1]
        assert change.version == model.version == plan.base_version
        shifts = [now - then for now, then in zip(change.exponents, before, strict=True)]
        held, before = read_change(layers, shifts, change.steps, held), change.exponents
        assert held == weights_of(aggregator, plan.base_version)
        assert model.packed
        assert read_model(layers, model.weights) == held


def test_plan_says_how_large_the_change_is(aggregator: HandAggregator) -> None:
    assert aggregator.plan.change_size is None
    plan = play(aggregator, 900)
    topic = TOPICS.of(Kind.CHANGE, "tiny", 2)
    (sent,) = [p.payload for p in aggregator.link.published if p.topic == topic]
    assert plan.change_size == len(sent)
    aggregator.connect()  # nothing is sealed again, and the same is said
    assert aggregator.plan.change_size == plan.change_size


def changes_held(aggregator: HandAggregator) -> list[int]:
    return [v for v in range(1, 20) if TOPICS.of(Kind.CHANGE, "tiny", v) in aggregator.held()]


def models_held(aggregator: HandAggregator) -> list[int]:
    return [v for v in range(1, 20) if TOPICS.of(Kind.MODEL, "tiny", v) in aggregator.held()]


def sizes_of_changes(aggregator: HandAggregator) -> dict[int, int]:
    """Bytes of the message, by version."""
    sent = {p.topic: len(p.payload) for p in aggregator.link.published if p.payload}
    return {v: sent[TOPICS.of(Kind.CHANGE, "tiny", v)] for v in changes_held(aggregator)}


def test_last_changes_stay_and_are_told_as_long_as_they_are_less_than_the_model(
    aggregator: HandAggregator,
) -> None:
    told = []
    for step in (900, -400, 30, 30, 30, 30, 30, 30, 900):
        plan = play(aggregator, step)
        assert models_held(aggregator) == [plan.base_version]
        sizes = sizes_of_changes(aggregator)
        assert max(sizes) == plan.base_version
        assert sum(sizes.values()) < plan.model_size or len(sizes) == 1
        if plan.recent is None:
            assert len(sizes) == 1
        else:
            assert plan.recent == Recent(len(sizes), sum(sizes.values()))
            assert list(sizes) == list(range(min(sizes), plan.base_version + 1))
        told.append(len(sizes))
        assert aggregator.store.models.retained("tiny") == list(sizes)
    assert max(told) > 1


def test_what_came_before_this_connection_is_not_told(aggregator: HandAggregator) -> None:
    """An MQTT broker may have forgotten it. It is emptied, and what comes later is added."""
    plan = play(aggregator, 900)
    while plan.recent is None:
        plan = play(aggregator, 30)
    aggregator.connect()
    assert aggregator.plan.recent is None
    acknowledge(aggregator)
    assert changes_held(aggregator) == [plan.base_version]
    assert aggregator.store.models.retained("tiny") == [plan.base_version]


@pytest.mark.parametrize(
    ("changes", "kept"),
    [([9_500], 1), ([100] * 20, 8), ([4_000, 3_000, 2_000, 1_000], 3), ([100, 9_900, 1], 1)],
)
def test_changes_are_kept_as_long_as_they_are_less_than_the_model(
    changes: list[int], kept: int
) -> None:
    assert worth_keeping(10_000, changes) == tuple(changes[:kept])


def test_after_a_reconnect_models_of_before_are_emptied_again(aggregator: HandAggregator) -> None:
    """An MQTT broker that crashed may have gone back to what it held some rounds ago."""
    plan = play(aggregator, 900)
    while plan.recent is None:
        plan = play(aggregator, 30)
    before = aggregator.store.models.retained("tiny")[0]
    aggregator.link.published.clear()
    aggregator.connect()
    emptied = aggregator.emptied()
    assert {TOPICS.of(kind, "tiny", before) for kind in (Kind.CHANGE, Kind.MODEL)} <= {*emptied}


def test_model_before_that_is_gone_is_no_fault(aggregator: HandAggregator) -> None:
    """Then there is no change; devices take the whole model."""
    first = aggregator.store.models.newest("tiny")
    path = aggregator.store.models.weights.path(first.model_hash)
    plan = aggregator.plan
    for number in (1, 2):
        aggregator.join(number, plan)
        aggregator.update(number, plan, 900)
    path.write_bytes(b"")
    aggregator.settle()
    assert aggregator.plan.base_version == 2
    assert aggregator.plan.change_size is None


def test_task_that_had_the_name_before_is_no_model_before(aggregator: HandAggregator) -> None:
    """It was removed, and added again with other layers, while a model of it was written."""
    play(aggregator, 900)
    newest, spec = aggregator.store.models.newest("tiny"), aggregator.plan.spec
    of_before = replace(newest, exponents=(*newest.exponents, 0))
    assert aggregator.store.models.change(of_before, spec) is None


def test_changes_lead_over_a_rollback(aggregator: HandAggregator) -> None:
    """The model before stays the one that devices hold, whatever version it came from."""
    for step in (900, -400):
        play(aggregator, step)
    spec, layers = aggregator.plan.spec, aggregator.plan.spec.layers
    other = Store(aggregator.directory)
    other.roll_back(spec, 2)
    other.close()
    aggregator.clock.move(5.0)
    play(aggregator, 700)
    rows = {row.version: row for row in aggregator.store.models.rows("tiny")}
    assert max(rows) == 5
    assert weights_of(aggregator, 4) == weights_of(aggregator, 2)
    followed = 0
    for change in aggregator.said(Change):
        now, then = rows[change.version], rows[change.version - 1]
        shifts = [a - b for a, b in zip(now.exponents, then.exponents, strict=True)]
        held = weights_of(aggregator, then.version)
        assert read_change(layers, shifts, change.steps, held) == weights_of(
            aggregator, now.version
        )
        followed += 1
    assert followed >= 3
