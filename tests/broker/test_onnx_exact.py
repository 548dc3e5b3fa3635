"""The exact export in onnxruntime beside the kernel, the reference and the golden vectors."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_broker.onnx.compare import compare_exact, kernel_answers, random_examples, run
from fedling_broker.onnx.exact import exact_model
from fedling_broker.onnx.integers import ratio
from fedling_broker.onnx.snapshot import Snapshot
from fedling_native import Layer, Loss
from tests.broker.onnx_cases import snapshot_of, spec_of
from tests.native import random_nets as nets
from tests.native import reference as ref
from tests.native.random_nets import Case

GOLDEN = json.loads((Path(ref.__file__).parents[1] / "golden" / "predict.json").read_text())
OUTPUTS = ("logits", "exponent", "outputs", "label")

WATCH = (
    ref.conv((1, 100, 6), 16, (1, 9), (1, 2), relu=True),
    ref.conv((1, 46, 16), 32, (1, 5), (1, 2), relu=True),
    ref.average_pool((1, 21, 32)),
    ref.dense(32, 7),
)
PICTURE = (
    ref.conv((9, 7, 3), 5, (3, 3), (2, 1), pad=(1, 1, 1, 1)),
    ref.depthwise((5, 7, 5), (3, 2), pad=(2, 1, 0, 1), relu=True),
    ref.max_pool((6, 7, 5), (3, 3), (2, 2), pad=(1, 2, 1, 0)),
    ref.dense(4 * 3 * 5, 40),
)


def agree(snapshot: Snapshot, x: ref.Int8) -> None:
    """x [n][inputs]: every number is the kernel's."""
    examples = x.reshape(-1, *snapshot.shape)
    found = compare_exact(exact_model(snapshot), snapshot, examples)
    assert (found.exact, found.labels, found.margin) == (len(x), len(x), 0.0)


# --- golden --------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [r for r in GOLDEN if r["x_exp"] == -5], ids=lambda r: r["name"])
def test_exact_model_gives_the_golden_predictions(row: dict[str, Any]) -> None:
    layers = [Layer.from_ints(ints) for ints in row["layers"]]
    spec = spec_of(layers, Loss(row["loss"]))
    weights, x, outputs = (base64.b64decode(row[k]) for k in ("weights", "x", "outputs"))
    snapshot = Snapshot(spec, 1, b"h" * 32, tuple(row["exponents"]), weights)
    examples = np.frombuffer(x, np.int8).reshape(-1, *snapshot.shape)
    said, labels = run(exact_model(snapshot), examples, "outputs", "label")
    assert said.astype("<i4").tobytes() == outputs
    assert labels.tolist() == row["labels"]


# --- properties ----------------------------------------------------------------------------------


@settings(max_examples=150)
@given(nets.cases())
def test_exact_model_equals_the_kernel(case: Case) -> None:
    """On 10,000 inputs, 70 to a net: kinds of layers, strides, paddings, losses, extremes."""
    rng = np.random.default_rng(case.seed)
    snapshot = snapshot_of(nets.any_model(case, rng))
    loud = nets.any_inputs(case, rng, 20)
    faint = random_examples(snapshot, 50, case.seed).reshape(50, -1)
    agree(snapshot, np.concatenate([loud, faint]))


@settings(max_examples=40)
@given(nets.cases())
def test_exact_model_equals_the_reference(case: Case) -> None:
    rng = np.random.default_rng(case.seed)
    model = nets.any_model(replace(case, x_exp=ref.NORMALISED_EXP), rng)
    snapshot, x = snapshot_of(model), nets.any_inputs(case, rng, 5)
    found = run(exact_model(snapshot), x.reshape(5, *snapshot.shape), *OUTPUTS)
    for one, logits, exponent, said, label in zip(x, *found, strict=True):
        end = ref.forward(model, ref.Tensor(one[np.newaxis], ref.NORMALISED_EXP))
        outputs, expected = ref.predict(model, one, ref.NORMALISED_EXP)
        assert (logits.tolist(), exponent) == (end.z[0].tolist(), end.z_exp)
        assert (said.tolist(), label) == (outputs.tolist(), expected)


@pytest.mark.parametrize("shapes", [WATCH, PICTURE], ids=["watch", "picture"])
@pytest.mark.parametrize("loss", [Loss.SOFTMAX, Loss.SIGMOID, Loss.SQUARED])
def test_exact_model_equals_the_kernel_on_10_000_inputs(
    shapes: tuple[ref.Shape, ...], loss: Loss
) -> None:
    """Of a net with weights as models have them."""
    rng = np.random.default_rng(1)
    snapshot = snapshot_of(nets.first_model(rng, shapes, ref.Loss(loss)))
    agree(snapshot, random_examples(snapshot, 10_000).reshape(10_000, -1))


