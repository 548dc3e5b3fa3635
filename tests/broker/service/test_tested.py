"""What updates say of their test of the base model is kept with the verdict, or refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.messages import Hits, Plan, Verdict
from tests.support.hand_aggregator import HandAggregator, key_of

GOOD = (Hits(30, 29), Hits(0, 0))


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path)
    aggregator.enrol(1, 2)
    yield aggregator
    aggregator.store.close()


def opened(aggregator: HandAggregator, holdout: float) -> Plan:
    aggregator.add_task(holdout=holdout)
    aggregator.connect()
    return aggregator.plan


def verdict(
    aggregator: HandAggregator, plan: Plan, tested: tuple[Hits, ...] | None
) -> tuple[Verdict, str]:
    """Of the update of device 1."""
    aggregator.join(1, plan)
    aggregator.settle()
    aggregator.update(1, plan, tested=tested)
    aggregator.settle()
    receipt = aggregator.receipts[-1]
    return receipt.verdict, receipt.reason


@pytest.mark.parametrize("tested", [None, GOOD, (Hits(4096, 0), Hits(0, 0))])
def test_a_test_is_kept_with_the_verdict(
    aggregator: HandAggregator, tested: tuple[Hits, ...] | None
) -> None:
    plan = opened(aggregator, 0.2)
    assert verdict(aggregator, plan, tested) == (Verdict.ACCEPTED, "")
    aggregator.start()  # another process
    (row,) = aggregator.store.rounds.decisions("tiny", plan.plan_id)
    assert (row.device, row.tested) == (device_id(key_of(1).public), tested)
    found = aggregator.store.rounds.tests("tiny", plan.plan_id)
    assert found == ([] if tested is None else [tested])


@pytest.mark.parametrize(
    ("holdout", "tested"),
    [(0.0, GOOD), (0.2, GOOD[:1]), (0.2, (*GOOD, Hits(0, 0)))],
    ids=["not asked for", "a class is missing", "a class too many"],
)
def test_a_test_that_does_not_fit_is_refused_and_its_place_is_free(
    aggregator: HandAggregator, holdout: float, tested: tuple[Hits, ...]
) -> None:
    plan = opened(aggregator, holdout)
    assert verdict(aggregator, plan, tested) == (Verdict.REFUSED, "tested")
    assert aggregator.store.rounds.tests("tiny", plan.plan_id) == []
    assert aggregator.store.rounds.places("tiny", plan.plan_id) == {}
