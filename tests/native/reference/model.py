"""Section 2, the model: what a layer is, its weights, their bytes."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise

import numpy as np

from tests.native.reference.fixed import MAX_EXP, MIN_EXP, Int8, Int16, Int32


class Kind(IntEnum):
    DENSE = 0
    CONV = 1
    DEPTHWISE = 2
    MAX_POOL = 3
    AVERAGE_POOL = 4


class Loss(IntEnum):
    SOFTMAX = 0
    SIGMOID = 1
    SQUARED = 2
    RECONSTRUCTION = 3


@dataclass(frozen=True)
class Tensor:
    """real = q * 2^exp; q int8 [n][values]."""

    q: Int8
    exp: int


Pad = tuple[int, int, int, int]
VALID: Pad = (0, 0, 0, 0)


@dataclass(frozen=True)
class Shape:
    """A layer without its weights; fields that a kind does not have are 0."""

    kind: Kind
    height: int
    width: int
    channels: int
    out: int
    relu: bool = False
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (0, 0)
    pad: Pad = VALID  # top, bottom, left, right

    def __post_init__(self) -> None:
        kh, kw = self.window
        oh, ow, _ = self.out_shape
        top, bottom, left, right = self.pad
        assert oh >= 1
        assert ow >= 1
        assert max(top, bottom) < kh
        assert max(left, right) < kw
        padded = (self.height + top + bottom) * (self.width + left + right) * self.channels
        assert max(padded, self.outputs) <= 2**20
        assert kh * kw * (1 if self.kind == Kind.AVERAGE_POOL else self.channels) <= 65535
        sums = self.out if self.kind in (Kind.DENSE, Kind.CONV) else 1
        assert min(kh, oh) * min(kw, ow) * sums <= 65535

    @property
    def window(self) -> tuple[int, int]:
        """The kernel; all of the input where the kind has none."""
        return self.kernel if self.kernel != (0, 0) else (self.height, self.width)

    @property
    def steps(self) -> tuple[int, int]:
        """The stride; 1 where there is one position."""
        return self.stride if self.stride != (0, 0) else (1, 1)

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of the output."""
        (kh, kw), (sh, sw), (top, bottom, left, right) = self.window, self.steps, self.pad
        oh = (self.height + top + bottom - kh) // sh + 1
        return oh, (self.width + left + right - kw) // sw + 1, self.out

    @property
    def inputs(self) -> int:
        return self.height * self.width * self.channels

    @property
    def outputs(self) -> int:
        oh, ow, out = self.out_shape
        return oh * ow * out

    @property
    def span(self) -> int:
        """Products of one output."""
        kh, kw = self.window
        return kh * kw * (self.channels if self.kind in (Kind.DENSE, Kind.CONV) else 1)

    @property
    def weights_shape(self) -> tuple[int, ...]:
        """Of the stored weights, in their order as bytes; (0,) for pools."""
        if self.kind in (Kind.DENSE, Kind.CONV):
            return self.out, *self.window, self.channels
        return (*self.window, self.channels) if self.kind == Kind.DEPTHWISE else (0,)

    @property
    def biases(self) -> int:
        return 0 if self.pools else self.out

    @property
    def pools(self) -> bool:
        return self.kind in (Kind.MAX_POOL, Kind.AVERAGE_POOL)


def dense(inputs: int, out: int, *, relu: bool = False) -> Shape:
    return Shape(Kind.DENSE, 1, 1, inputs, out, relu)


def conv(
    shape: tuple[int, int, int],
    out: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    *,
    pad: Pad = VALID,
    relu: bool = False,
) -> Shape:
    """shape: height, width, channels of the input."""
    return Shape(Kind.CONV, *shape, out, relu, kernel, stride, pad)


def depthwise(
    shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    *,
    pad: Pad = VALID,
    relu: bool = False,
) -> Shape:
    return Shape(Kind.DEPTHWISE, *shape, shape[2], relu, kernel, stride, pad)


def max_pool(
    shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    *,
    pad: Pad = VALID,
) -> Shape:
    return Shape(Kind.MAX_POOL, *shape, shape[2], False, kernel, stride, pad)


