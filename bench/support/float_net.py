"""Nets in float32: what the kernel's accuracy and speed are held against (plain_f32.c)."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.support.compiled import library
from fedling_native import VALID, Kind, Layer, Loss

Float = NDArray[np.float32]


class CShape(ctypes.Structure):
    """struct shape of plain_f32.c."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("inputs", "positions", "step", "span", "out", "relu")
    ]  # fmt: skip


@dataclass
class FloatNet:
    """A model whose parameters are one array: weights of all layers [out][span], then biases."""

    layers: Sequence[Layer]
    parameters: Float
    loss: Loss = Loss.SOFTMAX
    defines: tuple[str, ...] = ()  # of plain_f32.c: the sizes of the one net that is compiled in

    def copy(self) -> "FloatNet":
        return FloatNet(self.layers, self.parameters.copy(), self.loss, self.defines)

    def train(
        self, x: Float, y: NDArray[np.uint8], lr: float, *, batch: int, momentum: float = 0
    ) -> float:
        """Once through x [n][inputs] and classes y [n], in their order; CPU seconds of the steps.

        lr of the mean gradient; the velocity of momentum is zero at first.
        """
        x, y = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.uint8)
        train = library("plain_f32.c", *self.defines).train
        train.restype = ctypes.c_double
        seconds: float = train(
            *self._model(), ctypes.c_int(self.loss), address(self.parameters), address(x),
            address(y), ctypes.c_size_t(len(x)), ctypes.c_size_t(batch), ctypes.c_float(lr),
            ctypes.c_float(momentum),
        )  # fmt: skip
        if seconds < 0:
            raise MemoryError
        return seconds

    def outputs(self, x: Float) -> Float:
        """What the last layer gives for x [n][inputs]: [n][outputs]."""
        x = np.ascontiguousarray(x, np.float32)
        found = np.empty((len(x), self.layers[-1].outputs), np.float32)
        status = library("plain_f32.c", *self.defines).predict(
            *self._model(), address(self.parameters), address(x), ctypes.c_size_t(len(x)),
            address(found),
        )  # fmt: skip
        if status < 0:
            raise MemoryError
        return found

    def labels(self, x: Float) -> NDArray[np.intp]:
        best: NDArray[np.intp] = self.outputs(x).argmax(axis=1)
        return best

    def _model(self) -> tuple[ctypes.Array[CShape], ctypes.c_size_t]:
        shapes = (CShape * len(self.layers))(*map(c_shape, self.layers))
        return shapes, ctypes.c_size_t(len(self.layers))


def address(values: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)


def c_shape(layer: Layer) -> CShape:
    """Raises ValueError for a layer that plain_f32.c has no code for."""
    if layer.height != 1 or layer.pad != VALID:
        raise ValueError("no float twin of images or padding")
    if layer.kind is Kind.DENSE:
        return CShape(layer.inputs, 1, 0, layer.inputs, layer.out, layer.relu)
    if layer.kind is Kind.CONV:
        step = layer.stride[1] * layer.channels
        return CShape(layer.inputs, layer.positions, step, layer.span, layer.out, layer.relu)
    if layer.kind is Kind.AVERAGE_POOL:
        return CShape(layer.inputs, layer.width, layer.channels, 0, layer.channels, 0)
    raise ValueError(f"no float twin of a layer of kind {layer.kind.name}")


def dequantised(
    layers: Sequence[Layer], exponents: Sequence[int], packed: bytes, loss: Loss = Loss.SOFTMAX
) -> FloatNet:
    """The masters of an integer model's canonical bytes, exactly (float32 holds 24 bits)."""
    counts = [layer.weight_count for layer in layers]
    stored = np.frombuffer(packed, "<i2", sum(counts)).astype(np.float32)
    units = np.repeat(2.0 ** (np.array(exponents) - 8), counts).astype(np.float32)
    biases = np.frombuffer(packed, "<i4", offset=2 * sum(counts)).astype(np.float32)
    return FloatNet(
        layers, np.concatenate([(stored - 128) * units, biases * np.float32(2.0**-16)]), loss
    )
