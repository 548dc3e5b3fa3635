"""The C kernel on models of the reference."""

import numpy as np

from fedling_native import Kind, Layer, Loss, Net
from tests.native import reference as ref


def layer(shape: ref.Shape) -> Layer:
    return Layer(
        Kind(shape.kind),
        shape.height,
        shape.width,
        shape.channels,
        shape.out,
        shape.relu,
        shape.kernel,
        shape.stride,
        shape.pad,
    )


def shape(of: Layer) -> ref.Shape:
    return ref.Shape(
        ref.Kind(of.kind),
        of.height,
        of.width,
        of.channels,
        of.out,
        of.relu,
        of.kernel,
        of.stride,
        of.pad,
    )


def net(model: ref.Model) -> Net:
    layers = [layer(shape) for shape in model.shapes]
    return Net(layers, model.exponents, ref.weight_bytes(model), Loss(model.loss))


def targets(loss: ref.Loss, wanted: ref.Targets) -> bytes:
    """In the bytes that a step takes."""
    return wanted.astype(np.int16 if loss == ref.Loss.SQUARED else np.uint8).tobytes()
