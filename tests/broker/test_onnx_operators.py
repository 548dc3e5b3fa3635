"""What single nodes do to a model that is imported, and how what does not fit is named."""

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto

from fedling_broker.onnx import OnnxError
from fedling_broker.onnx.quantise import quantise
from fedling_broker.onnx.walk import Order
from fedling_native import Layer, Loss, average_pool, conv, dense, max_pool
from tests.broker.onnx_cases import (
    DENSE,
    FIRST,
    PLAIN,
    RNG,
    SECOND,
    Part,
    find,
    graph,
    layers_of,
    spec_of,
)


def changed(number: int, *parts: Part) -> list[Part]:
    """DENSE with other nodes instead of one."""
    return [*DENSE[:number], *parts, *DENSE[number + 1 :]]


def test_a_graph_by_hand_is_the_plain_model() -> None:
    first, second = layers_of(graph(DENSE, [12]), spec_of(PLAIN))
    assert np.array_equal(first.weights, FIRST.T.astype(np.float32))
    assert np.array_equal(second.weights, SECOND.T.astype(np.float32))
    assert (first.relu, second.relu) == (True, False)


@pytest.mark.parametrize(
    ("parts", "bias", "scale"),
    [
        ([("Add", ["", "c"], {})], "c", 1),
        ([("Add", ["c", ""], {})], "c", 1),
        ([("Sub", ["", "c"], {})], "-c", 1),
        ([("Mul", ["", "two"], {})], "0", 2),
        ([("Mul", ["two", ""], {}), ("Add", ["", "c"], {})], "c", 2),
        ([("Add", ["", "c"], {}), ("Div", ["", "two"], {})], "c/2", 0.5),
        ([("Identity", [""], {}), ("Dropout", [""], {})], "0", 1),
        ([("Cast", [""], {"to": TensorProto.DOUBLE})], "0", 1),
        ([("Unsqueeze", ["", "one"], {}), ("Squeeze", ["", "one"], {})], "0", 1),
        ([("Reshape", ["", "rows"], {}), ("Flatten", [""], {})], "0", 1),
        ([("Reshape", ["", "same"], {})], "0", 1),
    ],
)
def test_what_follows_the_sums_becomes_part_of_the_layer(
    parts: list[Part], bias: str, scale: float
) -> None:
    c = np.arange(7.0)
    model = graph(
        changed(0, DENSE[0], *parts), [12], c=c, two=2.0, one=[1], rows=[-1, 7, 1], same=[0, 0]
    )
    first = layers_of(model, spec_of(PLAIN))[0]
    expected = {"c": c, "-c": -c, "0": 0 * c, "c/2": c / 2}[bias]
    assert np.allclose(first.biases, expected)
    assert np.allclose(first.weights, scale * FIRST.T)


CONV = RNG.normal(0, 0.3, (4, 3, 1, 5))
CONV_TASK = spec_of((conv((1, 9, 3), 4, (1, 5)), dense(20, 2)), channels=3)


