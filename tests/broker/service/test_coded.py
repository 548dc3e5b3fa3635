"""Coded updates through the service: read beside the loop, added, verified, or refused."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fedling_broker.aggregation import optimisers, sums
from fedling_broker.aggregation.leaps import Leaps
from fedling_broker.config import KeepUpdates
from fedling_broker.store.store import Store
from fedling_broker.tasks import changes
from fedling_broker.tasks.task_file import parse_task
from fedling_broker.verify import verify
from fedling_native import parameter_counts
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.messages import Plan, Verdict
from tests.support.hand_aggregator import HandAggregator, key_of, task_text

TARGET = 60
DEVICES = (1, 2, 3)


def begun(directory: Path) -> HandAggregator:
    aggregator = HandAggregator(directory, keep_updates=KeepUpdates.AUDIT)
    aggregator.add_task(rounds=4, goal=3, target=TARGET)
    aggregator.enrol(*DEVICES, 4)
    aggregator.connect()
    return aggregator


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = begun(tmp_path / "state")
    yield aggregator
    aggregator.store.close()


def faults(aggregator: HandAggregator) -> list[tuple[int, str, str]]:
    task = parse_task(aggregator.store.tasks.rows()[0].text, "tiny.toml")
    return [(c.round, c.source, c.fault) for c in verify(aggregator.store, task, b"s" * 32)]


def sum_of(aggregator: HandAggregator, number: int) -> list[int]:
    store = aggregator.store
    fold = next(f for f in store.models.folds("tiny") if f.round == number)
    layers = parse_task(store.tasks.rows()[0].text, "tiny.toml").spec.layers
    values: list[int] = sums.from_bytes(store.models.sums.get(fold.sum_hash), layers).tolist()
    return values


def test_a_plan_says_the_target_and_its_rounds_are_verified_from_updates(
    aggregator: HandAggregator,
) -> None:
    for step in (40, -25):
        plan = aggregator.plan
        assert (plan.codec, plan.target) == (Codec.CODED, TARGET)
        for number in DEVICES:
            aggregator.accepted(number, plan, step)
        # the same value everywhere, in 1/256, of 7 examples each of three devices
        middle = float(np.mean(sum_of(aggregator, plan.round))) / 256 / 21
        assert middle == pytest.approx(step, rel=0.4)
    assert faults(aggregator) == [(0, "seed", ""), (1, "updates", ""), (2, "updates", "")]


@pytest.mark.parametrize("leaps", [Leaps(3), Leaps(8, 32), Leaps(8, 1)])
def test_models_follow_in_the_leaps_that_the_journal_names(
    leaps: Leaps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in those of releases before; `verify` is not told which are planted here."""
    with monkeypatch.context() as patch:
        patch.setattr(optimisers, "leaps_of", lambda target, parameters: leaps)
        aggregator = begun(tmp_path / "state")
        for step in (600, 600, -600):
            plan = aggregator.plan
            for number in DEVICES:
                aggregator.accepted(number, plan, step)
    models, spec = aggregator.store.models, aggregator.plan.spec
    views = [models.bytes_of(row, spec) for row in models.rows("tiny")]
    weights, _ = parameter_counts(spec.layers)
    masters = [np.frombuffer(view, "<i2", weights).astype(int) for view in views]
    moved = [now - then for then, now in pairwise(masters[1:])]
    assert any(one.any() for one in moved)
    multiple = 256 if leaps.nearest else 256 * leaps.longest
    assert not any((one % multiple).any() for one in moved)
    assert faults(aggregator) == [(n, "updates" if n else "seed", "") for n in range(4)]
    aggregator.store.close()


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_restarts_between_updates_change_no_bit(
    aggregator: HandAggregator, order: tuple[int, ...]
) -> None:
    """The first round is added up at its end, the second one as it comes; verify does it again."""
    for step in (40, -25):
        for number in order:
            aggregator.accepted(number, aggregator.plan, step * number)
            aggregator.start()
            aggregator.connect()
    assert faults(aggregator) == [(0, "seed", ""), (1, "updates", ""), (2, "updates", "")]


