"""What one device can do to the model, through the service: little, whenever the process dies."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.aggregation import sums
from fedling_broker.config import KeepUpdates
from fedling_broker.store.rounds import PlanRow
from fedling_broker.tasks.task_file import parse_task
from fedling_broker.verify import verify
from tests.support.hand_aggregator import BIASES, WEIGHTS, HandAggregator


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state", keep_updates=KeepUpdates.AUDIT)
    aggregator.add_task(rounds=4, goal=3)
    aggregator.enrol(1, 2, 3)
    aggregator.connect()
    yield aggregator
    aggregator.store.close()


def rounds(
    aggregator: HandAggregator, *steps: tuple[int, int, int], restarts: bool = False
) -> None:
    """Rounds in which the devices' updates have these values everywhere."""
    for of_devices in steps:
        plan = aggregator.plan
        for number, step in enumerate(of_devices, 1):
            if restarts:
                aggregator.start()
                aggregator.connect()
            aggregator.accepted(number, plan, step)


def total(aggregator: HandAggregator, number: int) -> tuple[float, float]:
    """What the sum of a round has for each weight, and for each bias; of 7 examples a device."""
    store = aggregator.store
    fold = next(f for f in store.models.folds("tiny") if f.round == number)
    task = store.tasks.rows()[0]
    layers = parse_task(task.text, "tiny.toml").spec.layers
    values = sums.from_bytes(store.models.sums.get(fold.sum_hash), layers).tolist()
    (weight,), (bias,) = set(values[:WEIGHTS]), set(values[WEIGHTS:])
    assert len(values) == WEIGHTS + BIASES
    return weight / 7, bias / 7


def about(weight: int, bias: int) -> object:
    """Lengths and shares are whole numbers."""
    return pytest.approx((weight, bias), rel=0.01)


def plans(aggregator: HandAggregator) -> list[PlanRow]:
    return aggregator.store.rounds.plans("tiny")


@pytest.mark.parametrize("restarts", [False, True])
def test_a_first_round_is_held_to_its_own_middle(
    aggregator: HandAggregator, restarts: bool
) -> None:
    assert plans(aggregator)[0].limits is None
    rounds(aggregator, (500, 500, 30_000), restarts=restarts)
    assert total(aggregator, 1) == about(1500, 1500)
    assert plans(aggregator)[0].limits is not None


@pytest.mark.parametrize("restarts", [False, True])
def test_a_later_round_is_held_to_the_rounds_before(
    aggregator: HandAggregator, restarts: bool
) -> None:
    rounds(aggregator, (500, 500, 500), (500, -30_000, -30_000), restarts=restarts)
    second = plans(aggregator)[1].limits
    assert second is not None
    assert total(aggregator, 2) == about(-500, -500)
    store = aggregator.store
    task = parse_task(store.tasks.rows()[0].text, "tiny.toml")
    assert [check.fault for check in verify(store, task, b"s" * 32)] == [""] * 3


def test_a_round_that_died_between_its_end_and_its_sum_is_the_same(
    aggregator: HandAggregator,
) -> None:
    aggregator.compute.waits = True
    rounds(aggregator, (500, 600, 30_000))
    assert plans(aggregator)[0].closed
    aggregator.start()
    aggregator.connect()
    aggregator.clock.move(10.0)
    assert total(aggregator, 1) == about(1700, 1700)


def test_what_counts_of_a_claim_follows_devices_whose_data_grow(
    aggregator: HandAggregator,
) -> None:
    """A device claims as much as the plan lets it; the middle of the last rounds counts."""
    caps, counted = [], []
    for number in (1, 2, 3, 4):
        plan = aggregator.plan
        caps.append(plan.training.weight_cap)
        for device, has in ((1, 7 * 3**number), (2, 7 * 3**number), (3, 10_000)):
            weight = min(has, plan.training.weight_cap)
            aggregator.accepted(device, plan, weight=weight)
        counted.append(aggregator.store.models.folds("tiny")[-1].weight)
    assert caps == [1000, 42, 42, 84]
    assert counted == [3 * 21, 3 * 21, 3 * 21, 3 * 42]


def test_a_device_that_is_far_off_again_and_again_is_named(
    aggregator: HandAggregator, caplog: pytest.LogCaptureFixture
) -> None:
    far = (500, 600, 30_000)
    rounds(aggregator, far, far)
    assert "again and again" not in caplog.text
    rounds(aggregator, far)
    (device,) = aggregator.store.rounds.far_again("tiny", plans(aggregator)[2])
    assert f"device {device} are far longer" in caplog.text
    rounds(aggregator, (500, 600, 700))
    assert aggregator.store.rounds.far_again("tiny", plans(aggregator)[3]) == []


def test_two_devices_are_not_held_to_the_shorter_one(tmp_path: Path) -> None:
    """Nobody knows which of two is odd, and a fleet of two must learn from both."""
    two = HandAggregator(tmp_path / "two")
    two.add_task(rounds=3, goal=2)
    two.enrol(1, 2)
    two.connect()
    for number in (1, 2):
        plan = two.plan
        assert plan.training.weight_cap == 1000
        two.accepted(1, plan, 0, weight=7)
        two.accepted(2, plan, 9_000, weight=700)
        values = total(two, number)
        assert values == (9_000 * 100, 9_000 * 100)
    two.store.close()


def test_updates_that_change_nothing_end_no_round(aggregator: HandAggregator) -> None:
    """A length of 0 divides nothing; what comes after is measured by what came before."""
    rounds(aggregator, (0, 0, 0), (0, 0, 500), (500, 500, 500), (500, 500, 500))
    assert [total(aggregator, number)[0] for number in (1, 2, 3, 4)] == [0, 0, 0, 0]
    assert aggregator.store.models.folded("tiny") == 4
