"""What an exported file says in onnxruntime beside what the kernel says."""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from fedling_broker.onnx.snapshot import Snapshot
from fedling_native import INPUT_EXP, Net
from fedling_protocol.classes import dataclass

Int8 = NDArray[np.int8]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a file and the kernel agree on the same examples."""

    examples: int
    labels: int  # examples with the same label
    exact: int  # examples where all numbers are the same
    margin: float  # where labels differ, the most that one leads by, as a part of the logits' range


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Answers to n examples: logits, exponents and outputs bit for bit, the first largest logit."""

    logits: Int64  # [n][outputs]
    exponents: Int64  # [n]
    outputs: Int64  # [n][outputs]

    @property
    def labels(self) -> Int64:
        first: Int64 = self.logits.argmax(axis=1)
        return first

    @property
    def reals(self) -> Float64:
        """The logits as real numbers."""
        return np.ldexp(self.logits.astype(np.float64), self.exponents[:, np.newaxis])


def random_examples(snapshot: Snapshot, count: int, seed: int = 0) -> Int8:
    """int8 [count][height][width][channels], faint ones and loud ones."""
    dice = np.random.default_rng(seed)
    loudest = np.exp2(dice.uniform(0, 7, count)).astype(np.int64).clip(1, 127)
    each = loudest.reshape(-1, 1, 1, 1)
    return dice.integers(-each, each + 1, (count, *snapshot.shape)).astype(np.int8)


def compare_exact(model: ModelProto, snapshot: Snapshot, x: Int8) -> Agreement:
    """x: int8 [n][height][width][channels]."""
    kernel = kernel_answers(snapshot, x)
    logits, exponents, outputs, labels = run(model, x, "logits", "exponent", "outputs", "label")
    same = (logits == kernel.logits).all(axis=1) & (outputs == kernel.outputs).all(axis=1)
    same &= (exponents == kernel.exponents) & (labels == kernel.labels)
    agreed = int((labels == kernel.labels).sum())
    return Agreement(len(x), agreed, int(same.sum()), margin(kernel.reals, kernel.labels, labels))


def compare_float(model: ModelProto, snapshot: Snapshot, x: Int8) -> Agreement:
    """x: int8 [n][height][width][channels]."""
    kernel = kernel_answers(snapshot, x)
    (logits,) = run(model, np.ldexp(x.astype(np.float32), INPUT_EXP), "logits")
    labels, reals = logits.argmax(axis=1), kernel.reals
    lead = max(margin(z, kernel.labels, labels) for z in (reals, logits.astype(np.float64)))
    exact = int((logits == reals).all(axis=1).sum())
    return Agreement(len(x), int((labels == kernel.labels).sum()), exact, lead)


def margin(logits: Float64, ones: Int64, others: Int64) -> float:
    """The largest |difference| of two classes' logits, as a part of their range; 0: all agree."""
    rows = np.flatnonzero(ones != others)
    if not len(rows):
        return 0.0
    leads = np.abs(logits[rows, ones[rows]] - logits[rows, others[rows]])
    return float((leads / np.ptp(logits[rows], axis=1)).max())


def kernel_answers(snapshot: Snapshot, x: Int8) -> Answers:
    """One prediction after the other."""
    spec = snapshot.spec
    net = Net(spec.layers, snapshot.exponents, snapshot.weights, spec.loss)
    found = [net.logits(one.data) for one in x]
    return Answers(
        np.array([logits for logits, _ in found], np.int64),
        np.array([exponent for _, exponent in found], np.int64),
        np.array([net.predict(one.data).outputs for one in x], np.int64),
    )


def run(model: ModelProto, x: NDArray[np.generic], *names: str) -> list[NDArray[Any]]:
    """Outputs of a model in onnxruntime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[NDArray[Any]] = session.run(list(names), {"x": x})
    return found
