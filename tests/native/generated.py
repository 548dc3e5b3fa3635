"""The rules of golden/training.json and codec.json: weights, examples, updates from a seed.

golden/README.md tells them; a device makes the same numbers with a few lines of C.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from tests.native import reference as ref
from tests.native.reference import Loss


class Stream(IntEnum):
    """What numbers are drawn for."""

    WEIGHTS = 0
    BIASES = 1
    PATTERNS = 2
    CLASSES = 3
    NOISE = 4
    VALUES = 5


def mix(x: ref.Int64) -> ref.Int64:
    """lowbias32 (Wellons 2018): every bit of a uint32 decides over every bit of the result."""
    x = x & 0xFFFFFFFF
    x = (x ^ x >> 16) * 0x7FEB352D & 0xFFFFFFFF
    x = (x ^ x >> 15) * 0x846CA68B & 0xFFFFFFFF
    return x ^ x >> 16


def drawn(seed: int, stream: int, count: int) -> ref.Int64:
    """The first numbers of a stream, uint32 values."""
    return mix(int(mix(np.array([seed + stream]))[0]) + np.arange(count))


# Of codec.json: what each value is, of one drawn from stream 6 and one from stream 7.
UPDATES: dict[str, Callable[[ref.Int64, ref.Int64], ref.Int64]] = {
    "small": lambda r, t: int16(r) + int16(t) >> 6,
    "heavy": lambda r, t: r - 2**31 >> (t >> 27),
    "uniform": lambda r, _: r - 2**31,
    "least": lambda r, _: r * 0 - 2**31,
    "most": lambda r, _: r * 0 + 2**31 - 1,
}


def update(rule: str, seed: int, n: int) -> ref.Int64:
    """Values for the codec, int32; the rule is one of UPDATES, or "few": three that are not 0."""
    r, t = drawn(seed, 6, n), drawn(seed, 7, n)
    if rule in UPDATES:
        return UPDATES[rule](r, t)
    assert rule == "few"
    values = np.zeros(n, np.int64)
    values[(r[:3] * n) >> 32] = int16(t[:3])
    return values


def dither(seed: int, count: int) -> ref.Int64:
    """A uint16 for each place."""
    return drawn(seed, 8, count) >> 16


def ring_dither(seed: int, count: int) -> ref.Int64:
    """A byte for each element."""
    return drawn(seed, 8, count) >> 24


def int8(r: ref.Int64) -> ref.Int64:
    return (r >> 24) - 128


def int16(r: ref.Int64) -> ref.Int64:
    return (r >> 16) - 32768


@dataclass(frozen=True)
class Generator:
    """seed: a uint32; classes: kinds of examples, each with a pattern under its noise; run: so many
    inputs in a row have the same value in a pattern."""

    seed: int
    shapes: list[ref.Shape]
    loss: Loss
    classes: int
    run: int

    def draw(self, stream: Stream, first: int, count: int) -> ref.Int64:
        """Numbers first to first + count - 1 of a stream, uint32 values."""
        start = int(mix(np.array([self.seed + stream]))[0])
        return mix(start + np.arange(first, first + count))

    def model(self, exponents: list[int], limits: list[int]) -> ref.Model:
        """The weights that training begins with; masters lie in [-limit, limit] of their layer."""
        layers, weights, biases = [], 0, 0
        for shape, w_exp, limit in zip(self.shapes, exponents, limits, strict=True):
            count = int(np.prod(shape.weights_shape))
            r = self.draw(Stream.WEIGHTS, weights, count)
            stored = ((r >> 16) * (2 * limit + 1) >> 16) - limit + 128
            bias = int16(self.draw(Stream.BIASES, biases, shape.biases)) >> 3
            layers.append(ref.Layer(shape, w_exp, stored.astype(np.int16), bias.astype(np.int32)))
            weights, biases = weights + count, biases + shape.biases
        return ref.Model(layers, self.loss)

    def batch(self, first: int, n: int) -> tuple[ref.Int8, ref.Int64]:
        """Examples number first to first + n - 1 of the run: x int8 [n][inputs] and targets."""
        inputs, outputs = self.shapes[0].inputs, self.shapes[-1].outputs
        kinds = (self.draw(Stream.CLASSES, first, n) >> 16) % self.classes
        patterns = np.stack([self.draw(Stream.PATTERNS, c * inputs, inputs) for c in kinds])
        noise = self.draw(Stream.NOISE, first * inputs, n * inputs).reshape(n, inputs)
        places = np.arange(inputs) // self.run
        x = ref.sat(int8(patterns[:, places]) + (int8(noise) >> 1), 127).astype(np.int8)
        if self.loss == Loss.SOFTMAX:
            return x, kinds
        if self.loss == Loss.SIGMOID:
            return x, kinds[:, None] >> np.arange(outputs) & 1
        if self.loss == Loss.SQUARED:
            values = [self.draw(Stream.VALUES, c * outputs, outputs) for c in kinds]
            return x, int16(np.stack(values)) >> 3
        return x, np.zeros(0, np.int64)
