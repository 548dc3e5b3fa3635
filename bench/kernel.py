"""One training step: fedling in integers beside numpy in float32, one thread each.

Times are CPU time of this thread, medians of runs that take turns, so that what else the machine
does falls on both. Figures are ratios: numpy's time divided by fedling's.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy is imported

import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.report import Report
from fedling_native import Layer, Net

Float = NDArray[np.float32]

NETS = [(784, 200, 10, 16), (784, 200, 10, 1), (600, 64, 7, 10), (64, 32, 10, 16), (64, 32, 10, 1)]
ROUNDS = 31
ROUND_SECONDS = 0.02  # of each contestant
BATCHES = 32  # different ones, so that no run learns a single one by heart
RATE = 1 / 64


class Float32Net:
    """Dense, ReLU, dense, softmax cross-entropy: the usual numpy, nothing left out."""

    def __init__(self, rng: np.random.Generator, inputs: int, hidden: int, classes: int) -> None:
        self.w1 = initial(rng, inputs, hidden)
        self.b1 = np.zeros(hidden, np.float32)
        self.w2 = initial(rng, hidden, classes)
        self.b2 = np.zeros(classes, np.float32)

    def step(self, x: Float, y: NDArray[np.uint8]) -> None:
        h = np.maximum(x @ self.w1 + self.b1, 0)
        z = h @ self.w2 + self.b2
        error = np.exp(z - z.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(len(y)), y] -= 1
        error *= np.float32(RATE / len(y))
        below = (error @ self.w2.T) * (h > 0)
        self.w2 -= h.T @ error
        self.b2 -= error.sum(axis=0)
        self.w1 -= x.T @ below
        self.b1 -= below.sum(axis=0)


def initial(rng: np.random.Generator, inputs: int, outputs: int) -> Float:
    """Uniform, with the variance 2 / inputs (He)."""
    limit = np.sqrt(6 / inputs)
    return rng.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)


def integer_net(net: Float32Net) -> Net:
    """The same weights; exponents so that the largest has 14 bits, as the aggregator makes them."""
    layers, exponents, weights = [], [], b""
    for w in (net.w1, net.w2):
        exponent = int(np.ceil(np.log2(np.abs(w).max()))) - 6
        stored = np.rint(w.T * 2.0 ** (8 - exponent)) + 128
        layers.append(Layer(w.shape[0], w.shape[1], w is net.w1))
        exponents.append(exponent)
        weights += stored.astype("<i2").tobytes()
    return Net(layers, exponents, weights + bytes(4 * (len(net.b1) + len(net.b2))))


def seconds(step: Callable[[int], None], count: int) -> float:
    """CPU seconds a step."""
    start = time.thread_time()
    for i in range(count):
        step(i % BATCHES)
    return (time.thread_time() - start) / count


def compare(inputs: int, hidden: int, classes: int, n: int) -> tuple[float, float]:
    """Median seconds a step of fedling and of numpy."""
    rng = np.random.default_rng(1)
    patterns = rng.normal(0, 24, (classes, inputs))  # classes that can be told apart
    y = rng.integers(0, classes, (BATCHES, n)).astype(np.uint8)
    x = np.clip(patterns[y] + rng.normal(0, 24, (BATCHES, n, inputs)), -127, 127).astype(np.int8)
    x_float = x.astype(np.float32) / 32
    float_net = Float32Net(rng, inputs, hidden, classes)
    net = integer_net(float_net)
    contestants: list[Callable[[int], None]] = [
        lambda i: net.step(x[i].data, y[i].data, round(RATE * 2**24)),
        lambda i: float_net.step(x_float[i], y[i]),
    ]
    counts = [max(1, int(ROUND_SECONDS / seconds(step, BATCHES))) for step in contestants]
    times = [
        [seconds(step, count) for step, count in zip(contestants, counts, strict=True)]
        for _ in range(ROUNDS)
    ]
    fedling, other = (statistics.median(column) for column in zip(*times, strict=True))
    return fedling, other


def main() -> None:
    report = Report("kernel")
    for inputs, hidden, classes, n in NETS:
        fedling, other = compare(inputs, hidden, classes, n)
        report.row(
            net=f"{inputs}-{hidden}-{classes}",
            batch=n,
            fedling_us=fedling * 1e6,
            numpy_us=other * 1e6,
            ratio=other / fedling,
        )
        report.figure(f"ratio_numpy_{inputs}_b{n}", round(other / fedling, 2))
    report.finish()


if __name__ == "__main__":
    main()
