"""Each kind of layer of the reference against its formula, written out as loops."""

from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import random_nets as nets
from tests.native import reference as ref
from tests.native.reference import Kind, Layer, Shape, Tensor

SHAPES = st.sampled_from([6, 8, 12, 30, 36, 48]).flatmap(nets.layers)


def placed(shape: Shape) -> Iterator[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """(position, place in the kernel, row and column of the input) where that is no padding."""
    oh, ow, _ = shape.out_shape
    (kh, kw), (sh, sw), (top, _, left, _) = shape.window, shape.steps, shape.pad
    for y, x, ky, kx in np.ndindex(oh, ow, kh, kw):
        row, column = y * sh + ky - top, x * sw + kx - left
        if 0 <= row < shape.height and 0 <= column < shape.width:
            yield (y, x), (ky, kx), (row, column)


def example(seed: int, shape: Shape) -> tuple[Layer, Tensor, Tensor]:
    """Any weights, no bias, two examples and their errors."""
    rng = np.random.default_rng(seed)
    case = nets.Case(seed, [Shape(**{**vars(shape), "relu": False})], [0], loss=ref.Loss.SQUARED)
    layer = nets.any_model(case, rng).layers[0]
    layer.bias[:] = 0
    d = rng.integers(-127, 128, (2, shape.outputs)).astype(np.int8)
    return layer, Tensor(nets.any_inputs(case, rng, 2), 0), Tensor(d, 0)


def image(shape: Shape, x: Tensor) -> ref.Int64:
    return x.q.reshape(-1, shape.height, shape.width, shape.channels).astype(np.int64)


def weights(layer: Layer) -> ref.Int64:
    """[out][kh][kw][channels], of a depthwise layer as a conv's, 0 between channels."""
    w = layer.w.astype(np.int64)
    if layer.shape.kind != Kind.DEPTHWISE:
        return w
    return np.eye(layer.shape.out, dtype=np.int64)[:, None, None, :] * w


def maxima(shape: Shape, x: Tensor) -> dict[tuple[int, int, int, int], tuple[int, int]]:
    """(example, position, channel) to where its first largest value lies."""
    best: dict[tuple[int, int, int, int], tuple[int, int]] = {}
    for b, values in enumerate(image(shape, x)):
        for (y, column), _, at in placed(shape):
            for c in range(shape.channels):
                key = (b, y, column, c)
                if key not in best or values[(*at, c)] > values[(*best[key], c)]:
                    best[key] = at
    return best


@settings(max_examples=60)
@given(nets.SEEDS, SHAPES)
def test_accumulate_equals_its_loops(seed: int, shape: Shape) -> None:
    layer, x, _ = example(seed, shape)
    shape, values = layer.shape, image(layer.shape, x)
    expected = np.zeros((2, *shape.out_shape), np.int64)
    if shape.kind == Kind.AVERAGE_POOL:
        m, _ = ref.ratio(1, shape.height * shape.width)
        expected[:, 0, 0] = (m * values.sum(axis=(1, 2)) + 64) >> 7
    elif shape.kind == Kind.MAX_POOL:
        for (b, y, column, c), at in maxima(shape, x).items():
            expected[b, y, column, c] = values[(b, *at, c)]
    else:
        w = weights(layer)
        for (y, column), k, at in placed(shape):
            expected[:, y, column] += values[:, at[0], at[1]] @ w[:, k[0], k[1]].T
    acc, _ = ref.accumulate(layer, x)
    assert np.array_equal(acc, expected.reshape(2, -1))


@settings(max_examples=60)
@given(nets.SEEDS, SHAPES)
def test_input_sums_equal_their_loops(seed: int, shape: Shape) -> None:
    layer, x, d = example(seed, shape)
    shape, errors = layer.shape, d.q.reshape(2, *layer.shape.out_shape).astype(np.int64)
    expected = np.zeros((2, shape.height, shape.width, shape.channels), np.int64)
    if shape.kind == Kind.AVERAGE_POOL:
        m, _ = ref.ratio(1, shape.height * shape.width)
        expected += (errors * m + 64) >> 7
    elif shape.kind == Kind.MAX_POOL:
        for (b, y, column, c), at in maxima(shape, x).items():
            expected[(b, *at, c)] += errors[b, y, column, c]
    else:
        w = weights(layer)
        for (y, column), k, at in placed(shape):
            expected[:, at[0], at[1]] += errors[:, y, column] @ w[:, k[0], k[1]]
    a, _ = ref.input_sums(layer, x, d)
    assert np.array_equal(a, expected.reshape(2, -1))


@settings(max_examples=60)
@given(nets.SEEDS, SHAPES)
def test_gradient_equals_its_loops(seed: int, shape: Shape) -> None:
    layer, x, d = example(seed, shape)
    shape, values = layer.shape, image(layer.shape, x)
    if shape.pools:
        return
    errors = d.q.reshape(2, *shape.out_shape).astype(np.int64)
    full = np.zeros((shape.out, *shape.window, shape.channels), np.int64)
    for (y, column), k, at in placed(shape):
        full[:, k[0], k[1]] += errors[:, y, column].T @ values[:, at[0], at[1]]
    if shape.kind == Kind.DEPTHWISE:
        full = np.diagonal(full, axis1=0, axis2=3)
    g, gb = ref.gradient(layer, x, d)
    assert np.array_equal(g, full)
    assert np.array_equal(gb, errors.sum(axis=(0, 1, 2)))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 7), st.integers(1, 5))
def test_same_gives_one_position_a_stride(height: int, width: int, k: int, stride: int) -> None:
    pad = ref.same(height, width, (k, k), (stride, stride))
    shape = ref.conv((height, width, 1), 1, (k, k), (stride, stride), pad=pad)
    assert shape.out_shape == (-(-height // stride), -(-width // stride), 1)
    assert 0 <= pad[1] - pad[0] <= 1
    assert 0 <= pad[3] - pad[2] <= 1
