"""The geometry of a layer in Python is that of the C library; what is no model is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedling_native import (
    MAX_LAYERS,
    MAX_VALUES,
    Kind,
    Layer,
    Loss,
    NativeError,
    Net,
    average_pool,
    check_model,
    conv,
    delta,
    dense,
    depthwise,
    max_pool,
    parameter_counts,
    same,
    weights_size,
)
from fedling_native._core import ffi, lib

if TYPE_CHECKING:
    from fedling_native._core import CData

SIDES = st.one_of(st.integers(1, 12), st.sampled_from([255, 256, 1024, 65_535]))
SIZES = st.one_of(st.integers(0, 5), st.just(255))
ROWS = st.tuples(st.sampled_from(list(Kind)), SIDES, SIDES, SIDES, SIDES, st.just(0), *[SIZES] * 8)
SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
KERNELS = st.tuples(st.integers(1, 9), st.integers(1, 9))


def c_layer(layer: Layer) -> CData:
    kind, height, width, channels, out, relu, *rest = layer.to_ints()
    return ffi.new("fdl_layer[]", [(kind, relu, 0, *rest, height, width, channels, out)])


def check_geometry(layer: Layer) -> bool:
    """Whether C takes the layer; then it must count as Python does."""
    c = c_layer(layer)
    outputs = lib.fdl_output_count(c)
    if outputs == 0:
        return False
    assert (lib.fdl_input_count(c), outputs) == (layer.inputs, layer.outputs)
    weights, biases = lib.fdl_weight_count(c, 1), lib.fdl_bias_count(c, 1)
    assert (weights, biases) == (layer.weight_count, layer.bias_count)
    assert layer.positions * layer.out == outputs
    assert layer.inputs <= layer.padded_inputs <= MAX_VALUES
    return True


@given(ROWS)
@example((Kind.CONV, 5, 9, 2, 3, 0, 3, 2, 2, 3, 1, 0, 1, 1))
@example((Kind.MAX_POOL, 1, 9, 2, 2, 0, 1, 3, 1, 2, 0, 0, 2, 2))
def test_geometry_equals_that_of_c(row: tuple[int, ...]) -> None:
    layer = Layer.from_ints(row)
    assert layer.to_ints() == row
    check_geometry(layer)


@given(SHAPES, KERNELS, KERNELS, st.integers(1, 20))
def test_constructors_make_what_c_takes(
    shape: tuple[int, int, int], kernel: tuple[int, int], stride: tuple[int, int], out: int
) -> None:
    height, width, channels = shape
    pad = same(shape, kernel, stride)
    layers = [
        dense(height * width * channels, out),
        conv(shape, out, kernel, stride, pad=pad),
        depthwise(shape, kernel, stride, pad=pad),
        max_pool(shape, kernel, stride, pad=pad),
        average_pool(shape),
    ]
    assert [layer.kind for layer in layers] == list(Kind)
    assert all(check_geometry(layer) for layer in layers)
    assert all(layer.inputs == height * width * channels for layer in layers)
    ceil = (-(-height // stride[0]), -(-width // stride[1]))
    assert [layer.out_shape[:2] for layer in layers[1:4]] == [ceil] * 3


def test_same_puts_the_odd_zero_after_the_data() -> None:
    assert same((1, 100, 6), (1, 9), (1, 1)) == (0, 0, 4, 4)
    assert same((7, 10, 1), (4, 3), (2, 2)) == (1, 2, 0, 1)
    assert same((7, 10, 1), (1, 1), (3, 3)) == (0, 0, 0, 0)


@pytest.mark.parametrize("kind", [-1, 5])
def test_from_ints_refuses_an_unknown_kind(kind: int) -> None:
    with pytest.raises(ValueError, match="not a valid Kind"):
        Layer.from_ints((kind, *dense(1, 1).to_ints()[1:]))


def refusal(layers: list[Layer]) -> str:
    """The one name under which every function refuses them."""
    names = set()
    for call in (
        lambda: weights_size(layers),
        lambda: parameter_counts(layers),
        lambda: check_model(layers, Loss.SQUARED),
        lambda: Net(layers, [0] * len(layers), b"", Loss.SQUARED),
        lambda: delta(layers, b"", b""),
    ):
        with pytest.raises(NativeError) as caught:
            call()
        assert caught.value.meaning in str(caught.value)
        names.add(caught.value.name)
    (name,) = names
    return name


WINDOWS = conv((1, 9, 2), 3, (1, 4))


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [dense(2, 2)] * (MAX_LAYERS + 1),
        [dense(0, 2)],
        [dense(4, 0, relu=True), dense(0, 2)],
        [dense(65_536, 2)],
        [dense(-1, 2)],
        [dense(2**70, 2)],
        [dense(4, 2, relu=True)],
        [dense(4, 3, relu=True), dense(2, 2)],
        [dense(65_535, 65_535, relu=True), dense(65_535, 2)],
        [average_pool((1, 4, 2))],
        [replace(dense(4, 2), height=2)],
        [replace(dense(4, 2), kernel=(1, 1))],
        [replace(WINDOWS, kernel=(1, 10))],
        [replace(WINDOWS, kernel=(1, 0))],
        [replace(WINDOWS, kernel=(1, 260))],
        [replace(WINDOWS, stride=(0, 1))],
        [replace(WINDOWS, pad=(0, 0, 4, 0))],
        [replace(WINDOWS, pad=(0, 0, 0, -1))],
        [replace(depthwise((1, 9, 2), (1, 4)), out=3)],
        [max_pool((1, 9, 2), (1, 3)), dense(5, 2)],
        [replace(max_pool((1, 9, 2), (1, 3)), relu=True), dense(6, 2)],
        [conv((1, 65_535, 1), 17, (1, 1))],
        [conv((16, 16, 256), 2, (16, 16))],
    ],
)
def test_layers_that_are_no_model(layers: list[Layer]) -> None:
    assert refusal(layers) == "FDL_E_LAYERS"


@pytest.mark.parametrize(
    ("loss", "outputs", "allowed"),
    [
        (Loss.SOFTMAX, 1, False),
        (Loss.SOFTMAX, 2, True),
        (Loss.SOFTMAX, 256, True),
        (Loss.SOFTMAX, 257, False),
        (Loss.SIGMOID, 1, True),
        (Loss.SQUARED, 1, True),
        (Loss.RECONSTRUCTION, 7, True),
        (Loss.RECONSTRUCTION, 6, False),
    ],
)
def test_check_model_asks_what_the_loss_needs(loss: Loss, outputs: int, allowed: bool) -> None:
    layers = [dense(7, outputs)]
    if allowed:
        check_model(layers, loss)
        return
    with pytest.raises(NativeError) as caught:
        check_model(layers, loss)
    assert caught.value.name == "FDL_E_LAYERS"
