"""The simulator's own test: windows that no device has ever stored."""

from array import array
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from fedling_agent.data.windows import Cutter, choose, room, training_windows
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import Read, read_windows
from fedling_native import Net, Normaliser
from fedling_protocol.classes import dataclass
from fedling_protocol.runtime.slices import Slices, finish
from fedling_protocol.wire.messages import Scale, TaskSpec
from fedling_sim.device import Device
from fedling_sim.record import Confusion
from fedling_sim.simulation import Scenario

Scales = tuple[Scale, ...] | None


@dataclass(frozen=True, slots=True)
class Exam:
    """What one device has: windows to train on, as it freezes them, and those of its test."""

    device: str
    frozen: Read | None  # None: it has nothing to train on
    normaliser: Normaliser | None  # its own; None: it has no samples
    tests: list["array[int]"]  # counts
    classes: list[int]

    def inputs(self, scale: Scales = None) -> list[bytes]:
        """Make int8 of the test windows, as `predict` does. scale: the fleet's, if there is one."""
        normaliser = self.normaliser if scale is None else Normaliser.from_tuples(scale)
        return [] if normaliser is None else [normaliser.apply(counts) for counts in self.tests]

    def right(self, net: Net, scale: Scales = None) -> int:
        """Count the test windows that a model gets right."""
        found = (net.predict(x).label for x in self.inputs(scale))
        return sum(label == own for label, own in zip(found, self.classes, strict=False))


class Examiner:
    """Tests models in the simulator's own process after each round; `predict` has the last word."""

    def __init__(self, scenario: Scenario, devices: Sequence[Device]) -> None:
        """Look into the stores of devices that have ingested and do not run yet."""
        self.exams = [_exam(device, scenario) for device in devices]

    @property
    def windows(self) -> int:
        """How many test windows all devices have."""
        return sum(len(exam.classes) for exam in self.exams)

    def accuracy(self, net: Net, scale: Scales = None) -> float | None:
        """Test a model: the share of all test windows that it gets right. None: there are none."""
        if not self.windows:
            return None
        return sum(exam.right(net, scale) for exam in self.exams) / self.windows


def _exam(device: Device, scenario: Scenario) -> Exam:
    spec, training = scenario.task.spec, scenario.task.training
    cutter = training_windows(spec, training, device.secret)
    with closing(Store(device.state, read_only=True)) as store:
        frozen = finish(_read(store, spec, cutter))
        # Who has nothing to train on still tells what is normal, as its `predict` does.
        like = frozen or finish(_read(store, spec, Cutter(replace(spec, labels=()), None)))
    tests = device.data.tests if like or spec.normalise == "fleet" else []
    return Exam(
        device.name,
        frozen,
        like.normaliser if like else None,
        [test.counts for test in tests],
        [spec.labels.index(test.label) for test in tests],
    )


def _read(store: Store, spec: TaskSpec, cutter: Cutter) -> Slices[Read | None]:
    windows, used = yield from choose(store.recordings, spec.stream, cutter, room(spec))
    if not windows:
        return None
    return (yield from read_windows(store.recordings, spec, windows, used))


def predict(device: Device, task: str) -> tuple[Confusion, str]:
    """Count what the device's own `predict` says of its test windows, by their labels.

    The first answer comes in a sentence, too.
    """
    told: Confusion = {}
    example = ""
    for test in device.data.tests:
        answer = device.ask({"do": "predict", "task": task, "form": "csv", "lines": test.lines})
        said = str(answer["label"])
        row = told.setdefault(test.label, {})
        row[said] = row.get(said, 0) + 1
        share = 100 * answer["probabilities"][said]
        example = example or (
            f"{device.name} predicts {said} ({share:.0f} %) for a window of {test.label}"
        )
    return told, example