def average_pool(shape: tuple[int, int, int]) -> Shape:
    return Shape(Kind.AVERAGE_POOL, *shape, shape[2])


def same(height: int, width: int, kernel: tuple[int, int], stride: tuple[int, int]) -> Pad:
    """The smallest pad that gives ceil(size / stride) positions, the odd one after the data."""
    totals = [
        max(0, (-(-size // s) - 1) * s + k - size)
        for size, k, s in zip((height, width), kernel, stride, strict=True)
    ]
    rows, columns = totals
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2


@dataclass
class Layer:
    """stored = master + 128, master in 2^(w_exp - 8); bias in 2^-16; the velocities of momentum."""

    shape: Shape
    w_exp: int
    stored: Int16
    bias: Int32
    velocity: Int32 = field(init=False)  # in 2^-8 of a master's unit
    bias_velocity: Int32 = field(init=False)  # in 2^-24

    def __post_init__(self) -> None:
        self.stored = self.stored.reshape(self.shape.weights_shape)
        assert self.stored.dtype == np.int16
        assert self.bias.dtype == np.int32
        assert self.bias.shape == (self.shape.biases,)
        assert MIN_EXP <= self.w_exp <= MAX_EXP
        assert not (self.shape.pools and self.w_exp)
        self.velocity = np.zeros(self.stored.shape, np.int32)
        self.bias_velocity = np.zeros(self.bias.shape, np.int32)

    @property
    def w(self) -> Int8:
        """The int8 weight that multiplies, worth w * 2^w_exp."""
        return (self.stored >> 8).astype(np.int8)


@dataclass
class Model:
    layers: list[Layer]
    loss: Loss = Loss.SOFTMAX

    def __post_init__(self) -> None:
        shapes = [layer.shape for layer in self.layers]
        assert 1 <= len(shapes) <= 16
        assert not shapes[-1].relu
        for before, after in pairwise(shapes):
            assert before.outputs == after.inputs
        if self.loss == Loss.SOFTMAX:
            assert 2 <= shapes[-1].outputs <= 256
        if self.loss == Loss.RECONSTRUCTION:
            assert shapes[-1].outputs == shapes[0].inputs

    @property
    def shapes(self) -> list[Shape]:
        return [layer.shape for layer in self.layers]

    @property
    def exponents(self) -> list[int]:
        return [layer.w_exp for layer in self.layers]

    def copy(self) -> "Model":
        """With velocities of zero."""
        return Model(
            [Layer(x.shape, x.w_exp, x.stored.copy(), x.bias.copy()) for x in self.layers],
            self.loss,
        )


def weight_bytes(model: Model) -> bytes:
    """All stored weights, then all biases, little-endian."""
    stored = [layer.stored.astype("<i2").tobytes() for layer in model.layers]
    return b"".join(stored + [layer.bias.astype("<i4").tobytes() for layer in model.layers])


def velocity_bytes(model: Model) -> bytes:
    """All velocities in the order of weight_bytes, int32 little-endian."""
    parts = [x.velocity.ravel() for x in model.layers] + [x.bias_velocity for x in model.layers]
    return np.concatenate(parts).astype("<i4").tobytes()


def load(
    shapes: Sequence[Shape], exponents: Sequence[int], data: bytes, loss: Loss = Loss.SOFTMAX
) -> Model:
    """The model of weight_bytes."""
    counts = [int(np.prod(s.weights_shape)) for s in shapes]
    weights = np.frombuffer(data, "<i2", sum(counts)).astype(np.int16)
    biases = np.frombuffer(data, "<i4", -1, 2 * sum(counts)).astype(np.int32)
    stored = np.split(weights, np.cumsum(counts)[:-1])
    bias = np.split(biases, np.cumsum([s.biases for s in shapes])[:-1])
    return Model([Layer(*x) for x in zip(shapes, exponents, stored, bias, strict=True)], loss)


def checksum(model: Model) -> int:
    return zlib.crc32(weight_bytes(model))
