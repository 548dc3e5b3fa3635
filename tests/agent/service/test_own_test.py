"""A device says of each round how the base model did on what it keeps out of training."""

from dataclasses import replace

from fedling_agent.commands import status
from fedling_agent.service import report
from fedling_agent.service.control import Json
from fedling_agent.training.replay import replay
from fedling_native import Net
from fedling_protocol.wire.messages import Hits, Plan, Verdict
from tests.support.device import FLEET, SECRET, SPEC, TRAINING, make_model
from tests.support.service import HandService

HELD = replace(TRAINING, holdout=300, holdout_block=20)


def trained(device: HandService, number: int = 1) -> tuple[Plan, tuple[Hits, ...], bytes]:
    """A round up to its update: the plan, what the windows say by hand, the update's hash."""
    plan = device.offer(number, model=make_model(number), training=HELD)
    device.go(plan)
    device.settle(lambda: len(device.children) == number and device.children[-1].did)
    job = device.children[-1].job
    recipe, data = job.recipe, job.tests()
    net = Net(recipe.layers, recipe.exponents, job.base())
    counts = [[0, 0], [0, 0]]
    for at, label in enumerate(data[-recipe.tests :]):
        x = recipe.normaliser.apply(data[40 * at : 40 * at + 40])
        counts[label][0] += 1
        counts[label][1] += net.predict(x).label == label
    device.children[-1].finish()
    device.settle(lambda: len(device.updates) == number)
    return plan, tuple(Hits(*one) for one in counts), device.updates[-1][1]


def own_test(device: HandService) -> Json:
    told = report.of_task(device.store, "watch")["own_test"]
    assert isinstance(told, dict)
    return told


def test_the_update_says_how_the_base_did(device: HandService) -> None:
    _, expected, _ = trained(device)
    ((update, _),) = device.updates
    assert update.tested == expected
    assert sum(one.windows for one in expected) > 0
    right, windows = sum(one.right for one in expected), sum(one.windows for one in expected)
    assert own_test(device) == {
        "round": 1,
        "model": 1,
        "windows": windows,
        "right": right,
        "labels": {
            label: {"windows": one.windows, "right": one.right}
            for label, one in zip(SPEC.labels, expected, strict=True)
        },
    }
    meaning = device.store.ledger.sent(1)[0].meaning
    assert meaning == f"the update of round 1 of watch, and {right} of {windows} own windows right"


def test_the_last_test_is_shown_and_each_receipt_has_its_own(device: HandService) -> None:
    plan, first, name = trained(device)
    device.receipt(plan, name, Verdict.ACCEPTED)
    device.settle()
    again, second, name = trained(device, 2)
    device.receipt(again, name, Verdict.ACCEPTED)
    device.settle()
    assert (own_test(device)["round"], own_test(device)["model"]) == (2, 2)
    told = report.of_task(device.store, "watch")["receipts"]
    assert isinstance(told, list)
    assert [one["own_test"]["right"] for one in told] == [
        sum(one.right for one in hits) for hits in (second, first)
    ]
    facts = report.of_store(device.store, None, "today")
    lines = dict(status.pairs(facts | {"doing": "", "streams": {}, "source": "store"}))
    windows = sum(one.windows for one in second)
    assert lines["  own test"].endswith(f"% of {windows} windows, model 2, in round 2")


def test_the_owner_s_no_reaches_the_training(device: HandService) -> None:
    device.config = replace(device.config, floor=replace(device.config.floor, tests=False))
    device.crash()
    device.connect()
    plan = device.offer(training=HELD)
    device.go(plan)
    device.settle(lambda: device.children and device.children[-1].did)
    assert device.children[-1].job.recipe.tests == 0


def test_nothing_is_said_where_nothing_is_held_out(device: HandService) -> None:
    plan = device.begin()
    device.children[-1].finish()
    device.settle(lambda: device.updates)
    ((update, name),) = device.updates
    assert update.tested is None
    device.receipt(plan, name, Verdict.ACCEPTED)
    device.settle()
    about = report.of_task(device.store, "watch")
    assert about["own_test"] is None
    assert isinstance(about["receipts"], list)
    assert about["receipts"][0]["own_test"] is None


def test_replay_computes_the_vector_whatever_was_tested(device: HandService) -> None:
    """The child of this test writes zeros; what replay computes does not depend on the test."""
    plan, _, _ = trained(device)
    computed = replay(device.store, FLEET, SECRET, plan.plan_id).computed
    record = device.store.plans.find(plan.plan_id)
    assert record is not None
    assert record.tested is not None
    assert replay(device.store, FLEET, SECRET, plan.plan_id).computed == computed
