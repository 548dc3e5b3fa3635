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
from fedling_broker.onnx.walk import FloatLayer, Order, Walk, begin, finish
from fedling_native import parameter_counts
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import TaskSpec


@dataclass(frozen=True, slots=True)
class Found:
    """The task's layers in a file."""

    layers: list[FloatLayer]
    order: Order  # in which the file's input was read
    either: bool  # whether the other order fits as well, and gives another model


@dataclass(frozen=True, slots=True)
class Imported:
    """The state that rounds begin from, and what rounding to integers changed."""

    state: ServerState
    changes: list[Change]
    found: Found


def import_model(path: Path, spec: TaskSpec, order: Order | None = None) -> Imported:
    """Make a first model. order: of the input's values; None: the likeliest that fits.

    Raises OnnxError: the file, the node, and what is allowed.
    """
    try:
        found = find_layers(path, spec, order)
        return Imported(*quantise(found.layers), found)
    except OnnxError as error:
        raise OnnxError(f"{path}: {error}") from error


@np.errstate(all="ignore")  # weights that are no numbers are refused when they are rounded
def find_layers(path: Path, spec: TaskSpec, order: Order | None = None) -> Found:
    """Find the task's layers in the file. Raises OnnxError."""
    graph = read_graph(path, sum(parameter_counts(spec.layers)))
    walks = begin(graph, spec.layers, spec.loss, example_shape(spec))
    wanted = [walk for walk in walks if order in (None, walk.order)]
    if not wanted:
        raise OnnxError(f"its input cannot be read as {order}: its shape is another")
    fitting: list[tuple[Order, list[FloatLayer]]] = []
    refused: OnnxError | None = None
    for walk in wanted:
        try:
            fitting.append((walk.order, followed(walk, graph)))
        except OnnxError as error:
            refused = refused or error
    if not fitting:
        assert refused is not None  # there was at least one walk
        raise refused
    (taken, layers), *others = fitting
    return Found(layers, taken, any(_differ(layers, other) for _, other in others))


def followed(walk: Walk, graph: FloatGraph) -> list[FloatLayer]:
    """Follow the graph from here to the output. Raises OnnxError."""
    for node in graph.nodes:
        if not fold(walk, node):
            advance(walk, node)
    return finish(walk, graph)


def _differ(layers: list[FloatLayer], others: list[FloatLayer]) -> bool:
    return any(
        not np.array_equal(one.weights, other.weights)
        for one, other in zip(layers, others, strict=True)
    )
