"""The layers that a model is made of (native/NUMERICS.md section 2): fields and geometry.

The constructors make no check: a configuration that cannot be is refused where it is used, by
check_model() and Net. Shapes are (height, width, channels); one-dimensional data have height 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from fedling_native._core import lib

Shape = tuple[int, int, int]
Pad = tuple[int, int, int, int]  # top, bottom, left, right

VALID: Final[Pad] = (0, 0, 0, 0)


class Kind(IntEnum):
    """What a layer computes."""

    DENSE = lib.FDL_DENSE
    CONV = lib.FDL_CONV
    DEPTHWISE = lib.FDL_DEPTHWISE
    MAX_POOL = lib.FDL_MAX_POOL
    AVERAGE_POOL = lib.FDL_AVERAGE_POOL  # global


class Loss(IntEnum):
    """What training makes small, and with it what outputs and targets are."""

    SOFTMAX = lib.FDL_SOFTMAX
    SIGMOID = lib.FDL_SIGMOID
    SQUARED = lib.FDL_SQUARED
    RECONSTRUCTION = lib.FDL_RECONSTRUCTION


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer; the fields in the order of the wire, those that a kind does not have are 0."""

    kind: Kind
    height: int  # of the input, as width and channels; dense: 1, 1, inputs
    width: int
    channels: int
    out: int  # channels of the output
    relu: bool
    kernel: tuple[int, int] = (0, 0)  # height, width
    stride: tuple[int, int] = (0, 0)
    pad: Pad = VALID

    @property
    def inputs(self) -> int:
        """Values of one example that the layer reads."""
        return self.height * self.width * self.channels

    @property
    def padded_inputs(self) -> int:
        """Values of one example with the zeros around them, as they lie in memory."""
        top, bottom, left, right = self.pad
        return (self.height + top + bottom) * (self.width + left + right) * self.channels

    @property
    def outputs(self) -> int:
        """Values of one example that the layer gives."""
        height, width, channels = self.out_shape
        return height * width * channels

    @property
    def out_shape(self) -> Shape:
        """Height, width and channels of the output; a window that does not fit gives none."""
        if self.kind in (Kind.DENSE, Kind.AVERAGE_POOL):
            return 1, 1, self.out
        top, bottom, left, right = self.pad
        return (
            _positions(self.height + top + bottom, self.kernel[0], self.stride[0]),
            _positions(self.width + left + right, self.kernel[1], self.stride[1]),
            self.out,
        )

    @property
    def positions(self) -> int:
        """Windows of one example: products that add up in a weight's gradient."""
        height, width, _ = self.out_shape
        return height * width

    @property
    def span(self) -> int:
        """Weights of one output: its fan-in; 0 for pools."""
        height, width = self.kernel
        return {
            Kind.DENSE: self.channels,
            Kind.CONV: height * width * self.channels,
            Kind.DEPTHWISE: height * width,
        }.get(self.kind, 0)

    @property
    def weight_count(self) -> int:
        """Weights of the layer, each an int16."""
        return self.span * self.out

    @property
    def products(self) -> int:
        """Multiply-accumulates of one example on its way up; of a pool the values it looks at."""
        if self.kind is Kind.AVERAGE_POOL:
            return self.inputs
        if self.kind is Kind.MAX_POOL:
            return self.outputs * self.kernel[0] * self.kernel[1]
        return self.positions * self.weight_count

    @property
    def bias_count(self) -> int:
        """Biases of the layer, each an int32."""
        return self.out if self.span else 0

    def to_ints(self) -> tuple[int, ...]:
        """The fields one after the other, as they are sent, hashed and stored."""
        return (
            *(int(self.kind), self.height, self.width, self.channels, self.out, int(self.relu)),
            *(*self.kernel, *self.stride, *self.pad),
        )

    @classmethod
    def from_ints(cls, values: Sequence[int]) -> Layer:
        """The inverse of to_ints. Raises ValueError on an unknown kind or another count."""
        kind, height, width, channels, out, relu, *rest = values
        kernel_height, kernel_width, stride_height, stride_width, top, bottom, left, right = rest
        kernel, stride = (kernel_height, kernel_width), (stride_height, stride_width)
        pad = (top, bottom, left, right)
        return cls(Kind(kind), height, width, channels, out, bool(relu), kernel, stride, pad)


def dense(inputs: int, outputs: int, *, relu: bool = False) -> Layer:
    """Every output reads every input."""
    return Layer(Kind.DENSE, 1, 1, inputs, outputs, relu)


def conv(
    shape: Shape,
    out: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    *,
    pad: Pad = VALID,
    relu: bool = False,
) -> Layer:
    """`out` filters over windows of all channels; conv1d with a shape and a kernel of height 1."""
    return Layer(Kind.CONV, *shape, out, relu, kernel, stride, pad)


def depthwise(
    shape: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    *,
    pad: Pad = VALID,
    relu: bool = False,
) -> Layer:
    """One filter a channel."""
    return Layer(Kind.DEPTHWISE, *shape, shape[2], relu, kernel, stride, pad)


def max_pool(
    shape: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int] | None = None,
    *,
    pad: Pad = VALID,
) -> Layer:
    """The largest value of each window; the windows lie side by side without a stride."""
    return Layer(Kind.MAX_POOL, *shape, shape[2], False, kernel, stride or kernel, pad)


def average_pool(shape: Shape) -> Layer:
    """The mean of each channel."""
    return Layer(Kind.AVERAGE_POOL, *shape, shape[2], False)


def same(shape: Shape, kernel: tuple[int, int], stride: tuple[int, int]) -> Pad:
    """The pad with which outputs = ceil(inputs / stride); the odd one comes after the data."""
    top, bottom = _same(shape[0], kernel[0], stride[0])
    left, right = _same(shape[1], kernel[1], stride[1])
    return top, bottom, left, right


def _positions(length: int, kernel: int, stride: int) -> int:
    return (length - kernel) // stride + 1 if 1 <= kernel <= length and stride >= 1 else 0


def _same(length: int, kernel: int, stride: int) -> tuple[int, int]:
    positions = -(-length // stride)
    total = max(0, (positions - 1) * stride + kernel - length)
    return total // 2, total - total // 2
