"""The round of statistics through the service: who lies, who dies, and what is told of it."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.aggregation.scale import total_of
from fedling_broker.config import KeepUpdates
from fedling_broker.service import measure as service_measure
from fedling_broker.store.models import ModelRow
from fedling_broker.store.rounds import LOST
from fedling_broker.store.shelf import Damaged
from fedling_broker.store.store import Store
from fedling_broker.tasks import changes
from fedling_broker.tasks.task_file import parse_task
from fedling_broker.verify import Check, verify
from fedling_native import Normaliser, Sums
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.wire import digest
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.messages import Model, Plan, PlanKind, Receipt, Verdict
from fedling_protocol.wire.sums import MAX_SAMPLES, pack
from tests.support.hand_aggregator import HandAggregator, key_of

PLANS = {kind: f"fedling/1/test/tiny/plan/{kind}" for kind in PlanKind}

# Three devices, each with 40 samples of its own kind: means 100, 0, -100 and 0, 50, 100.
HONEST = [
    Sums(40, (40 * mean, 40 * other), (40 * (mean**2 + 25), 40 * (other**2 + 4)))
    for mean, other in ((100, 0), (0, 50), (-100, 100))
]
SCALE = Normaliser.of(total_of(HONEST, limited=True)).to_tuples()


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state", keep_updates=KeepUpdates.AUDIT)
    aggregator.add_task(rounds=2, goal=3, normalise="fleet")
    aggregator.enrol(1, 2, 3, 4)
    aggregator.connect()
    yield aggregator
    aggregator.store.close()


def measure(aggregator: HandAggregator) -> Plan:
    """The round of statistics; the plan that follows."""
    for number, sums in enumerate(HONEST, 1):
        aggregator.measured(number, aggregator.plan, sums)
    return aggregator.plan


def newest(aggregator: HandAggregator) -> ModelRow:
    return aggregator.store.models.newest("tiny")


def verified(aggregator: HandAggregator) -> list[Check]:
    store = aggregator.store
    task = parse_task(store.tasks.rows()[0].text, "tiny.toml")
    return list(verify(store, task, b"s" * 32))


def test_the_first_plan_asks_for_statistics_and_the_next_has_the_scale(
    aggregator: HandAggregator,
) -> None:
    first = aggregator.plan
    assert (first.kind, first.round, first.base_version) == (PlanKind.STATISTICS, 0, 1)
    second = measure(aggregator)
    assert (second.kind, second.round, second.base_version) == (PlanKind.TRAIN, 1, 2)
    assert second.spec.scale == SCALE
    drawn, scaled = aggregator.said(Model)
    assert (drawn.drawn, scaled.drawn) == (True, True)
    assert (drawn.spec.scale, scaled.spec) == (None, second.spec)
    assert (drawn.weights, drawn.exponents) == (scaled.weights, scaled.exponents)
    name = digest.model_hash(scaled.spec, scaled.exponents, scaled.weights)
    assert second.base_hash == newest(aggregator).model_hash == name != first.base_hash


def test_training_goes_on_from_there_and_counts_its_own_rounds(aggregator: HandAggregator) -> None:
    for number in (1, 2):
        plan = measure(aggregator) if number == 1 else aggregator.plan
        assert plan.round == number
        for device in (1, 2, 3):
            aggregator.accepted(device, plan, step=3 + device)
    rest = aggregator.rests[-1]
    assert (rest.version, rest.spec.scale) == (4, SCALE)  # both rounds of training are done
    assert [model.drawn for model in aggregator.said(Model)] == [True, True, False, False]
    assert {model.spec.scale for model in aggregator.said(Model)[1:]} == {SCALE}
    checks = verified(aggregator)
    assert [(c.round, c.version, c.source, c.fault) for c in checks] == [
        (0, 1, "seed", ""),
        (0, 2, "updates", ""),
        (1, 3, "updates", ""),
        (2, 4, "updates", ""),
    ]


@pytest.mark.parametrize("when", ["before each", "before its sum", "after"])
def test_a_restart_changes_nothing(aggregator: HandAggregator, when: str) -> None:
    aggregator.compute.waits = when == "before its sum"
    for number, sums in enumerate(HONEST, 1):
        if when == "before each":
            aggregator.start()
            aggregator.connect()
        aggregator.measured(number, aggregator.plan, sums)
    if when != "before each":
        aggregator.start()
        aggregator.connect()
        aggregator.clock.move(10.0)
    plan = aggregator.plan
    assert (plan.kind, plan.round, plan.spec.scale) == (PlanKind.TRAIN, 1, SCALE)
    assert [check.fault for check in verified(aggregator)] == [""] * 2


HOSTILE = {
    "no samples": (pack(Sums(0, (0, 0), (0, 0))), "sums"),
    "too many samples": (pack(Sums(MAX_SAMPLES + 1, (0, 0), (0, 0))), "sums"),
    "a sum too large": (pack(Sums(2, (65_537, 0), (2**31, 0))), "sums"),
    "a sum too small": (pack(Sums(2, (0, -65_537), (0, 2**31))), "sums"),
    "squares too large": (pack(Sums(2, (0, 0), (0, 2**31 + 1))), "sums"),
    "squares too small": (pack(Sums(3, (9, 0), (26, 0))), "sums"),
    "the largest integers": (struct.pack("<QqQqQ", 2**64 - 1, 2**63 - 1, 2**64 - 1, 0, 0), "sums"),
    "the smallest integers": (struct.pack("<QqQqQ", 1, -(2**63), 0, -(2**63), 0), "sums"),
    "a channel too many": (pack(Sums(2, (0, 0, 0), (0, 0, 0))), "shape"),
    "a channel too few": (pack(Sums(2, (0,), (0,))), "shape"),
    "an odd byte": (pack(HONEST[0]) + b"x", "shape"),
}


@pytest.mark.parametrize("lie", HOSTILE)
def test_sums_that_no_samples_have_are_refused_by_name(
    aggregator: HandAggregator, lie: str
) -> None:
    vector, reason = HOSTILE[lie]
    plan = aggregator.plan
    aggregator.join(4, plan)
    name = aggregator.counted(4, plan, vector)
    aggregator.settle()
    receipt = aggregator.said(Receipt)[-1]
    assert (receipt.update_hash, receipt.verdict, receipt.reason) == (
        name, Verdict.REFUSED, reason,
    )  # fmt: skip
    assert measure(aggregator).spec.scale == SCALE  # the others go on


def test_an_update_of_weights_is_none_of_statistics(aggregator: HandAggregator) -> None:
    plan = aggregator.plan
    aggregator.join(4, plan)
    aggregator.update(4, plan)
    aggregator.settle()
    assert (aggregator.said(Receipt)[-1].verdict, aggregator.said(Receipt)[-1].reason) == (
        Verdict.REFUSED, "shape",
    )  # fmt: skip


def test_a_task_holds_one_plan_at_the_mqtt_broker(aggregator: HandAggregator) -> None:
    def plans() -> set[str]:
        return aggregator.held() & set(PLANS.values())

    assert plans() == {PLANS[PlanKind.STATISTICS]}
    measure(aggregator)
    assert plans() == {PLANS[PlanKind.TRAIN]}
    before = len(aggregator.emptied())
    for device in (1, 2, 3):
        aggregator.accepted(device, aggregator.plan)
    assert PLANS[PlanKind.STATISTICS] not in aggregator.emptied()[before:]  # it was, and is still
    aggregator.connect()  # the MQTT broker may have come back with what it held long ago
    assert PLANS[PlanKind.STATISTICS] in aggregator.emptied()[before:]


def test_a_removed_task_leaves_no_plan_of_any_kind(aggregator: HandAggregator) -> None:
    aggregator.remove_task()
    aggregator.clock.move(2.0)
    assert set(PLANS.values()) <= set(aggregator.emptied())


def test_a_paused_task_ends_its_statistics_and_rests(aggregator: HandAggregator) -> None:
    other = Store(aggregator.directory)
    assert other.tasks.pause("tiny")
    other.close()
    aggregator.clock.move(2.0)
    for number, sums in enumerate(HONEST, 1):
        aggregator.measured(number, aggregator.said(Plan)[-1], sums)
    rest = aggregator.rests[-1]
    assert (rest.version, rest.spec.scale) == (2, SCALE)
    assert [plan.kind for plan in aggregator.said(Plan)][-1] is PlanKind.STATISTICS
    other = Store(aggregator.directory)
    assert other.tasks.resume("tiny")
    other.close()
    aggregator.clock.move(2.0)
    assert (aggregator.plan.kind, aggregator.plan.round) == (PlanKind.TRAIN, 1)


def test_a_rollback_keeps_the_scale(aggregator: HandAggregator) -> None:
    """Also to the model from before it was known: drawn weights do not know any scale."""
    measure(aggregator)
    for device in (1, 2, 3):
        aggregator.accepted(device, aggregator.plan)
    spec = parse_task(aggregator.store.tasks.rows()[0].text, "tiny.toml").spec
    for version, drawn in ((1, True), (3, False)):
        other = Store(aggregator.directory)
        row = next(row for row in other.models.rows("tiny") if row.version == version)
        other.roll_back(spec, row.version)
        other.close()
        aggregator.clock.move(2.0)
        assert (newest(aggregator).scale, newest(aggregator).drawn) == (SCALE, drawn)
    said = aggregator.plan if aggregator.plan.round == 4 else aggregator.rests[-1]
    assert said.spec.scale == SCALE
    assert [check.fault for check in verified(aggregator)] == [""] * len(verified(aggregator))


def test_there_is_nothing_to_go_back_to_before_the_fleet_was_measured(
    aggregator: HandAggregator,
) -> None:
    other = Store(aggregator.directory)
    spec = parse_task(other.tasks.rows()[0].text, "tiny.toml").spec
    with pytest.raises(BadInput, match="learned nothing yet"):
        other.roll_back(spec, other.models.newest("tiny").version)
    other.close()
    aggregator.clock.move(2.0)
    assert measure(aggregator).spec.scale == SCALE


def test_what_is_normal_is_no_matter_of_an_update_of_the_task(aggregator: HandAggregator) -> None:
    """The rest of it is, and the scale stays known."""
    measure(aggregator)
    other = Store(aggregator.directory)
    text = other.tasks.rows()[0].text
    changed = text.replace('"fleet"', '"device"')
    with pytest.raises(BadInput, match="task\\.normalise"):
        changes.apply(other, "tiny", parse_task(changed, "x"), changed)
    longer = text.replace("rounds = 2", "rounds = 3")
    changes.apply(other, "tiny", parse_task(longer, "x"), longer)
    other.close()
    aggregator.clock.move(2.0)
    assert (aggregator.plan.round, aggregator.plan.spec.scale) == (1, SCALE)


def test_verify_names_a_scale_that_does_not_follow_from_the_sum(
    aggregator: HandAggregator,
) -> None:
    measure(aggregator)
    with aggregator.store.database.transaction("a fault") as connection:
        sql = "UPDATE models SET scale = '[[0, 128, 7], [0, 128, 7]]' WHERE version = 2"
        connection.execute(sql)
    faults = [check.fault for check in verified(aggregator)]
    assert faults[0] == ""
    assert faults[1] != ""


def test_a_device_that_is_far_off_is_named_and_changes_little(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    aggregator = HandAggregator(tmp_path / "four")
    aggregator.add_task(rounds=1, goal=4, normalise="fleet")
    aggregator.enrol(1, 2, 3, 4)
    aggregator.connect()
    far = Sums(MAX_SAMPLES, (32767 * MAX_SAMPLES, 0), (32767**2 * MAX_SAMPLES, 0))
    for number, sums in enumerate([*HONEST, far], 1):
        aggregator.measured(number, aggregator.plan, sums)
    scale = aggregator.plan.spec.scale
    assert scale == Normaliser.of(total_of([*HONEST, far], limited=True)).to_tuples()
    assert scale is not None
    assert abs(scale[0].mean - SCALE[0][0]) < 200  # of 32767
    (fold,) = aggregator.store.models.folds("tiny")
    assert fold.far == [device_id(key_of(4).public)]
    assert f"the samples of device {fold.far[0]} lie far further off" in caplog.text
    aggregator.store.close()


def test_without_a_clip_nobody_is_held_near_the_others(tmp_path: Path) -> None:
    aggregator = HandAggregator(tmp_path / "free")
    aggregator.add_task(rounds=1, goal=4, clip=0, normalise="fleet")
    aggregator.enrol(1, 2, 3, 4)
    aggregator.connect()
    far = Sums(100, (32767 * 100, 0), (32767**2 * 100, 0))
    for number, sums in enumerate([*HONEST, far], 1):
        aggregator.measured(number, aggregator.plan, sums)
    total = total_of([*HONEST, far], limited=False)
    assert total != total_of([*HONEST, far], limited=True)
    assert aggregator.plan.spec.scale == Normaliser.of(total).to_tuples()
    (fold,) = aggregator.store.models.folds("tiny")
    assert fold.far == []
    assert [(c.source, c.fault) for c in verified(aggregator)] == [("seed", ""), ("sum", "")]
    aggregator.store.close()


def test_two_devices_are_believed_as_they_are(tmp_path: Path) -> None:
    aggregator = HandAggregator(tmp_path / "two")
    aggregator.add_task(rounds=1, goal=2, normalise="fleet")
    aggregator.enrol(1, 2)
    aggregator.connect()
    for number, sums in enumerate(HONEST[:2], 1):
        aggregator.measured(number, aggregator.plan, sums)
    total = total_of(HONEST[:2], limited=False)
    assert aggregator.plan.spec.scale == Normaliser.of(total).to_tuples()
    assert [(c.source, c.fault) for c in verified(aggregator)] == [("seed", ""), ("sum", "")]
    aggregator.store.close()


def test_a_round_whose_updates_are_gone_is_damaged(aggregator: HandAggregator) -> None:
    """As when the task is removed while the last of its updates is committed."""
    with pytest.raises(Damaged, match="no update of the round of statistics is whole"):
        service_measure.measured(aggregator.store.rounds, b"p" * 16, [])


def test_a_round_goes_on_without_an_update_that_the_disk_lost(aggregator: HandAggregator) -> None:
    plan = aggregator.plan
    for number, sums in enumerate(HONEST[:2], 1):
        aggregator.measured(number, plan, sums)
    log = aggregator.store.rounds.log(plan.plan_id)
    data = bytearray(log.read_bytes())
    data[len(data) // 4] ^= 1  # in the first device's
    log.write_bytes(data)
    aggregator.measured(3, plan, HONEST[2])
    limited = total_of(HONEST[1:], limited=True)
    assert aggregator.plan.spec.scale == Normaliser.of(limited).to_tuples()
    reasons = [d.reason for d in aggregator.store.rounds.decisions("tiny", plan.plan_id)]
    assert sorted(reasons) == ["", "", LOST]
    assert [check.fault for check in verified(aggregator)] == ["", ""]


def test_a_round_of_which_nothing_is_left_stops_its_task_with_a_way_out(
    aggregator: HandAggregator,
) -> None:
    plan = aggregator.plan
    for number, sums in enumerate(HONEST[:2], 1):
        aggregator.measured(number, plan, sums)
    log = aggregator.store.rounds.log(plan.plan_id)
    aggregator.clock.settle()
    aggregator.disk.waits = True
    aggregator.measured(3, plan, HONEST[2])
    aggregator.disk.go()
    log.write_bytes(bytes(log.stat().st_size))
    aggregator.disk.waits = False
    aggregator.settle()
    (halted,) = aggregator.service.runners.halts.halted.values()
    assert "no update of the round of statistics is whole" in halted.says
    assert "task remove" in halted.says


def test_the_scale_outlives_the_sum_that_it_was_made_of(tmp_path: Path) -> None:
    """Sums of old rounds are erased while the aggregator runs: it goes on, and is verified."""
    aggregator = HandAggregator(tmp_path / "long", keep_rounds=2)
    aggregator.add_task(rounds=6, goal=3, normalise="fleet")
    aggregator.enrol(1, 2, 3)
    aggregator.connect()
    plan = measure(aggregator)
    for number in range(6):
        plan = aggregator.plan
        assert (plan.round, plan.spec.scale) == (number + 1, SCALE)
        for device in (1, 2, 3):
            aggregator.accepted(device, plan, step=number + device)
        for message in aggregator.link.published:  # the MQTT broker has forgotten older models
            if message.done is not None:
                message.done()
        aggregator.settle()
        aggregator.start()
        aggregator.connect()
        assert [check.fault for check in verified(aggregator) if check.fault] == []
    assert (aggregator.rests[-1].version, aggregator.rests[-1].spec.scale) == (8, SCALE)
    assert len(list((aggregator.directory / "sums").iterdir())) <= 4
    aggregator.store.close()


def test_tasks_that_ask_no_fleet_are_not_measured(tmp_path: Path) -> None:
    aggregator = HandAggregator(tmp_path / "none")
    aggregator.add_task(normalise="none")
    aggregator.connect()
    assert (aggregator.plan.kind, aggregator.plan.round) == (PlanKind.TRAIN, 1)
    assert PLANS[PlanKind.STATISTICS] not in aggregator.emptied()
    aggregator.store.close()


def test_updates_of_statistics_have_no_length(aggregator: HandAggregator) -> None:
    """No later round is held to the middle of what was none."""
    first = aggregator.plan
    measure(aggregator)
    rows = aggregator.store.rounds.decisions("tiny", first.plan_id)
    assert [(row.norm_weights, row.norm_biases) for row in rows] == [(0, 0)] * 3
