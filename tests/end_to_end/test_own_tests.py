"""A whole federation with a hold-out: the accuracy shown is what numpy makes of the data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedling_agent.store import identity
from fedling_agent.store.store import Store as DeviceStore
from fedling_broker.commands import accuracy
from fedling_broker.store.rounds import PlanRow
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import parse_task
from fedling_protocol.wire.messages import Hits, TaskSpec, Training
from fedling_sim import run
from fedling_sim.progress import Silence
from tests.native.reference import normalisation
from tests.native.reference import training as reference
from tests.native.reference.model import Kind as ReferenceKind
from tests.native.reference.model import Model, Shape, load
from tests.support import naive_windows, small_task
from tests.support.tools import need

DEVICES, ROUNDS, GOAL = 4, 3, 3
INPUT_EXP = -5


def base(store: Store, plan: PlanRow, spec: TaskSpec) -> Model:
    """The base model of a round, in numpy."""
    row = store.models.find(spec.task, plan.base_version)
    assert row is not None
    shapes = [Shape(ReferenceKind.DENSE, 1, 1, x.channels, x.out, x.relu) for x in spec.layers]
    return load(shapes, row.exponents, store.models.bytes_of(row, spec))


def windows_of(
    device: Path, spec: TaskSpec, training: Training, *, tests: bool
) -> tuple[list[list[int]], list[int]]:
    """A device's windows, each as its counts, and their classes."""
    me = identity.load(device)
    assert me is not None
    store = DeviceStore(device, read_only=True)
    stored = [
        (one, store.recordings.spans(one)[::-1]) for one in store.recordings.newest(spec.stream)
    ][::-1]
    found = naive_windows.choose(spec, training, me.secret, stored, 10**9, tests=tests)
    by_id = {one.id: one for one, _ in stored}
    counts = [
        memoryview(store.recordings.samples(by_id[e.recording], e.first, spec.window))
        .cast("B")
        .cast("h")
        .tolist()
        for e in found
    ]
    store.close()
    return counts, [e.label for e in found]


def expected(device: Path, model: Model, spec: TaskSpec, training: Training) -> tuple[Hits, ...]:
    """What the base says of what a device holds out, read as the training set is."""
    trained, _ = windows_of(device, spec, training, tests=False)
    counts, labels = windows_of(device, spec, training, tests=True)
    shape = (-1, spec.window, spec.channels)
    channels = normalisation.statistics(np.array(trained, np.int16).reshape(shape))
    x = normalisation.normalise(np.array(counts, np.int16).reshape(shape), channels)
    hits = [[0, 0] for _ in spec.labels]
    for window, label in zip(x.reshape(len(labels), -1), labels, strict=True):
        hits[label][0] += 1
        hits[label][1] += reference.predict(model, window, INPUT_EXP)[1] == label
    return tuple(Hits(*one) for one in hits)


def test_the_accuracy_shown_is_that_of_the_base_on_what_was_held_out(tmp_path: Path) -> None:
    need("mosquitto")
    file = small_task.write(
        tmp_path, devices=DEVICES, rounds=ROUNDS, goal=GOAL, normalise="device", holdout=0.3
    )
    scenario, data = run.prepare(file, 7, None, None)
    record = run.run(scenario, data, tmp_path / "run", Silence())
    assert record.faults == []
    task = parse_task(file.read_text(), "task")
    devices = {}
    for path in (tmp_path / "run").rglob(identity.SECRET_FILE):
        me = identity.load(path.parent)
        assert me is not None
        devices[me.device] = path.parent
    assert len(devices) == DEVICES
    (state,) = {path.parent for path in (tmp_path / "run").rglob("fedling-broker.sqlite")}
    store = Store(state)
    for plan in store.rounds.plans("tiny"):
        model = base(store, plan, task.spec)
        said = []
        for row in store.rounds.members("tiny", plan.plan_id):
            assert row.tested == expected(devices[row.device], model, task.spec, task.training)
            said.append(row.tested)
        found = accuracy.of_round(store, "tiny", plan)
        assert found is not None
        assert (found.version, found.devices) == (plan.base_version, GOAL)
        assert found.tested == added_up(plan, said)
    store.close()


def added_up(plan: PlanRow, said: Sequence[tuple[Hits, ...]]) -> tuple[Hits, ...]:
    """As SPEC.md says."""
    assert plan.limits is not None
    sizes = sorted(sum(one.windows for one in test) for test in said)
    limit = min(plan.limits.examples, 2 * sizes[(len(sizes) - 1) // 2])
    total = [[0, 0] for _ in said[0]]
    for test in said:
        windows = sum(one.windows for one in test)
        for k, one in enumerate(test):
            for at, n in enumerate(one):
                total[k][at] += n if windows <= limit else n * limit // windows
    return tuple(Hits(*one) for one in total)
