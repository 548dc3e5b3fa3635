"""The exact export: integer operators that give the kernel's logits bit for bit (NUMERICS.md 3).

What flows between layers is uint8, the int8 value + 128, with an exponent for each example: every
runtime has an exact uint8 x uint8 product, while uint8 x int8 saturates at 16 bits on an x86-64
without VNNI. All else is int64.
"""

import numpy as np
from onnx import ModelProto

from fedling_broker.onnx import integers
from fedling_broker.onnx.answers import label, outputs
from fedling_broker.onnx.graph import Graph, groups, input_shape, part_name, window
from fedling_broker.onnx.snapshot import Snapshot, Trained
from fedling_native import INPUT_EXP, VALUE_EXP, Kind
from fedling_protocol.classes import dataclass

ZERO = np.uint8(128)  # the uint8 that stands for 0
BIAS_EXP = -16
BIAS_LIMIT = 2**30 - 1

ABOUT = f"""x: the device's normalised int8 values, -127 to 127, worth x * 2^{INPUT_EXP} deviations
logits, exponent: those of the kernel bit for bit, worth logits * 2^exponent
outputs: probabilities in 2^-15 (losses softmax and sigmoid) or values in 2^{VALUE_EXP}
label: the first output with the largest logit"""


@dataclass(frozen=True, slots=True)
class Sums:
    """Accumulators int64 [N, height, width, channels]; their exponents int64 [N, 1, 1, 1]."""

    values: str
    exponent: str


@dataclass(frozen=True, slots=True)
class Tensor:
    """int8 values + 128 as uint8 [N, height, width, channels]; exponents int64 [N, 1, 1, 1]."""

    values: str
    exponent: str


def exact_model(snapshot: Snapshot) -> ModelProto:
    """Input x int8 [N, height, width, channels]; outputs [N, outputs] or [N], see ABOUT."""
    graph, count = Graph(), snapshot.spec.layers[-1].outputs
    end = _forward(graph, snapshot)
    graph.part = "end"
    logits = graph.reshape(end.values, [count])
    exponent = graph.reshape(end.exponent, [1])
    said = outputs(graph, logits, exponent, snapshot.spec.loss)
    graph.output(graph.cast(logits, np.int32), "logits")
    graph.output(graph.cast(graph.reshape(exponent, []), np.int32), "exponent")
    graph.output(graph.cast(said, np.int32), "outputs")
    graph.output(label(graph, logits), "label")
    return graph.model(
        {"x": (np.int8, snapshot.shape)},
        {
            "logits": (np.int32, [count]),
            "exponent": (np.int32, []),
            "outputs": (np.int32, [count]),
            "label": (np.int64, []),
        },
        snapshot.metadata() | {"arithmetic": "fedling integers"},
        ABOUT,
    )


def _forward(graph: Graph, snapshot: Snapshot) -> Sums:
    """Add all layers, to the accumulators of the last, which alone are not requantised."""
    graph.part = "input"
    x = _input(graph)
    *inner, last = enumerate(snapshot.layers(), start=1)
    for number, trained in inner:
        graph.part = part_name(number, trained.layer)
        x = _requantised(graph, _sums(graph, trained, x))
    number, trained = last
    graph.part = part_name(number, trained.layer)
    return _sums(graph, trained, x)


def _input(graph: Graph) -> Tensor:
    """Every example begins with the same exponent."""
    lifted = graph.op("Add", graph.cast("x", np.int32), np.int32(ZERO))
    examples = graph.op("Shape", "x", start=0, end=1)
    each = graph.op("Concat", examples, np.ones(3, np.int64), axis=0)
    return Tensor(graph.cast(lifted, np.uint8), graph.op("Expand", INPUT_EXP, each))


def _sums(graph: Graph, trained: Trained, x: Tensor) -> Sums:
    """One layer, to the accumulators after its ReLU."""
    layer = trained.layer
    x = Tensor(graph.reshape(x.values, input_shape(layer)), x.exponent)
    match layer.kind:
        case Kind.MAX_POOL:
            return _max_pool(graph, trained, x)
        case Kind.AVERAGE_POOL:
            return _average_pool(graph, trained, x)
        case Kind.DENSE | Kind.CONV | Kind.DEPTHWISE:
            return _weighted(graph, trained, x)


def _max_pool(graph: Graph, trained: Trained, x: Tensor) -> Sums:
    largest = graph.op("MaxPool", graph.channels_first(x.values), **window(trained.layer))
    return Sums(_signed(graph, graph.channels_last(largest)), x.exponent)


def _average_pool(graph: Graph, trained: Trained, x: Tensor) -> Sums:
    mantissa, k = integers.ratio(1, trained.layer.height * trained.layer.width)
    axes = np.array([1, 2], np.int64)
    sums = graph.op("ReduceSum", _signed(graph, x.values), axes, keepdims=1)
    mean = integers.right(graph, graph.op("Mul", sums, mantissa), 7)
    return Sums(mean, graph.op("Add", x.exponent, k))


def _weighted(graph: Graph, trained: Trained, x: Tensor) -> Sums:
    products = graph.cast(_products(graph, trained, x.values), np.int64)
    exponent = graph.op("Add", x.exponent, trained.exponent)
    by = graph.op("Sub", exponent, BIAS_EXP)
    biases = integers.scaled(graph, trained.biases, by, BIAS_LIMIT)
    sums = graph.op("Add", products, biases)
    return Sums(graph.op("Max", sums, 0) if trained.layer.relu else sums, exponent)


def _products(graph: Graph, trained: Trained, x: str) -> str:
    """Add the nodes that multiply: int32 [N, height, width, out]."""
    if trained.layer.kind is Kind.DENSE:
        weights = (trained.matrix() + ZERO).astype(np.uint8)
        return graph.op("MatMulInteger", x, weights, ZERO, ZERO)
    kernels = (trained.kernels() + ZERO).astype(np.uint8)
    products = graph.op(
        "ConvInteger", graph.channels_first(x), kernels, ZERO, ZERO,
        group=groups(trained.layer), **window(trained.layer),
    )  # fmt: skip
    return graph.channels_last(products)


def _requantised(graph: Graph, sums: Sums) -> Tensor:
    """Take off as many bits as the largest accumulator of each example asks for."""
    largest = graph.op("ReduceMax", graph.op("Abs", sums.values), axes=[1, 2, 3], keepdims=1)
    # bitlen(M) - 7, or 0: how many of 2^7, 2^8, ... 2^30 are not above M < 2^31
    reached = graph.op("GreaterOrEqual", largest, 2 ** np.arange(7, 31, dtype=np.int64))
    axis = np.array([3], np.int64)
    by = graph.op("ReduceSum", graph.cast(reached, np.int64), axis, keepdims=1)
    values = graph.op("Clip", integers.right(graph, sums.values, by), -127, 127)
    lifted = graph.cast(graph.op("Add", values, int(ZERO)), np.uint8)
    return Tensor(lifted, graph.op("Add", sums.exponent, by))


def _signed(graph: Graph, values: str) -> str:
    """Turn uint8 with 128 for 0 into int64."""
    return graph.op("Sub", graph.cast(values, np.int64), int(ZERO))
