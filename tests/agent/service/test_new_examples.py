"""A device takes part in a round of a task that wants new examples if it has some."""

from dataclasses import replace
from functools import partial

import pytest

from fedling_agent.data.counting import Counter
from fedling_agent.service import report
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire.messages import Join, Plan, PlanKind, Verdict
from tests.support.device import (
    STREAM,
    TRAINING,
    UNMEASURED,
    csv_lines,
    make_model,
    make_plan,
    parse,
)
from tests.support.service import HandService

WANTS_NEW = replace(TRAINING, new_examples=1)
NONE_NEW = "not training: no new examples since its last update that was accepted"


def doing(device: HandService) -> str:
    return report.sentence(device.runner, None, device.clock.now())


def ingest(device: HandService, lines: list[str]) -> None:
    done = device.store.recordings.ingest(STREAM, parse(lines), 1000)
    device.service.runners.examples_changed(done.changes)
    device.clock.settle()


def joins(device: HandService, plan: Plan) -> bool:
    device.clock.move(60.0)
    return any(join.plan_id == plan.plan_id and join.have is None for join in device.sent(Join))


def take_part(device: HandService, number: int, verdict: Verdict | None) -> Plan:
    """Play a whole round; verdict: of its update; None: another plan is opened before it is done"""
    plan = device.offer(number, model=make_model(number), training=WANTS_NEW)
    assert joins(device, plan), doing(device)
    device.go(plan)
    device.settle(lambda: device.children[-1:] and device.children[-1].did[:1] == ["start"])
    if verdict is not None:
        device.children[-1].finish()
        device.settle(lambda: device.updates)
        device.receipt(plan, device.updates[-1][1], verdict)
    return plan


def test_a_device_without_new_examples_waits_until_some_come(device: HandService) -> None:
    take_part(device, 1, Verdict.ACCEPTED)
    plan = device.offer(2, model=make_model(2), training=WANTS_NEW)
    assert not joins(device, plan)
    assert doing(device) == NONE_NEW
    ingest(device, csv_lines(1, 40, prefix="new"))
    assert joins(device, plan)


def test_that_holds_over_a_restart(device: HandService) -> None:
    take_part(device, 1, Verdict.ACCEPTED)
    device.crash()
    device.connect()
    plan = device.offer(2, model=make_model(2), training=WANTS_NEW)
    assert not joins(device, plan)
    assert doing(device) == NONE_NEW


@pytest.mark.parametrize("verdict", [Verdict.LATE, Verdict.REFUSED, None])
def test_what_nobody_has_learned_from_is_new(device: HandService, verdict: Verdict | None) -> None:
    take_part(device, 1, verdict)
    assert joins(device, device.offer(2, model=make_model(2), training=WANTS_NEW))


def test_examples_that_are_labelled_anew_are_new(device: HandService) -> None:
    take_part(device, 1, Verdict.ACCEPTED)
    plan = device.offer(2, model=make_model(2), training=WANTS_NEW)
    assert not joins(device, plan)
    changes = device.store.recordings.relabel("wrist", "r0", None, None, "up").changes
    device.service.runners.examples_changed(changes)
    device.clock.settle()
    assert joins(device, plan)


def test_fewer_than_the_task_wants_are_counted(device: HandService) -> None:
    take_part(device, 1, Verdict.ACCEPTED)
    plan = device.offer(2, model=make_model(2), training=replace(TRAINING, new_examples=1000))
    ingest(device, csv_lines(1, 40, prefix="new"))
    assert not joins(device, plan)
    assert "fewer than 1000 new examples since" in doing(device)
    facts = report.of_live(device.runner, None, device.clock.now())["too_few_new"]
    assert facts == {"wanted": 1000, "found": device.runner.new_found}
    assert 0 < facts["found"] < 1000


def test_a_task_that_wants_none_trains_on_the_same_ones_again(device: HandService) -> None:
    take_part(device, 1, Verdict.ACCEPTED)
    assert joins(device, device.offer(2, model=make_model(2)))


def test_statistics_want_no_new_examples(device: HandService) -> None:
    training, model = replace(TRAINING, new_examples=10**6), make_model(spec=UNMEASURED)
    plan = device.offer(model=model, training=training, kind=PlanKind.STATISTICS)
    assert joins(device, plan)


def test_a_task_that_is_added_again_knows_of_nothing(device: HandService) -> None:
    take_part(device, 1, Verdict.ACCEPTED)
    (key, *_) = [one.key for one in device.store.recordings.newest("wrist")]
    assert device.store.plans.known("watch", key)
    device.store.lives.forget("watch")
    assert device.store.plans.known("watch", key) is None


@pytest.mark.parametrize("slices_before", range(1, 9))
def test_what_comes_while_a_set_is_gathered_is_in_it_or_new(
    device: HandService, slices_before: int
) -> None:
    plan, store = make_plan(make_model(), 1, WANTS_NEW), device.store
    store.models.put(make_model(), 0, plan.base_hash)
    slices = device.service.runners._parts.freezer.freeze(plan)
    for _ in range(slices_before):
        next(slices)
    store.recordings.ingest(STREAM, parse(csv_lines(1, 40, prefix="new")), 1000)
    finish(slices)()
    record = store.plans.find(plan.plan_id)
    assert record is not None
    in_it = any(one.recording == "new0" for one in finish(store.plans.examples(record)))
    is_new = Counter(store.recordings, plan.spec, TRAINING, partial(store.plans.known, "watch"))
    assert in_it != finish(is_new.count())


@pytest.mark.parametrize("verdict", [Verdict.LATE, Verdict.ACCEPTED])
def test_examples_are_counted_anew_for_the_plan_that_waits_for_a_verdict(
    device: HandService, verdict: Verdict
) -> None:
    """What was trained on is none of the new ones, unless nobody took it."""
    first = device.offer(training=WANTS_NEW)
    device.go(first)
    device.settle(lambda: device.children)
    device.children[-1].finish()
    device.settle(lambda: device.updates)
    plan = device.offer(2, model=make_model(2), training=WANTS_NEW)
    device.settle()
    device.receipt(first, device.updates[-1][1], verdict)
    assert joins(device, plan) == (verdict is Verdict.LATE)
