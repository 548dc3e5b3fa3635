"""The float export: a model as people know it, in float32, close to what the kernel computes.

Its weights are the int8 ones that the kernel multiplies with, w * 2^w_exp, not the finer masters:
they are what a device predicts with. Only the rounding of what flows between layers is left out.
"""

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from fedling_broker.onnx.graph import Graph, groups, input_shape, part_name, window
from fedling_broker.onnx.snapshot import Snapshot, Trained
from fedling_native import INPUT_EXP, Kind, Loss

Float32 = NDArray[np.float32]

ABOUT = f"""x: normalised samples, in standard deviations: the device's int8 * 2^{INPUT_EXP}
logits: what the last layer gives
outputs: probabilities (losses softmax and sigmoid) or values"""


def float_model(snapshot: Snapshot) -> ModelProto:
    """Inputs x [N, height, width, channels]; outputs `logits` and `outputs`, [N, outputs]."""
    graph, x = Graph(), "x"
    for number, trained in enumerate(snapshot.layers(), start=1):
        graph.part = part_name(number, trained.layer)
        x = _layer(graph, trained, graph.reshape(x, input_shape(trained.layer)))
    graph.part = "end"
    count = snapshot.spec.layers[-1].outputs
    logits = graph.reshape(x, [count])
    graph.output(logits, "logits")
    graph.output(_outputs(graph, logits, snapshot.spec.loss), "outputs")
    return graph.model(
        {"x": (np.float32, snapshot.shape)},
        {"logits": (np.float32, [count]), "outputs": (np.float32, [count])},
        snapshot.metadata() | {"arithmetic": "float32"},
        ABOUT,
    )


def _layer(graph: Graph, trained: Trained, x: str) -> str:
    """Add a layer, from [N, height, width, channels] to [N, height, width, channels]."""
    layer = trained.layer
    match layer.kind:
        case Kind.DENSE:
            sums = graph.op("MatMul", x, _scaled(trained.matrix(), trained.exponent))
            x = graph.op("Add", sums, _scaled(trained.biases, -16))
        case Kind.AVERAGE_POOL:
            x = graph.op("ReduceMean", x, axes=[1, 2], keepdims=1)
        case Kind.MAX_POOL:
            x = graph.op("MaxPool", graph.channels_first(x), **window(layer))
            x = graph.channels_last(x)
        case Kind.CONV | Kind.DEPTHWISE:
            kernels = _scaled(trained.kernels(), trained.exponent)
            biases = _scaled(trained.biases, -16)
            x = graph.channels_first(x)
            x = graph.op("Conv", x, kernels, biases, group=groups(layer), **window(layer))
            x = graph.channels_last(x)
    return graph.op("Relu", x) if layer.relu else x


def _outputs(graph: Graph, logits: str, loss: Loss) -> str:
    match loss:
        case Loss.SOFTMAX:
            return graph.op("Softmax", logits, axis=1)
        case Loss.SIGMOID:
            return graph.op("Sigmoid", logits)
        case Loss.SQUARED | Loss.RECONSTRUCTION:
            return logits


def _scaled(integers: NDArray[np.int64], exponent: int) -> Float32:
    """integers * 2^exponent; exact for weights, since they have 8 bits."""
    return np.ldexp(integers.astype(np.float32), exponent)