@pytest.mark.parametrize(
    ("vector", "reason"),
    [
        (b"\1", "vector"),
        (b"\2" + bytes(40), "vector"),
        (b"\0" * 40, "vector"),
        (b"\1" * 60, "vector"),
        (b"\1" * 400, "shape"),
    ],
)
def test_what_no_encoder_wrote_is_refused_and_counted(
    aggregator: HandAggregator, vector: bytes, reason: str
) -> None:
    plan = aggregator.plan
    aggregator.join(4, plan)
    aggregator.update(4, plan, vector=vector)
    aggregator.settle()
    (receipt,) = aggregator.receipts
    assert (receipt.verdict, receipt.reason) == (Verdict.REFUSED, reason)
    decision = aggregator.store.rounds.decision("tiny", plan.plan_id, device_id(key_of(4).public))
    assert decision is not None
    assert decision.reason == reason
    for number in DEVICES:  # its place is free, and the round goes on
        aggregator.accepted(number, plan, 9)
    assert aggregator.store.models.folded("tiny") == 1
    assert all(fault == "" for _, _, fault in faults(aggregator))


def test_an_update_of_another_devices_seed_is_read_as_noise_of_its_length(
    aggregator: HandAggregator,
) -> None:
    """Who encodes by another seed says something else, never more than limits let him."""
    plan = aggregator.plan
    aggregator.join(4, plan)
    aggregator.update(4, plan, vector=aggregator.coded(1, plan, 3000))
    for number in (1, 2):
        aggregator.accepted(number, plan, 9)
    aggregator.settle()
    assert max(map(abs, sum_of(aggregator, 1))) < 100 * 256 * 21
    assert faults(aggregator)[-1] == (1, "updates", "")


def test_while_an_update_is_read_others_are_decided(aggregator: HandAggregator) -> None:
    plan = aggregator.plan
    for number in DEVICES:
        aggregator.join(number, plan)
    aggregator.settle()
    aggregator.compute.waits = True
    hashes = [aggregator.update(number, plan) for number in DEVICES]
    aggregator.join(4, plan)
    aggregator.settle()
    assert aggregator.receipts == []
    assert len(aggregator.tickets) == 4
    again = aggregator.update(1, plan, step=4)  # while its first one is read
    aggregator.settle()
    aggregator.compute.waits = False
    aggregator.compute.go()
    aggregator.settle()
    assert {r.update_hash for r in aggregator.receipts} == {*hashes}
    assert again not in hashes
    assert aggregator.store.models.folded("tiny") == 1


def test_how_small_updates_are_made_changes_with_the_next_round(
    aggregator: HandAggregator,
) -> None:
    """Lengths of updates that were coded otherwise say nothing about these."""

    def told(target: str) -> Plan:
        text = task_text("tiny", rounds=4, goal=3) + f"[compression]\n{target}\n"
        task = parse_task(text, "tiny.toml")
        other = Store(aggregator.directory)
        done = changes.apply(other, "tiny", task, text)
        other.close()
        assert [key.partition(".")[0] for key in done.keys] == ["compression"] * len(done.keys)
        aggregator.clock.move(2.0)
        return aggregator.plan

    plan = told("off = true")
    assert plan.target == TARGET
    for number in DEVICES:
        aggregator.accepted(number, plan, 30)
    plan = aggregator.plan
    assert (plan.codec, plan.target) == (Codec.RAW_INT16, None)
    row = aggregator.store.rounds.plan("tiny", plan.plan_id)
    assert row is not None
    assert row.limits is None
    for number in DEVICES:
        aggregator.accepted(number, plan, 30)
    assert set(sum_of(aggregator, 2)) == {30 * 21}
    assert [source for _, source, fault in faults(aggregator) if not fault] == [
        "seed", "updates", "updates",
    ]  # fmt: skip
