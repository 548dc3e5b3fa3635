"""One version of a task's model, with all that an export says about it."""

import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedling_broker.aggregation.state import read_vector
from fedling_native import INPUT_EXP, Kind, Layer, Shape, parameter_counts
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import TaskSpec


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A published model; `weights` are its canonical bytes (NUMERICS.md section 2)."""

    spec: TaskSpec
    version: int
    model_hash: bytes
    exponents: tuple[int, ...]
    weights: bytes

    @property
    def shape(self) -> Shape:
        """Height, width and channels of one example."""
        return example_shape(self.spec)

    def layers(self) -> "Iterator[Trained]":
        """Every layer with its weights."""
        values = read_vector(self.weights, self.spec.layers)
        start, (bias_start, _) = 0, parameter_counts(self.spec.layers)
        for layer, exponent in zip(self.spec.layers, self.exponents, strict=True):
            end, bias_end = start + layer.weight_count, bias_start + layer.bias_count
            yield Trained(layer, exponent, values[start:end] >> 8, values[bias_start:bias_end])
            start, bias_start = end, bias_end

    def metadata(self) -> dict[str, str]:
        """What travels in the file beside the graph."""
        scale = {} if self.spec.scale is None else {"scale": json.dumps(self.spec.scale)}
        return scale | {
            "task": self.spec.task,
            "version": str(self.version),
            "model_hash": self.model_hash.hex(),
            "labels": json.dumps(self.spec.labels, ensure_ascii=False),
            "loss": self.spec.loss.name.lower(),
            "normalise": self.spec.normalise,
            "input_exponent": str(INPUT_EXP),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A layer with the int8 weights that multiply, worth w * 2^exponent, and biases in 2^-16."""

    layer: Layer
    exponent: int
    weights: NDArray[np.int64]  # in canonical order; empty for pools, as the biases
    biases: NDArray[np.int64]

    def kernels(self) -> NDArray[np.int64]:
        """Weights of a conv or depthwise layer as ONNX orders them: [out][channels][kh][kw]."""
        layer = self.layer
        if layer.kind is Kind.DEPTHWISE:
            by_place = self.weights.reshape(*layer.kernel, layer.channels)
            return by_place.transpose(2, 0, 1)[:, np.newaxis]
        return self.weights.reshape(layer.out, *layer.kernel, layer.channels).transpose(0, 3, 1, 2)

    def matrix(self) -> NDArray[np.int64]:
        """Weights of a dense layer: [inputs][out]."""
        return self.weights.reshape(self.layer.out, self.layer.channels).T


def example_shape(spec: TaskSpec) -> Shape:
    """Height, width and channels of one example; if the first layer is dense, of the window."""
    first = spec.layers[0]
    if first.kind is Kind.DENSE:
        return 1, spec.window, spec.channels
    return first.height, first.width, first.channels
