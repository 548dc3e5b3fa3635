"""One epoch of training, by the kernel and by what it is compared with.

All begin from the same weights, each time, and take the same steps; an epoch gives the CPU seconds
of its steps.
"""

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.support.compiled import kernel
from bench.support.float_net import Float, FloatNet, address, dequantised
from fedling_broker.aggregation.initial import initial_state
from fedling_broker.aggregation.state import ServerState
from fedling_native import Kind, Layer

RATE = 1 / 64
INPUT_STEPS = 32  # of an int8 input in a unit


@dataclass(frozen=True, slots=True)
class Course:
    """A net, its first weights, and what an epoch trains it on, in full batches."""

    layers: tuple[Layer, ...]
    batch: int
    state: ServerState
    x: NDArray[np.int8]  # [n][inputs]
    y: NDArray[np.uint8]  # [n]

    @property
    def floats(self) -> Float:
        return self.x.astype(np.float32) / np.float32(INPUT_STEPS)

    @property
    def weights(self) -> bytes:
        return self.state.view

    @property
    def first_floats(self) -> FloatNet:
        return dequantised(self.layers, self.state.exponents, self.weights)

    @property
    def name(self) -> str:
        dense = all(layer.kind is Kind.DENSE for layer in self.layers)
        sizes = [self.layers[0].inputs, *(layer.out for layer in self.layers)]
        return "-".join(map(str, sizes)) if dense else "watch CNN"


def course(layers: tuple[Layer, ...], batch: int, batches: int) -> Course:
    """Classes that can be told apart, each a pattern with as much noise."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, layers[-1].out, batches * batch).astype(np.uint8)
    patterns = rng.normal(0, 24, (layers[-1].out, layers[0].inputs))
    noisy = patterns[y] + rng.normal(0, 24, (len(y), layers[0].inputs))
    x = np.clip(noisy, -127, 127).astype(np.int8)
    return Course(layers, batch, initial_state(layers, bytes(32)), x, y)


class Contestant(Protocol):
    name: str

    def epoch(self) -> float: ...


class Fedling:
    """The kernel, called by C, with the inner loops that it chooses when it runs."""

    name = "fedling"

    def __init__(self, of: Course, built: ctypes.CDLL | None = None) -> None:
        self._of, self._weights, self._built = of, of.weights, built or kernel()
        rows = [
            (*layer.to_ints(), exponent)
            for layer, exponent in zip(of.layers, of.state.exponents, strict=True)
        ]
        self._fields = np.array(rows, np.int32)
        self.checksum = 0  # of the weights after an epoch

    def epoch(self) -> float:
        train, of, checksum = self._built.train_epoch, self._of, ctypes.c_uint32()
        train.restype = ctypes.c_double
        seconds: float = train(
            address(self._fields), ctypes.c_size_t(len(of.layers)), self._weights, address(of.x),
            address(of.y), ctypes.c_size_t(len(of.y)), ctypes.c_size_t(of.batch),
            ctypes.c_uint32(round(RATE * 2**24)), ctypes.byref(checksum),
        )  # fmt: skip
        if seconds < 0:
            raise RuntimeError(f"the kernel refused the net: error {seconds:.0f}")
        self.checksum = checksum.value
        return seconds


class PlainC:
    """plain_f32.c as it is written; of two dense layers the compiler knows the sizes."""

    name, rows = "c", 1

    def __init__(self, of: Course) -> None:
        self._of, self._x, self._first = of, of.floats, of.first_floats
        self._first.defines = (f"ROWS={self.rows}", *compiled_sizes(of))
        self.net = self._first

    def epoch(self) -> float:
        self.net = self._first.copy()
        return self.net.train(self._x, self._of.y, RATE, batch=self._of.batch)


class UnrolledC(PlainC):
    """The same with its inner loop unrolled by hand: what a library of C would do."""

    name, rows = "unrolled_c", 4


def compiled_sizes(of: Course) -> list[str]:
    """Definitions for plain_f32.c."""
    if len(of.layers) != 2:
        return []
    first, last = of.layers
    sizes = (first.inputs, first.out, last.out, of.batch)
    names = ("INPUTS", "HIDDEN", "OUTPUTS", "BATCH")
    return [f"{name}={size}" for name, size in zip(names, sizes, strict=True)]


class Numpy:
    """Dense, ReLU, dense, softmax cross-entropy in numpy; weights as [in][out]."""

    name = "numpy"

    def __init__(self, of: Course) -> None:
        first, last = of.layers
        cuts = np.cumsum([first.weight_count, last.weight_count, first.out])
        w1, w2, b1, b2 = np.split(of.first_floats.parameters, cuts)
        self._first = [w1.reshape(first.out, -1).T, b1, w2.reshape(last.out, -1).T, b2]
        self._batches = batches(of)
        self.parameters: list[Float] = []

    def epoch(self) -> float:
        self.parameters = [np.ascontiguousarray(p).copy() for p in self._first]
        start = time.process_time()
        for x, y in self._batches:
            self.step(x, y)
        return time.process_time() - start

    def step(self, x: Float, y: NDArray[np.uint8]) -> None:
        w1, b1, w2, b2 = self.parameters
        h = np.maximum(x @ w1 + b1, 0)
        z = h @ w2 + b2
        error = np.exp(z - z.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(len(y)), y] -= 1
        error *= np.float32(RATE / len(y))
        below = (error @ w2.T) * (h > 0)
        w2 -= h.T @ error
        b2 -= error.sum(axis=0)
        w1 -= x.T @ below
        b1 -= below.sum(axis=0)


def batches(of: Course) -> Sequence[tuple[Float, NDArray[np.uint8]]]:
    """Float inputs and classes of each step."""
    count = len(of.y) // of.batch
    x, y = of.floats.reshape(count, of.batch, -1), of.y.reshape(count, of.batch)
    return list(zip(x, y, strict=True))
