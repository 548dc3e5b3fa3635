"""A float model from elsewhere as the first model of a task."""

from pathlib import Path

import numpy as np

from fedling_broker.aggregate import ServerState
from fedling_broker.onnx import OnnxError
from fedling_broker.onnx.constants import fold
from fedling_broker.onnx.operators import advance
from fedling_broker.onnx.quantise import Change, quantise
from fedling_broker.onnx.reader import read_graph
from fedling_broker.onnx.snapshot import example_shape
from fedling_broker.onnx.walk import begin, finish
from fedling_native import parameter_counts
from fedling_protocol.messages import TaskSpec


def import_model(path: Path, spec: TaskSpec) -> tuple[ServerState, list[Change]]:
    """The state that rounds begin from, and what rounding to integers changed.

    Raises OnnxError: the file, the node, and what is allowed.
    """
    try:
        graph = read_graph(path, sum(parameter_counts(spec.layers)))
        walk = begin(graph, spec.layers, spec.loss, example_shape(spec))
        with np.errstate(all="ignore"):  # weights that are no numbers are refused at the end
            for node in graph.nodes:
                if not fold(walk, node):
                    advance(walk, node)
            return quantise(finish(walk, graph))
    except OnnxError as error:
        raise OnnxError(f"{path}: {error}") from error
