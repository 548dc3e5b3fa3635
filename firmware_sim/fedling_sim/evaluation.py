"""The simulator's own test: windows that no device has ever stored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedling_agent.data.streams import Stream, load_stream
from fedling_native import Net, Normaliser
from fedling_protocol.wire.messages import TaskSpec
from fedling_sim.dataset import DeviceData
from fedling_sim.device import Device
from fedling_sim.simulation import Scenario


@dataclass(frozen=True, slots=True)
class _Exam:
    """The test of one device: inputs int8 and classes."""

    inputs: list[bytes]
    classes: list[int]


class Examiner:
    """Tests models in the simulator's own process after each round; `predict` has the last word."""

    def __init__(self, scenario: Scenario, data: Sequence[DeviceData]) -> None:
        stream, spec = load_stream(scenario.simulation.stream), scenario.task.spec
        self._exams = [_exam(device, stream, spec) for device in data]

    @property
    def windows(self) -> int:
        """How many test windows all devices have."""
        return sum(len(exam.classes) for exam in self._exams)

    def accuracy(self, net: Net) -> float:
        """Test a model: the share of all test windows that it gets right."""
        right = sum(
            net.predict(x).label == k
            for exam in self._exams
            for x, k in zip(exam.inputs, exam.classes, strict=True)
        )
        return right / max(1, self.windows)


def _exam(device: DeviceData, stream: Stream, spec: TaskSpec) -> _Exam:
    training = [counts(device.header, rows, stream) for rows in device.training]
    windows = [
        part[first : first + spec.window].data
        for part in training
        for first in range(0, len(part) - spec.window + 1, spec.stride)
    ]
    normaliser = Normaliser.fit(lambda: windows, spec.channels)
    return _Exam(
        [normaliser.apply(counts(t.lines[0], t.lines[1:], stream).data) for t in device.tests],
        [spec.labels.index(test.label) for test in device.tests],
    )


def counts(header: str, rows: Sequence[str], stream: Stream) -> NDArray[np.int16]:
    """Make int16 [rows][channels], rounded half up as the agent does."""
    names = header.split(",")
    columns = [names.index(channel.name) for channel in stream.channels]
    fields = [row.split(",") for row in rows]
    values = np.array([[f[i] for i in columns] for f in fields], np.float64)
    sizes = np.array([channel.resolution for channel in stream.channels])
    counts: NDArray[np.int16] = np.floor(values / sizes + 0.5).astype(np.int16)
    return counts


def predict(device: Device, task: str) -> int:
    """Count the test windows that the device's own `predict` gets right."""
    right = 0
    for test in device.data.tests:
        answer = device.ask({"do": "predict", "task": task, "form": "csv", "lines": test.lines})
        right += answer["label"] == test.label
    return right
