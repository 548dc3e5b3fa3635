"""Float models from PyTorch and from our own export as the first model of a task."""

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from fedling_broker.onnx import OnnxError
from fedling_broker.onnx.floating import float_model
from fedling_broker.onnx.importer import find_layers, import_model
from fedling_broker.onnx.walk import FloatLayer, Order
from fedling_native import INPUT_EXP, Kind, Layer, Loss, Net
from fedling_protocol.wire.messages import TaskSpec
from tests.broker.onnx_cases import FILES, TASKS, layers_of, snapshot_of
from tests.native import float_twin as twin
from tests.native import random_nets as nets
from tests.native import reference as ref
from tests.native.random_nets import Case

Float32 = NDArray[np.float32]

NOT_BOTH = ("leaky", "keras", "training")
GOOD = [
    *(f"{name}_{kind}" for name in TASKS if name not in NOT_BOTH for kind in ("new", "old")),
    "keras_tf2onnx",
    "keras_export",
]


def spec_for(name: str) -> TaskSpec:
    return TASKS[name.split("_")[0]]


def twin_of(layers: list[FloatLayer], loss: Loss) -> twin.FloatNet:
    shapes = [shape_of(x.layer) for x in layers]
    weights: list[twin.Floats] = [
        np.ravel(x.weights.T if x.layer.kind is Kind.DEPTHWISE else x.weights).reshape(
            shape.weights_shape
        )
        for x, shape in zip(layers, shapes, strict=True)
    ]
    biases: list[twin.Floats] = [x.biases for x in layers]
    return twin.FloatNet(shapes, weights, biases, ref.Loss(loss))


def shape_of(layer: Layer) -> ref.Shape:
    return ref.Shape(
        ref.Kind(layer.kind), layer.height, layer.width, layer.channels, layer.out, layer.relu,
        layer.kernel, layer.stride, layer.pad,
    )  # fmt: skip


def theirs(path: Path, x: Float32) -> Float32:
    """What onnxruntime makes of the file, [n][outputs]."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {session.get_inputs()[0].name: x})
    found: Float32 = given
    return found


def channels_first(name: str, x: Float32) -> Float32:
    """x [n][values] of the task as the file's model wants it."""
    if name.startswith("keras"):
        return x.reshape(-1, 12, 10, 3)
    if name.startswith("picture"):
        return x.reshape(-1, 8, 6, 3).transpose(0, 3, 1, 2)
    spec = spec_for(name)
    return x.reshape(-1, spec.window, spec.channels).transpose(0, 2, 1).reshape(given_shape(name))


def given_shape(name: str) -> tuple[int, ...]:
    return {"plain": (-1, 12), "repeat": (-1, 2, 10)}.get(name.split("_")[0], (-1, 6, 40))


def channels_last(name: str, y: Float32) -> Float32:
    """PyTorch's outputs in the task's order: an autoencoder repeats its input."""
    if name.startswith("repeat"):
        return y.transpose(0, 2, 1).reshape(len(y), -1)
    return y


# --- PyTorch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOOD)
def test_float_layers_compute_what_pytorch_s_file_does(name: str) -> None:
    """Permutations, folded BatchNorm, biases and paddings are right; the rest is float32."""
    spec = spec_for(name)
    x = np.random.default_rng(1).normal(0, 1, (9, spec.window * spec.channels))
    floats = twin_of(find_layers(FILES / f"{name}.onnx", spec).layers, spec.loss)
    logits = twin.layer_outputs(floats, x)[-1]
    y = channels_last(name, theirs(FILES / f"{name}.onnx", channels_first(name, x.astype("<f4"))))
    if name.startswith(("picture", "keras")):  # end with a softmax
        logits = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(logits - y).max() < 1e-5


@pytest.mark.parametrize("name", GOOD)
def test_import_model_gives_the_kernel_a_model_close_to_it(name: str) -> None:
    spec = spec_for(name)
    imported = import_model(FILES / f"{name}.onnx", spec)
    state, changes = imported.state, imported.changes
    net = Net(spec.layers, state.exponents, state.view, spec.loss)
    dice = np.random.default_rng(2)
    x = np.clip(np.round(dice.normal(0, 32, (40, spec.layers[0].inputs))), -127, 127)
    answers = [net.logits(one.data) for one in x.astype(np.int8)]
    logits = np.array([np.ldexp(z, e) for z, e in answers])
    floats = twin_of(find_layers(FILES / f"{name}.onnx", spec).layers, spec.loss)
    expected = twin.layer_outputs(floats, np.ldexp(x, INPUT_EXP))[-1]
    assert np.abs(logits - expected).max() < 0.05 * np.ptp(expected)
    assert [change.layer for change in changes] == [
        number for number, layer in enumerate(spec.layers, 1) if layer.weight_count
    ]
    assert all(0 < change.rms_error < 0.02 * change.rms for change in changes)
    assert all(change.rms_error_master < 1e-4 * change.rms for change in changes)
    assert not any(change.saturated for change in changes)


@pytest.mark.parametrize(("name", "node"), [("leaky_new", "node_leaky_relu"), ("leaky_old", "/1/")])
def test_an_unsupported_operator_is_named_with_its_node(name: str, node: str) -> None:
    with pytest.raises(OnnxError) as error:
        import_model(FILES / f"{name}.onnx", spec_for(name))
    message = str(error.value)
    assert message.startswith(f"{FILES / name}.onnx: node '{node}")
    assert "(LeakyRelu): is not supported; supported are Add, " in message


def test_batch_norm_of_training_is_refused_in_old_files_too() -> None:
    with pytest.raises(OnnxError, match=r"BatchNormalization\): is in training mode: export the"):
        import_model(FILES / "training_old.onnx", TASKS["training"])


@pytest.mark.parametrize(
    ("name", "order"),
    [("watch_old", Order.CHANNELS_FIRST), ("keras_tf2onnx", Order.CHANNELS_LAST)],
)
def test_the_order_of_the_input_is_told(name: str, order: Order) -> None:
    found = find_layers(FILES / f"{name}.onnx", spec_for(name))
    assert (found.order, found.either) == (order, False)
    assert find_layers(FILES / f"{name}.onnx", spec_for(name), order).order is order
    (other,) = set(Order) - {order}
    with pytest.raises(OnnxError, match=f"cannot be read as {other}"):
        find_layers(FILES / f"{name}.onnx", spec_for(name), other)


def test_weights_in_a_file_beside_it_are_needed(tmp_path: Path) -> None:
    shutil.copy(FILES / "watch_new.onnx", tmp_path)
    with pytest.raises(OnnxError, match=r"'0.weight': its data in 'watch_new.onnx.data' cannot be"):
        import_model(tmp_path / "watch_new.onnx", TASKS["watch"])


# --- our own float export ------------------------------------------------------------------------


@settings(max_examples=100)
@given(nets.cases())
def test_float_export_comes_back_as_it_was(case: Case) -> None:
    """All kinds of layers, strides and paddings: weights exactly, biases to float32."""
    rng = np.random.default_rng(case.seed)
    snapshot = snapshot_of(nets.first_model(rng, case.shapes, case.loss))
    found = layers_of(float_model(snapshot), snapshot.spec)
    for trained, floats in zip(snapshot.layers(), found, strict=True):
        weights = floats.weights.T if floats.layer.kind is Kind.DEPTHWISE else floats.weights
        assert np.array_equal(np.ldexp(trained.weights, trained.exponent), weights.ravel())
        assert np.array_equal(np.ldexp(trained.biases, -16), floats.biases)
