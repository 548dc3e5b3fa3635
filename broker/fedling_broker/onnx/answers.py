"""What a model says, in integer ONNX operators (NUMERICS.md section 4)."""

import numpy as np

from fedling_broker.onnx import integers
from fedling_broker.onnx.graph import Graph
from fedling_native import VALUE_EXP, Loss

EXP2 = np.round(32768 * 2 ** (-np.arange(64) / 64)).astype(np.int64)  # 2^-(i/64) in Q15
VALUE_LIMIT = 2**20
ONE = 32768  # Q15


def outputs(graph: Graph, logits: str, exponent: str, loss: Loss) -> str:
    """int64 [N, outputs], of logits int64 [N, outputs] and exponents int64 [N, 1]."""
    match loss:
        case Loss.SOFTMAX:
            return _softmax(graph, logits, exponent)
        case Loss.SIGMOID:
            return _sigmoid(graph, logits, exponent)
        case Loss.SQUARED | Loss.RECONSTRUCTION:
            by = graph.op("Sub", VALUE_EXP, exponent)
            return integers.scaled(graph, logits, by, VALUE_LIMIT)


def label(graph: Graph, logits: str) -> str:
    """int64 [N]: the first of the largest logits."""
    return graph.op("ArgMax", logits, axis=1, keepdims=0)


def _softmax(graph: Graph, logits: str, exponent: str) -> str:
    largest = graph.op("ReduceMax", logits, axes=[1], keepdims=1)
    p = _exp2(graph, graph.op("Sub", largest, logits), exponent)
    total = graph.op("ReduceSum", p, np.array([1], np.int64), keepdims=1)
    share = graph.op("Div", 2**31 - 1, total)
    return integers.floor_right(graph, graph.op("Mul", p, share), 16)


def _sigmoid(graph: Graph, logits: str, exponent: str) -> str:
    p = _exp2(graph, graph.op("Abs", logits), exponent)
    q = graph.op("Div", 2**30, graph.op("Add", p, ONE))
    negative = graph.op("Less", logits, 0)
    return graph.op("Where", negative, graph.op("Sub", ONE, q), q)


def _exp2(graph: Graph, distance: str, exponent: str) -> str:
    """e^-(d * 2^exponent) in Q15, d >= 0."""
    down = graph.op("Neg", exponent)
    before = graph.op("Max", graph.op("Sub", down, 12), 0)
    far = graph.op("Min", before, integers.NOTHING_LEFT)
    near = graph.op("Min", integers.floor_right(graph, distance, far), 2**17 - 1)
    after = graph.op("Max", graph.op("Sub", graph.op("Add", down, 6), before), 0)
    scaled = integers.floor_right(graph, graph.op("Mul", near, 5909), after)
    steps = graph.op("Min", scaled, 1023)
    power = graph.op("Gather", EXP2, graph.op("Mod", steps, 64))
    return integers.floor_right(graph, power, graph.op("Div", steps, 64))
