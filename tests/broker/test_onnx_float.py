"""The float export in onnxruntime beside the float twin and the kernel."""

import numpy as np
import pytest
from hypothesis import given, settings

from fedling_broker.onnx.compare import compare_float, margin, run
from fedling_broker.onnx.floating import float_model
from tests.broker.onnx_cases import snapshot_of
from tests.native import float_twin as twin
from tests.native import kernel
from tests.native import random_nets as nets
from tests.native import reference as ref
from tests.native.random_nets import Case

STEP = 2.0**-5  # of an input


def multiplied(model: ref.Model) -> twin.FloatNet:
    """The twin of the int8 weights instead of the masters."""
    floats = twin.dequantise(model, np.float64)
    floats.weights = [x.w.astype(np.float64) * 2.0**x.w_exp for x in model.layers]
    return floats


@settings(max_examples=150)
@given(nets.cases())
def test_float_model_is_the_twin_of_the_multiplied_weights(case: Case) -> None:
    """All kinds of layers, strides, paddings and losses."""
    rng = np.random.default_rng(case.seed)
    model = nets.first_model(rng, case.shapes, case.loss)
    snapshot, x = snapshot_of(model), nets.ordinary_inputs(rng, model, 4).q * STEP
    expected = twin.layer_outputs(multiplied(model), x)[-1]
    examples = x.astype(np.float32).reshape(4, *snapshot.shape)
    logits, outputs = run(float_model(snapshot), examples, "logits", "outputs")
    scale = np.abs(expected).max() + 1e-6
    assert np.abs(logits - expected).max() < 1e-5 * scale
    assert np.abs(outputs - said(expected, case.loss)).max() < 1e-4 * max(1, scale)


def said(logits: twin.Floats, loss: ref.Loss) -> twin.Floats:
    """Probabilities or values."""
    if loss == ref.Loss.SOFTMAX:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: twin.Floats = powers / powers.sum(axis=1, keepdims=True)
        return shares
    return 1 / (1 + np.exp(-logits)) if loss == ref.Loss.SIGMOID else logits


CLASSES, LENGTH = 5, 24
SHAPES = (
    ref.conv((1, LENGTH, 3), 8, (1, 5), (1, 2), relu=True),
    ref.max_pool((1, 10, 8), (1, 2), (1, 2)),
    ref.depthwise((1, 5, 8), (1, 3), pad=(0, 0, 1, 1), relu=True),
    ref.dense(40, CLASSES),
)


def waves(rng: np.random.Generator, n: int) -> tuple[ref.Int8, ref.Int64]:
    """Noisy waves x int8 [n][72] of a frequency that is the class."""
    y = rng.integers(0, CLASSES, n)
    time = np.arange(LENGTH)[:, np.newaxis] + rng.uniform(0, 20, (n, 1, 1))
    wave = np.sin(time * (y[:, np.newaxis, np.newaxis] + 1) / 4 + np.arange(3))
    x = 30 * (wave + rng.normal(0, 0.3, (n, LENGTH, 3)))
    return np.clip(np.round(x), -127, 127).astype(np.int8).reshape(n, -1), y


def test_float_model_agrees_with_the_kernel_on_a_trained_net() -> None:
    """At least 99 % of the labels; where they differ, the lead is below 2 % of the range."""
    rng = np.random.default_rng(1)
    model = nets.first_model(rng, SHAPES)
    net = kernel.net(model)
    for _ in range(800):
        x, y = waves(rng, 10)
        net.step(x.data, y.astype(np.uint8).data, 2**21)
    snapshot = snapshot_of(ref.load(SHAPES, model.exponents, net.weights()))
    x, y = waves(rng, 2000)
    assert np.mean([net.predict(one.data).label for one in x] == y) > 0.9
    found = compare_float(float_model(snapshot), snapshot, x.reshape(-1, *snapshot.shape))
    assert found.labels >= 1980
    assert found.margin < 0.02


def test_margin_is_the_largest_lead_as_a_part_of_the_range() -> None:
    logits = np.array([[0.0, 10.0, 9.0], [4.0, 0.0, 3.0], [1.0, 2.0, 5.0]])
    ones = np.array([1, 0, 2])
    assert margin(logits, ones, ones) == 0
    assert margin(logits, ones, np.array([2, 2, 2])) == pytest.approx(0.25)


def test_float_model_says_what_it_is() -> None:
    model = float_model(snapshot_of(nets.first_model(np.random.default_rng(1), SHAPES)))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert (metadata["arithmetic"], metadata["task"]) == ("float32", "tiny")
    assert "standard deviations" in model.doc_string
    assert [value.name for value in model.graph.output] == ["logits", "outputs"]