@pytest.mark.parametrize(
    ("parts", "task", "words"),
    [
        (changed(1, ("LeakyRelu", [""], {})), PLAIN, "node 'node1' (LeakyRelu): is not supported"),
        (changed(1), PLAIN, "node 'node0' has no ReLU after it; layer 1 of the task has one"),
        ([*DENSE, ("Relu", [""], {})], PLAIN, "'node2' has a ReLU after it; layer 2 of the task"),
        (DENSE[:2], PLAIN, "ends after 1 layers; layer 2 of the task is dense 7 -> 4"),
        ([*DENSE, ("MatMul", ["", "w"], {})], PLAIN, "has weights of shape [7, 4] for [N, 4]"),
        ([*DENSE, ("MatMul", ["", "sq"], {})], PLAIN, "is a layer more than the 2 of the task"),
        (DENSE, (dense(12, 8, relu=True), dense(8, 4)),
         "'node0' (MatMul): is dense 12 -> 7; layer 1 of the task is dense 12 -> 8"),
        (DENSE, (dense(13, 7, relu=True), dense(7, 4)),
         "its input 'x' has the shape [N, 12]: allowed by the task: [N, 1, 13]"),
        (changed(0, ("MatMul", ["first", ""], {})), PLAIN, "has its constant before the tensor"),
        (changed(0, ("MatMul", ["", "x"], {})), PLAIN, "its input 'x' is not a constant"),
        (changed(0, ("Gemm", ["", "first"], {"transA": 1})), PLAIN, "transA is not supported"),
        (changed(0, ("Gemm", ["", "first"], {"alpha": 1})), PLAIN, "attribute alpha is of another"),
        (changed(0, ("Gemm", ["", "first", "w"], {})), PLAIN, "of shape [7, 4] does not fit"),
        (changed(1, ("Relu", [""], {}), ("Add", ["", "c"], {})), PLAIN,
         "node 'node2' (Add): does not follow the sums of a layer"),
        (changed(1, ("Add", ["", "t0"], {}), ("Relu", [""], {})), PLAIN,
         "'node1' (Add): its input 't0' is not a constant"),
        (changed(2, ("Add", ["", "t0"], {}), DENSE[2]), PLAIN, "does not give: no branches"),
        (changed(0, ("Relu", [""], {}), DENSE[0]), PLAIN, "does not follow a layer with weights"),
        (changed(1, ("Reshape", ["", "flat"], {})), PLAIN, "makes [-1] of [N, 7]"),
        (changed(1, ("Reshape", ["", "odd"], {})), PLAIN, "makes [1, -1, 2] of [N, 7]"),
        (changed(1, ("Transpose", [""], {})), PLAIN, "perm = [1, 0]: allowed: an order with 0"),
        (changed(1, ("Flatten", [""], {"axis": 0})), PLAIN, "flattens the batch too"),
        (changed(1, ("Squeeze", ["", "zero"], {})), PLAIN, "axes [0]: allowed: some of 1 to 1"),
        (changed(1, ("Squeeze", ["", "one"], {})), PLAIN, "[N, 7] is not 1 there"),
        (changed(1, ("Cast", [""], {"to": TensorProto.INT64})), PLAIN, "makes integers"),
        (changed(1, ("ReduceMean", ["", "one"], {})), PLAIN, "is a mean; layer 2 of the task is"),
        ([*DENSE, ("Sigmoid", [""], {})], PLAIN, "(Sigmoid): the task's loss is softmax"),
        ([*DENSE, ("Softmax", [""], {}), ("MatMul", ["", "sq"], {})], PLAIN,
         "comes after 'node3', which ends a model"),
        (changed(0, ("Mul", ["", "two"], {}), DENSE[0]), PLAIN, "does not follow the sums"),
        (changed(0, ("MatMul", ["", "nan"], {})), PLAIN, "'node0' has weights that are no"),
        (changed(0, DENSE[0], ("Div", ["", "none"], {})), PLAIN, "'node0' has weights that are no"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(parts: list[Part], task: tuple[Layer, ...], words: str) -> None:
    constants: dict[str, ArrayLike] = {
        "c": np.arange(7.0), "two": 2.0, "none": 0.0, "nan": np.nan * FIRST, "sq": np.eye(4),
        "one": [1], "zero": [0], "flat": [-1], "odd": [1, -1, 2],
    }  # fmt: skip
    with pytest.raises(OnnxError, match=re.escape(words)):
        quantise(layers_of(graph(parts, [12], **constants), spec_of(task)))


@pytest.mark.parametrize(
    ("attributes", "weights", "words"),
    [
        ({"strides": [1, 2]}, CONV, "strides = [1, 2]: allowed: 1 numbers"),
        ({"strides": [0]}, CONV, "strides = [0]: allowed: 1 numbers of 1 and more"),
        ({"strides": [2]}, CONV, "stride 1x2, pad (0, 0, 0, 0); layer 1 of the task is conv 1x9x3"),
        ({"pads": [1, 1]}, CONV, "pad (0, 0, 1, 1); layer 1 of the task"),
        ({"pads": [-1, 1]}, CONV, "pads = [-1, 1]: allowed: 2 numbers of 0 and more"),
        ({"auto_pad": "SAME_UPPER"}, CONV, "pad (0, 0, 2, 2); layer 1 of the task"),
        ({"dilations": [2]}, CONV, "dilations are not supported"),
        ({"kernel_shape": [4]}, CONV, "its kernel_shape is not that of its weights"),
        ({"group": 3}, CONV, "its filters read 3 of 3 channels in 3 groups"),
        ({"group": 3}, CONV[:3, :1], "is depthwise 1x9x3 -> 3 channels, kernel 1x5"),
        (
            {"group": 3},
            np.tile(CONV[:3, :1], (2, 1, 1, 1)),
            "3 groups: allowed: 1, or a filter for",
        ),
        ({}, CONV[:3], "is conv 1x9x3 -> 3 channels, kernel 1x5"),
    ],
)
def test_a_convolution_that_does_not_fit_is_named(
    attributes: dict[str, Any], weights: NDArray[Any], words: str
) -> None:
    model = graph([("Conv", ["", "kernels"], attributes)], [3, 9], kernels=weights[:, :, 0])
    with pytest.raises(OnnxError, match=re.escape(words)):
        layers_of(model, CONV_TASK)


def test_a_convolution_reads_a_picture_in_its_own_order() -> None:
    parts: list[Part] = [
        ("Reshape", ["", "shape"], {}),
        ("Conv", ["", "kernels"], {}),
        ("Flatten", [""], {}),
    ]
    model = graph(parts, [9, 3], kernels=CONV[:, :, 0], shape=[0, 3, 9])
    with pytest.raises(OnnxError, match="reads values in another order than"):
        layers_of(model, CONV_TASK)


def test_as_many_samples_as_channels_both_orders_are_tried() -> None:
    """Channels last reach the convolution through a Transpose, channels first without one."""
    task = spec_of((conv((1, 3, 3), 2, (1, 3)),), Loss.SQUARED, channels=3)
    kernels = RNG.normal(0, 1, (2, 3, 3))
    first = graph([("Conv", ["", "k"], {}), ("Flatten", [""], {})], [3, 3], k=kernels)
    turn: Part = ("Transpose", [""], {"perm": [0, 2, 1]})
    last = graph([turn, ("Conv", ["", "k"], {}), ("Flatten", [""], {})], [3, 3], k=kernels)
    found, turned = (layers_of(model, task)[0].weights for model in (first, last))
    assert np.array_equal(found, turned)


@pytest.mark.parametrize("shape", [[3, 3], [9]])
def test_where_both_orders_fit_that_is_said_and_one_can_choose(shape: list[int]) -> None:
    """A dense layer first: nothing but the one who made the file knows."""
    task = spec_of((dense(9, 2),), channels=3)
    first = RNG.normal(0, 1, (9, 2))
    parts: list[Part] = [("Flatten", [""], {}), ("MatMul", ["", "first"], {})]
    found = {
        order: find(graph(parts, shape, first=first), task, order)
        for order in (None, Order.CHANNELS_FIRST, Order.CHANNELS_LAST)
    }
    assert found[None].either
    assert found[None].order is (Order.CHANNELS_LAST if shape == [9] else Order.CHANNELS_FIRST)
    assert not found[Order.CHANNELS_FIRST].either
    assert np.allclose(found[Order.CHANNELS_LAST].layers[0].weights, first.T)
    turned = first.T.reshape(2, 3, 3).transpose(0, 2, 1).reshape(2, 9)
    assert np.allclose(found[Order.CHANNELS_FIRST].layers[0].weights, turned)


SIZES: list[Part] = [
    ("Shape", ["x"], {}),
    ("Slice", ["", "one", "three"], {}),
    ("ReduceProd", [""], {"keepdims": 1}),
    ("Slice", ["t0", "zero", "one"], {}),
    ("Squeeze", [""], {}),
    ("Unsqueeze", ["", "zero"], {}),
    ("Concat", ["", "t2"], {"axis": 0}),
    ("Reshape", ["x", ""], {}),
]


def test_sizes_that_a_file_computes_are_followed() -> None:
    """As exporters of other frameworks write x.reshape(len(x), prod(x.shape[1:]))."""
    parts: list[Part] = [*SIZES, *DENSE]
    model = graph(parts, [3, 4], zero=[0], one=[1], three=[3])
    weights = layers_of(model, spec_of(PLAIN, channels=3))[0].weights
    assert np.allclose(weights.reshape(7, 4, 3).transpose(0, 2, 1).reshape(7, 12), FIRST.T)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (("ReduceProd", ["t0"], {}), "of sizes that are known; the batch is not"),
        (("Mul", ["t0", "t0"], {}), "of sizes that are known; the batch is not"),
        (("Mul", ["huge", "huge"], {}), "of sizes that are known"),
        (("Mul", ["huge", "three_sizes"], {}), "of lists of the same length"),
        (("ReduceProd", ["half"], {}), "of sizes that are known"),
        (("Slice", ["t0", "three_sizes", "one"], {}), "with one start and one end"),
        (("Slice", ["t0", "one", "one", "one"], {}), "axis 1, step 1"),
        (("Slice", ["t0", "one", "one", "zero", "zero"], {}), "axis 0, step 0"),
        (("Squeeze", ["t0"], {}), "allowed: of a single number"),
    ],
)
def test_sizes_that_cannot_be_computed_are_named(part: Part, words: str) -> None:
    parts: list[Part] = [("Shape", ["x"], {}), part, ("Reshape", ["x", ""], {}), *DENSE]
    model = graph(
        parts, [3, 4],
        zero=[0], one=[1], three_sizes=[1, 2, 3], huge=[2**31 - 1, 2**31 - 1], half=[0.5],
    )  # fmt: skip
    with pytest.raises(OnnxError, match=words):
        layers_of(model, spec_of(PLAIN, channels=3))


def test_a_batch_among_the_sizes_of_an_example_is_refused() -> None:
    """It was taken for "the rest" once: [N, 12] that becomes [12, N]."""
    turned: list[Part] = [
        ("Shape", ["x"], {}),
        ("Gather", ["", "backwards"], {}),
        ("Reshape", ["x", ""], {}),
    ]
    model = graph([*turned, *DENSE], [12], backwards=[1, 0])
    with pytest.raises(OnnxError, match="allowed: each example for itself"):
        layers_of(model, spec_of(PLAIN))


def test_constants_that_a_file_computes_are_followed() -> None:
    """x.view(x.size(0), -1) and a transposed matrix, as the older exporter writes them."""
    parts: list[Part] = [
        ("Shape", [""], {}),
        ("Gather", ["", "zero"], {}),
        ("Unsqueeze", ["", "axis"], {}),
        ("Concat", ["", "rest"], {"axis": 0}),
        ("Reshape", ["x", "t3"], {}),
        ("Transpose", ["turned"], {}),
        ("MatMul", ["t4", "t5"], {}),
        ("Relu", [""], {}),
        ("MatMul", ["", "w"], {}),
    ]
    model = graph(parts, [3, 4], zero=0, axis=[0], rest=[-1], turned=FIRST.T)
    weights = layers_of(model, spec_of(PLAIN, channels=3))[0].weights
    by_channel = weights.reshape(7, 4, 3).transpose(0, 2, 1).reshape(7, 12)
    assert np.allclose(by_channel, FIRST.T)


# --- BatchNorm and pools -------------------------------------------------------------------------

SCALE, OFFSET = np.arange(2.0, 9), np.arange(7.0)
MEAN, SPREAD = np.full(7, 0.5), np.full(7, 3.0)
NORM: dict[str, ArrayLike] = {"scale": SCALE, "offset": OFFSET, "mean": MEAN, "spread": SPREAD}
NORM_INPUTS = ["", "scale", "offset", "mean", "spread"]


@pytest.mark.parametrize(("training", "taken"), [(False, True), (True, False)])
def test_a_dropout_that_drops_values_in_use_is_refused(training: bool, taken: bool) -> None:
    parts: list[Part] = [*DENSE[:2], ("Dropout", ["", "ratio", "mode"], {}), DENSE[2]]
    model = graph(parts, [12], ratio=0.5, mode=int(training))
    if taken:
        assert len(layers_of(model, spec_of(PLAIN))) == 2
        return
    with pytest.raises(OnnxError, match=r"Dropout\): is in training mode"):
        layers_of(model, spec_of(PLAIN))


def test_batch_norm_is_folded() -> None:
    norm: Part = ("BatchNormalization", NORM_INPUTS, {"epsilon": 1.0})
    first = layers_of(graph(changed(0, DENSE[0], norm), [12], **NORM), spec_of(PLAIN))[0]
    assert np.allclose(first.weights, FIRST.T * SCALE[:, np.newaxis] / 2)
    assert np.allclose(first.biases, OFFSET - MEAN * SCALE / 2)


@pytest.mark.parametrize(
    ("attributes", "other", "words"),
    [
        ({"training_mode": 1}, {}, "is in training mode: export the model after model.eval()"),
        ({}, {"spread": -SPREAD}, "has a variance that is not positive"),
        ({}, {"scale": [1.0]}, "its input 1 has the shape [1]: allowed: [channels]"),
        ({}, {"scale": np.ones((7, 7))}, "its input 1 has the shape [7, 7]: allowed: [channels]"),
    ],
)
def test_batch_norm_that_cannot_be_folded_is_named(
    attributes: dict[str, Any], other: dict[str, ArrayLike], words: str
) -> None:
    norm: Part = ("BatchNormalization", NORM_INPUTS, attributes)
    model = graph(changed(0, DENSE[0], norm), [12], **(NORM | other))
    with pytest.raises(OnnxError, match=re.escape(words)):
        layers_of(model, spec_of(PLAIN))


MEAN_TASK = spec_of((average_pool((2, 3, 5)), dense(5, 2)), channels=5)
HEAD = RNG.normal(0, 0.3, (5, 2))


@pytest.mark.parametrize(
    "parts",
    [
        [("GlobalAveragePool", [""], {}), ("Flatten", [""], {})],
        [("AveragePool", [""], {"kernel_shape": [2, 3]}), ("Flatten", [""], {})],
        [("ReduceMean", ["", "axes"], {"keepdims": 0})],
        [("ReduceMean", [""], {"axes": [-1, -2], "keepdims": 0})],
        [("Reshape", ["", "rows"], {}), ("ReduceMean", ["", "two"], {"keepdims": 0})],
        [("Transpose", [""], {"perm": [0, 2, 3, 1]}), ("ReduceMean", [""], {"axes": [1, 2]}),
         ("Flatten", [""], {})],
    ],
)  # fmt: skip
def test_a_mean_of_each_channel_is_an_average_pool(parts: list[Part]) -> None:
    constants: dict[str, ArrayLike] = {"axes": [2, 3], "rows": [0, 5, 6], "two": [2], "head": HEAD}
    model = graph([*parts, ("MatMul", ["", "head"], {})], [5, 2, 3], **constants)
    pool, head = layers_of(model, MEAN_TASK)
    assert pool.weights.size == 0
    assert np.array_equal(head.weights, HEAD.T.astype(np.float32))


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (("AveragePool", [""], {"kernel_shape": [2, 2]}), "is not over all positions"),
        (("AveragePool", [""], {"kernel_shape": [2, 3], "pads": [1, 0, 0, 0]}), "is not over all"),
        (("ReduceMean", [""], {"axes": [1]}), "is not the mean of each channel over all"),
        (("ReduceMean", [""], {"axes": [2]}), "is not the mean of each channel over all"),
        (("ReduceMean", [""], {"axes": [0]}), "axes [0]: allowed: some of 1 to 3, not the batch"),
        (
            ("MaxPool", [""], {"kernel_shape": [2, 3]}),
            "is max_pool 2x3x5 -> 5 channels, kernel",
        ),
    ],
)
def test_another_mean_is_named(part: Part, words: str) -> None:
    with pytest.raises(OnnxError, match=re.escape(words)):
        layers_of(graph([part], [5, 2, 3]), MEAN_TASK)


