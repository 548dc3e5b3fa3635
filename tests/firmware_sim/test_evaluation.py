"""The simulator's exam sees what the device's own `predict` would see."""

from pathlib import Path

import pytest

from fedling_broker.aggregation.initial import initial_state
from fedling_native import INPUT_EXP
from fedling_protocol.wire.identity import SigningKey
from fedling_sim import alone, dataset
from fedling_sim.device import Device, Surroundings
from fedling_sim.evaluation import Examiner
from fedling_sim.simulation import Scenario, load
from fedling_sim.world import Trace
from tests.support import small_task


def prepared(folder: Path, normalise: str) -> tuple[Scenario, Device]:
    """A device that has ingested its training part."""
    scenario = load(small_task.write(folder / "task", devices=1, normalise=normalise))
    table = scenario.simulation
    (data,) = dataset.load(table.data, scenario.stream, scenario.task.spec, 0)
    place = Surroundings(folder / "device", 1, "sim", bytes(32), table.stream)
    key, trace = SigningKey(bytes(32)), Trace(1, 0, table.climate)
    device = Device(data, place, key, bytes(32), trace)
    device.prepare(1.0)
    assert device.ingest("wrist").returncode == 0
    return scenario, device


def test_exam_without_normalisation_takes_counts_as_they_are(tmp_path: Path) -> None:
    scenario, device = prepared(tmp_path, "none")
    (exam,) = Examiner(scenario, [device]).exams
    for x, test in zip(exam.inputs(), device.data.tests, strict=True):
        assert list(memoryview(x).cast("b")) == [max(-127, min(127, c)) for c in test.counts]


def test_exam_normalises_like_what_the_device_trains_on(tmp_path: Path) -> None:
    scenario, device = prepared(tmp_path, "device")
    (exam,) = Examiner(scenario, [device]).exams
    values = [v * 2.0**INPUT_EXP for x in exam.inputs() for v in memoryview(x).cast("b")]
    mean = sum(values) / len(values)
    assert abs(mean) < 0.5
    assert 0.5 < sum((v - mean) ** 2 for v in values) / len(values) < 2


@pytest.mark.parametrize("normalise", ["fleet", "device", "none"])
def test_alone_a_device_learns_its_own(tmp_path: Path, normalise: str) -> None:
    scenario, device = prepared(tmp_path, normalise)
    examiner = Examiner(scenario, [device])
    first = initial_state(scenario.task.spec.layers, bytes(32))
    (untaught,) = alone.learn(scenario, first, examiner, 0)
    (taught,) = alone.learn(scenario, first, examiner, 20)
    assert taught == alone.learn(scenario, first, examiner, 20)[0]
    assert taught.own == taught.all  # it is the only one
    assert taught.own is not None
    assert untaught.own is not None
    assert taught.own > untaught.own
