"""A plan of statistics on a device: the same way as any other, and nothing is trained."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.service import report
from fedling_agent.training.replay import replay
from fedling_native import Normaliser, Sums
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire import sums as wire
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import Join, Plan, PlanKind, Verdict
from fedling_sim.world import Weather
from tests.support.device import FLEET, MEASURED, SECRET, UNMEASURED, make_device, make_model
from tests.support.device import make_plan as make
from tests.support.service import HandService

EMPTY = Weather(mains=False, battery=5, temperature=40, network=True)
DRAWN = make_model(spec=UNMEASURED)


def offered(device: HandService, number: int = 1) -> Plan:
    return device.offer(number, model=DRAWN, kind=PlanKind.STATISTICS)


def by_hand(device: HandService) -> Sums:
    """Over the windows of all recordings, in Python's own integers."""
    recordings = device.store.recordings
    rows: list[Sequence[int]] = []
    for recording in recordings.newest("wrist"):
        counts = memoryview(recordings.samples(recording, 0, 120)).cast("h").tolist()
        for half in (0, 60):  # a window has one label
            for first in range(half, half + 60 - 9, 5):
                rows += [counts[2 * at : 2 * at + 2] for at in range(first, first + 10)]
    columns = list(zip(*rows, strict=True))
    return Sums(
        len(rows),
        tuple(sum(column) for column in columns),
        tuple(sum(value**2 for value in column) for column in columns),
    )


def test_a_device_counts_and_sends_without_a_child(device: HandService) -> None:
    plan = offered(device)
    device.go(plan)
    device.settle(lambda: device.updates)
    ((update, name),) = device.updates
    assert device.children == []
    assert (update.codec, update.saturated, update.plan_id) == (Codec.SUMS, 0, plan.plan_id)
    assert wire.unpack(update.vector) == by_hand(device)
    assert update.weight == by_hand(device).count // 10
    device.receipt(plan, name, Verdict.ACCEPTED)
    device.settle()
    assert device.store.plans.is_finished(plan.plan_id)
    assert device.runner.session.spool == ()
    again = replay(device.store, FLEET, SECRET, plan.plan_id)
    assert again.same


@pytest.mark.parametrize("when", ["frozen", "spooled"])
def test_a_crash_sends_the_same_bytes(device: HandService, when: str) -> None:
    plan = offered(device)
    device.go(plan)
    if when == "frozen":
        device.disk.waits = True
        device.settle(lambda: device.disk.waiting)
        device.disk.waits = False
        device.disk.go()  # the training set is on disk, nothing that follows is
    else:
        device.settle(lambda: device.updates)
    first = [update.vector for update, _ in device.updates]
    device.crash()
    device.connect()
    offered(device)
    if device.sent(Join)[-1].plan_id == plan.plan_id:
        device.go(plan)
    device.settle(lambda: device.updates)
    vectors = {update.vector for update, _ in device.updates} | set(first)
    assert vectors == {wire.pack(by_hand(device))}


def test_training_takes_the_place_of_statistics(device: HandService) -> None:
    """The round closed without this device: it goes on with the plan that came of it."""
    old = offered(device)
    device.go(old)
    device.world.show(EMPTY)
    device.clock.move(1)
    device.runner.look()
    model = make_model(2, spec=MEASURED)
    new = device.offer(2, model=model)
    assert (old.moment < new.moment, new.kind) == (True, PlanKind.TRAIN)
    offer = device.runner.session.offer
    assert offer is not None
    assert offer.plan_id == new.plan_id
    offered(device)  # the MQTT broker sends what it held: in any order
    offer = device.runner.session.offer
    assert offer is not None
    assert offer.plan_id == new.plan_id


def test_an_emptied_plan_says_nothing(device: HandService) -> None:
    """That is how a plan of statistics goes: the plan that is open stays so."""
    plan = device.offer(2, model=make_model(2, spec=MEASURED))
    topic = f"fedling/1/{FLEET}/watch/plan/statistics"
    before = Counter(device.service.books.counters())
    device.service.on_message(topic, b"", False)
    device.settle()
    offer = device.runner.session.offer or device.runner.session.begun
    assert offer is not None
    assert offer.plan_id == plan.plan_id
    after = Counter(device.service.books.counters())
    assert [name for name in after - before if name.startswith("refused")] == []


def test_a_result_that_is_damaged_is_made_again_and_nothing_is_trained(tmp_path: Path) -> None:
    device = make_device(tmp_path, spec=UNMEASURED)
    device.plan = make(device.model, kind=PlanKind.STATISTICS)
    job = device.freeze()
    before = job.result()
    assert before is not None
    assert Normaliser.of(wire.unpack(before.vector)) == job.recipe.normaliser
    damages: list[Callable[[Path], object]] = [Path.unlink, lambda path: path.write_bytes(b"x")]
    for damage in damages:
        damage(job.directory / "result")
        mended = device.mend()
        assert mended is not None
        assert mended.result() == before
    write = finish(device.freezer.freeze(device.plan))
    assert write().result() == before


def test_what_is_clipped_is_counted_and_told(tmp_path: Path) -> None:
    """Counts of 1/1000 g without a scale: nearly all are beyond 127."""
    for normalise, low, high in (("none", 0.4, 0.9), ("device", 0.0, 0.01)):
        spec = replace(UNMEASURED, normalise=normalise)
        device = make_device(tmp_path / normalise, spec=spec)
        assert report.of_task(device.store, "watch")["clipped"] is None
        job = device.freeze()
        with job.examples() as data:
            size = 2 * job.recipe.count * job.recipe.values
            x = memoryview(job.recipe.normaliser.apply(data[:size])).cast("b")
            expected = sum(abs(value) == 127 for value in x)
        record = device.store.plans.find(device.plan.plan_id)
        assert record is not None
        assert (record.clipped, record.values) == (expected, len(x))
        told = report.of_task(device.store, "watch")["clipped"]
        assert told == expected / len(x)
        assert low <= told <= high
        device.store.close()