@pytest.mark.parametrize(("width", "allowed"), [(8, True), (9, False)])
def test_ceil_mode_is_allowed_where_it_changes_nothing(width: int, allowed: bool) -> None:
    task = spec_of((max_pool((1, width, 3), (1, 2)), dense(12, 2)), channels=3)
    pool: Part = ("MaxPool", [""], {"kernel_shape": [2], "strides": [2], "ceil_mode": 1})
    parts: list[Part] = [pool, ("Flatten", [""], {}), ("MatMul", ["", "head"], {})]
    model = graph(parts, [3, width], head=np.ones((12, 2)))
    if allowed:
        assert len(layers_of(model, task)) == 2
    else:
        with pytest.raises(OnnxError, match="ceil_mode is not supported where"):
            layers_of(model, task)


def test_a_relu_after_a_max_pool_is_the_layer_s_before_it() -> None:
    layers = (conv((1, 9, 3), 4, (1, 2), relu=True), max_pool((1, 8, 4), (1, 2)), dense(16, 2))
    parts: list[Part] = [
        ("Conv", ["", "kernels"], {}),
        ("MaxPool", [""], {"kernel_shape": [2], "strides": [2]}),
        ("Relu", [""], {}),
        ("Flatten", [""], {}),
        ("MatMul", ["", "head"], {}),
    ]
    model = graph(parts, [3, 9], kernels=CONV[:, :, 0, :2], head=np.ones((16, 2)))
    assert [x.relu for x in layers_of(model, spec_of(layers, channels=3))] == [True, False, False]
