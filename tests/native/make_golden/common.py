"""What the writers of all golden files share: random numbers, models, and how they are told."""

import base64
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from tests.native import reference as ref

Json = dict[str, object]
Draw = Callable[[], int]

CORNERS = [-32768, -32767, -16384, -129, -128, -127, -1, 0, 1, 127, 128, 16383, 32766, 32767]


class Rng:
    """xorshift32 (Marsaglia 2003, shifts 13, 17, 5); the seed is the first state, never 0."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> int:
        s = self.state
        s ^= s << 13 & 0xFFFFFFFF
        s ^= s >> 17
        s ^= s << 5 & 0xFFFFFFFF
        self.state = s
        return s

    def int8(self) -> int:
        return (self.next() >> 24) - 128

    def int16(self) -> int:
        return (self.next() >> 16) - 32768

    def below(self, n: int) -> int:
        return (self.next() >> 16) % n

    def corner(self) -> int:
        return CORNERS[self.below(len(CORNERS))]

    def array(self, draw: Draw, *shape: int) -> ref.Int64:
        flat = [draw() for _ in range(int(np.prod(shape)))]
        return np.array(flat, np.int64).reshape(shape)

    def inputs(self, n: int, size: int) -> ref.Int64:
        return np.maximum(self.array(self.int8, n, size), -127)

    def targets(self, loss: ref.Loss, n: int, outputs: int) -> ref.Int64:
        """What a step on n examples wants; values within +-1."""
        if loss == ref.Loss.SOFTMAX:
            return self.array(lambda: self.below(outputs), n)
        if loss == ref.Loss.SIGMOID:
            return self.array(lambda: self.below(2), n, outputs)
        if loss == ref.Loss.SQUARED:
            return self.array(self.int16, n, outputs) >> 3
        return np.zeros(0, np.int64)


TARGET_TYPES = {
    ref.Loss.SOFTMAX: "<u1",
    ref.Loss.SIGMOID: "<u1",
    ref.Loss.SQUARED: "<i2",
    ref.Loss.RECONSTRUCTION: "<u1",
}


def make_model(
    shapes: Sequence[ref.Shape],
    w_exps: Sequence[int],
    stored: Draw,
    bias: Draw,
    loss: ref.Loss = ref.Loss.SOFTMAX,
) -> ref.Model:
    """Layer by layer its weights, then its biases."""
    layers = []
    for shape, w_exp in zip(shapes, w_exps, strict=True):
        weights = np.array([stored() for _ in range(int(np.prod(shape.weights_shape)))], np.int16)
        biases = np.array([bias() for _ in range(shape.biases)], np.int32)
        layers.append(ref.Layer(shape, w_exp, weights, biases))
    return ref.Model(layers, loss)


def dense_shapes(sizes: list[int], *, linear: bool = False) -> list[ref.Shape]:
    """Every layer but the last has a ReLU, unless it is to be linear."""
    last = len(sizes) - 2
    return [
        ref.dense(n_in, n_out, relu=i < last and not linear)
        for i, (n_in, n_out) in enumerate(pairwise(sizes))
    ]


def dense_model(
    sizes: list[int], w_exps: list[int], stored: Draw, bias: Draw, *, linear: bool = False
) -> ref.Model:
    shapes = dense_shapes(sizes, linear=linear)
    return make_model(shapes, w_exps[: len(shapes)], stored, bias)


# --- in JSON --------------------------------------------------------------------------------------


def b64(values: ArrayLike, dtype: str) -> str:
    """Base64 of a little-endian array; the values must fit."""
    wide = np.asarray(values)
    narrow = wide.astype(dtype)
    assert np.array_equal(wide, narrow), "a value does not fit its type"
    return base64.b64encode(narrow.tobytes()).decode()


def model_bytes(model: ref.Model) -> str:
    return base64.b64encode(ref.weight_bytes(model)).decode()


def describe_shape(s: ref.Shape) -> list[int]:
    """The fields of a layer in their order on the wire."""
    relu = int(s.relu)
    return [s.kind, s.height, s.width, s.channels, s.out, relu, *s.kernel, *s.stride, *s.pad]


def describe(model: ref.Model) -> Json:
    return {
        "loss": int(model.loss),
        "layers": [describe_shape(shape) for shape in model.shapes],
        "exponents": model.exponents,
    }
