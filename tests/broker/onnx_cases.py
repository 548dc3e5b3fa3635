"""Models to be exported, and the tasks that the files of onnx_models fit."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from fedling_broker.onnx.importer import Found, find_layers
from fedling_broker.onnx.snapshot import Snapshot
from fedling_broker.onnx.walk import FloatLayer, Order
from fedling_native import Layer, Loss, average_pool, conv, dense, depthwise, max_pool
from fedling_protocol.wire.messages import TaskSpec
from tests.native import kernel
from tests.native import reference as ref

FILES = Path(__file__).parent / "onnx_models"


def spec_of(layers: Sequence[Layer], loss: Loss = Loss.SOFTMAX, *, channels: int = 1) -> TaskSpec:
    """A task with these layers; channels: of its stream."""
    window = layers[0].inputs // channels
    labels = tuple(f"label {number}" for number in range(layers[-1].outputs))
    return TaskSpec(
        "tiny", "wrist", window, window, channels, "device", labels, tuple(layers), loss
    )


def snapshot_of(model: ref.Model) -> Snapshot:
    """A model of the reference as version 3 of a task."""
    spec = spec_of([kernel.layer(shape) for shape in model.shapes], Loss(model.loss))
    return Snapshot(spec, 3, b"h" * 32, tuple(model.exponents), ref.weight_bytes(model))


WATCH = (
    conv((1, 40, 6), 8, (1, 9), (1, 2), relu=True),
    conv((1, 16, 8), 5, (1, 5), (1, 2), relu=True),
    average_pool((1, 6, 5)),
    dense(5, 3),
)
PICTURE = (
    conv((8, 6, 3), 4, (3, 3), pad=(1, 1, 1, 1), relu=True),
    max_pool((8, 6, 4), (2, 2)),
    depthwise((4, 3, 4), (3, 2), pad=(1, 1, 0, 0), relu=True),
    max_pool((4, 2, 4), (2, 2)),
    dense(8, 5),
)
PLAIN = (dense(12, 7, relu=True), dense(7, 4))
REPEAT = (dense(20, 6, relu=True), dense(6, 20))

KERAS = (
    conv((12, 10, 3), 4, (3, 3), pad=(1, 1, 1, 1), relu=True),
    max_pool((12, 10, 4), (2, 2)),
    conv((6, 5, 4), 5, (3, 2), relu=True),
    max_pool((4, 4, 5), (2, 2)),
    dense(20, 4),
)
TURNED = (conv((1, 40, 6), 4, (1, 9), (1, 2), relu=True), dense(64, 3))
POOLED = (conv((1, 40, 6), 8, (1, 9), (1, 2), relu=True), average_pool((1, 16, 8)), dense(8, 3))
ROWS = (dense(240, 5, relu=True), dense(5, 3))

TASKS = {
    "watch": spec_of(WATCH, channels=6),
    "turned": spec_of(TURNED, channels=6),
    "pooled": spec_of(POOLED, channels=6),
    "rows": spec_of(ROWS, channels=6),
    "keras": spec_of(KERAS, channels=3),
    "picture": spec_of(PICTURE, channels=3),
    "plain": spec_of(PLAIN),
    "repeat": spec_of(REPEAT, Loss.RECONSTRUCTION, channels=2),
    "leaky": spec_of(PLAIN),
    "training": spec_of(PLAIN),
}


# --- files ---------------------------------------------------------------------------------------


def layers_of(model: ModelProto, spec: TaskSpec) -> list[FloatLayer]:
    """The task's layers in a model. Raises OnnxError."""
    return find(model, spec).layers


def find(model: ModelProto, spec: TaskSpec, order: Order | None = None) -> Found:
    """What is found in a model. Raises OnnxError."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return find_layers(path, spec, order)


# --- graphs by hand ------------------------------------------------------------------------------

Part = tuple[str, list[str], dict[str, Any]]  # operator, inputs, attributes

RNG = np.random.default_rng(7)
FIRST, SECOND = RNG.normal(0, 0.3, (12, 7)), RNG.normal(0, 0.3, (7, 4))
DENSE: list[Part] = [("MatMul", ["", "first"], {}), ("Relu", [""], {}), ("MatMul", ["", "w"], {})]


def graph(parts: list[Part], example: Sequence[int], **constants: ArrayLike) -> ModelProto:
    """Nodes in a row: an empty input is what the node before gives. Constants are float32."""
    nodes, newest = [], "x"
    for number, (operator, inputs, attributes) in enumerate(parts):
        reads = [name or newest for name in inputs]
        newest = f"t{number}"
        nodes.append(helper.make_node(operator, reads, [newest], f"node{number}", **attributes))
    known = {"first": FIRST, "w": SECOND} | constants
    stored = [numpy_helper.from_array(narrow(values), name) for name, values in known.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *example])
    y = helper.make_tensor_value_info(newest, TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(nodes, "hand", [x], [y], stored))


def narrow(values: ArrayLike) -> NDArray[Any]:
    array = np.asarray(values)
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