@pytest.mark.parametrize("spread", ["corners", "uniform"])
def test_exact_model_of_the_widest_layer(spread: str) -> None:
    """The sums of 65,535 products wrap around in uint8 arithmetic and still come out."""
    case = Case(2, [ref.dense(65535, 2)], [-8], spread, spread)
    rng = np.random.default_rng(case.seed)
    snapshot = snapshot_of(nets.any_model(case, rng))
    extreme = np.full((2, 65535), 127, np.int8)
    extreme[1] = -127
    agree(snapshot, np.concatenate([extreme, nets.any_inputs(case, rng, 3)]))


@pytest.mark.parametrize("low", [-(2**31), -1])
def test_exact_model_saturates_biases_at_every_exponent(low: int) -> None:
    """Large ones to the right and left, and a bias of 1 as far to the left as it can go."""
    shapes = [ref.dense(3, 9, relu=True), ref.dense(9, 8), ref.dense(8, 4)]
    for w_exp in range(ref.MIN_EXP, ref.MAX_EXP + 1):
        rng = np.random.default_rng(w_exp & 0xFF)
        model = nets.any_model(Case(0, shapes, [w_exp] * 3), rng)
        for layer in model.layers:
            layer.bias[:] = rng.integers(low, -low, layer.bias.shape)
        agree(snapshot_of(model), rng.integers(-1, 2, (8, 3)).astype(np.int8))


def test_exact_model_of_the_largest_bias_shifted_by_one() -> None:
    """-2^31 halved is one below the limit."""
    model = nets.any_model(Case(1, [ref.dense(3, 4)], [-10]), np.random.default_rng(1))
    model.layers[0].bias[:] = [-(2**31), 1 - 2**31, 2**31 - 1, 2 - 2**31]
    agree(snapshot_of(model), np.zeros((1, 3), np.int8))


def test_exact_model_treats_each_example_alone() -> None:
    """Beside a loud neighbour a faint example keeps all its bits."""
    snapshot = snapshot_of(nets.first_model(np.random.default_rng(4), WATCH))
    model = exact_model(snapshot)
    x = random_examples(snapshot, 6)
    x[0], x[1] = 1, 127
    together = run(model, x, *OUTPUTS)
    for i in range(len(x)):
        alone = run(model, x[i : i + 1], *OUTPUTS)
        assert [a[0].tolist() for a in alone] == [t[i].tolist() for t in together]


@given(st.integers(1, 2**40), st.integers(1, 2**40))
def test_ratio_is_the_reference_s(a: int, b: int) -> None:
    assert ratio(a, b) == ref.ratio(a, b)


# --- the file ------------------------------------------------------------------------------------


def test_exact_model_says_what_it_is() -> None:
    snapshot = snapshot_of(nets.first_model(np.random.default_rng(4), WATCH))
    model = exact_model(snapshot)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata == {
        "arithmetic": "fedling integers",
        "task": "tiny",
        "version": "3",
        "model_hash": (b"h" * 32).hex(),
        "labels": json.dumps([f"label {k}" for k in range(7)]),
        "loss": "softmax",
        "normalise": "device",
        "input_exponent": "-5",
    }
    assert "2^-5" in model.doc_string
    assert [value.name for value in model.graph.input] == ["x"]
    assert [value.name for value in model.graph.output] == list(OUTPUTS)
    batch, *shape = model.graph.input[0].type.tensor_type.shape.dim
    assert (batch.dim_param, [d.dim_value for d in shape]) == ("N", [1, 100, 6])


def test_exact_model_is_made_of_integer_operators() -> None:
    model = exact_model(snapshot_of(nets.first_model(np.random.default_rng(4), PICTURE)))
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    types = {value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    tensor = onnx.TensorProto
    assert types <= {tensor.UINT8, tensor.INT32, tensor.INT64, tensor.BOOL}


def test_kernel_answers_are_net_s() -> None:
    snapshot = snapshot_of(nets.first_model(np.random.default_rng(4), WATCH))
    x = random_examples(snapshot, 3)
    answers = kernel_answers(snapshot, x)
    model = ref.load(WATCH, snapshot.exponents, snapshot.weights)
    labels = [ref.predict(model, one.ravel(), -5)[1] for one in x]
    assert answers.labels.tolist() == labels
