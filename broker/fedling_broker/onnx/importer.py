"""A float model from elsewhere as the first model of a task."""

from pathlib import Path

import numpy as np

from fedling_broker.aggregation.state import ServerState
from fedling_broker.onnx import OnnxError
from fedling_broker.onnx.constants import fold
from fedling_broker.onnx.operators import advance
from fedling_broker.onnx.quantise import Change, quantise
from fedling_broker.onnx.reader import FloatGraph, read_graph
from fedling_broker.onnx.snapshot import example_shape
from fedling_broker.onnx.walk import FloatLayer, Walk, begin, finish
from fedling_native import parameter_counts
from fedling_protocol.wire.messages import TaskSpec


def import_model(path: Path, spec: TaskSpec) -> tuple[ServerState, list[Change]]:
    """The state that rounds begin from, and what rounding to integers changed.

    Raises OnnxError: the file, the node, and what is allowed.
    """
    try:
        return quantise(float_layers(path, spec))
    except OnnxError as error:
        raise OnnxError(f"{path}: {error}") from error


@np.errstate(all="ignore")  # weights that are no numbers are refused when they are rounded
def float_layers(path: Path, spec: TaskSpec) -> list[FloatLayer]:
    """The task's layers as they are in the file. Raises OnnxError."""
    graph = read_graph(path, sum(parameter_counts(spec.layers)))
    refused: OnnxError | None = None
    for walk in begin(graph, spec.layers, spec.loss, example_shape(spec)):
        try:
            return followed(walk, graph)
        except OnnxError as error:
            refused = refused or error
    assert refused is not None  # begin gives at least one walk
    raise refused


def followed(walk: Walk, graph: FloatGraph) -> list[FloatLayer]:
    """Follow the graph from here to the output. Raises OnnxError."""
    for node in graph.nodes:
        if not fold(walk, node):
            advance(walk, node)
    return finish(walk, graph)
