"""Random nets, data and ways to learn for hypothesis, extremes among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from tests.native import reference as ref
from tests.native.reference import Kind, Loss, Shape

SEEDS = st.integers(0, 2**32 - 1)
# Widths around what the C loops take at a time: 4 rows, 16 to 64 lanes, 128 and 512 values.
WIDTHS = st.one_of(st.integers(1, 20), st.sampled_from([31, 33, 64, 127, 128, 129, 511, 512, 517]))
CHANNELS = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 32, 33, 65]))
EXPONENTS = st.one_of(st.integers(-10, -3), st.integers(ref.MIN_EXP, ref.MAX_EXP))
RATES = st.one_of(st.integers(1, 2**28), st.integers(0, 28).map(lambda k: 2**k))
CLIPS = st.one_of(st.just(0), st.integers(0, 31).map(lambda k: 2**k), st.integers(1, 2**32 - 1))
SPREADS = ["uniform", "small", "corners", "zero", "sparse"]
MOST_VALUES = 3000  # of a layer's output, so that an example takes milliseconds


# --- nets -----------------------------------------------------------------------------------------


@st.composite
def extents(draw: st.DrawFn, size: int) -> tuple[int, int, tuple[int, int]]:
    """Kernel, stride and padding of one direction of an input."""
    kernel = draw(st.integers(1, min(5, size + 2)))
    before, after = draw(st.integers(0, kernel - 1)), draw(st.integers(0, kernel - 1))
    return kernel, draw(st.integers(1, 4)), (before, max(after, kernel - size - before))


@st.composite
def views(draw: st.DrawFn, values: int) -> tuple[int, int, int]:
    """Height, width and channels with so many values."""
    height = draw(st.sampled_from([n for n in range(1, 13) if values % n == 0]))
    rest = values // height
    width = draw(st.sampled_from([n for n in range(1, 65) if rest % n == 0]))
    return height, width, rest // width


@st.composite
def layers(draw: st.DrawFn, values: int) -> Shape:
    """A layer that reads so many values."""
    kind = draw(st.sampled_from(Kind))
    if kind == Kind.DENSE:
        return ref.dense(values, draw(WIDTHS), relu=draw(st.booleans()))
    height, width, channels = draw(views(values))
    if kind == Kind.AVERAGE_POOL:
        return ref.average_pool((height, width, channels))
    kh, sh, (top, bottom) = draw(extents(height))
    kw, sw, (left, right) = draw(extents(width))
    out = draw(CHANNELS) if kind == Kind.CONV else channels
    relu = kind != Kind.MAX_POOL and draw(st.booleans())
    pad = (top, bottom, left, right)
    shape = Shape(kind, height, width, channels, out, relu, (kh, kw), (sh, sw), pad)
    return shape if shape.outputs <= MOST_VALUES else ref.dense(values, draw(WIDTHS))


@st.composite
def nets(draw: st.DrawFn, loss: Loss, deepest: int = 5) -> list[Shape]:
    """The last layer has no ReLU and as many outputs as the loss allows."""
    shapes = [draw(layers(draw(st.one_of(WIDTHS, st.sampled_from([48, 60, 96, 180, 256])))))]
    for _ in range(draw(st.integers(0, deepest - 1))):
        shapes.append(draw(layers(shapes[-1].outputs)))
    outputs = shapes[-1].outputs
    if loss == Loss.RECONSTRUCTION:
        return [*shapes, ref.dense(outputs, shapes[0].inputs)]
    if shapes[-1].relu or not any(not s.pools for s in shapes) or not 2 <= outputs <= 256:
        return [*shapes, ref.dense(outputs, draw(st.integers(2, 40)))]
    return shapes


@dataclass(frozen=True)
class Case:
    """A net and what happens to it, small enough for hypothesis to shrink."""

    seed: int
    shapes: Sequence[Shape]
    exponents: Sequence[int]
    spread: str = "uniform"
    x_spread: str = "uniform"
    x_exp: int = ref.NORMALISED_EXP
    loss: Loss = Loss.SOFTMAX


@st.composite
def cases(draw: st.DrawFn) -> Case:
    loss = draw(st.sampled_from(Loss))
    shapes = draw(nets(loss))
    return Case(
        draw(SEEDS),
        shapes,
        [0 if shape.pools else draw(EXPONENTS) for shape in shapes],
        draw(st.sampled_from(SPREADS)),
        draw(st.sampled_from(SPREADS)),
        draw(EXPONENTS),
        loss,
    )


@dataclass(frozen=True)
class Lesson:
    """A step on n examples, and the pull after it in 2^-16 (0: none)."""

    n: int
    sgd: ref.Sgd
    pull: int = 0


@st.composite
def lessons(draw: st.DrawFn, depth: int) -> Lesson:
    """For a net of `depth` layers."""
    sgd = ref.Sgd(
        draw(RATES),
        draw(CLIPS),
        draw(st.sampled_from([0, 0, 1, 128, 230, 255])),
        draw(st.one_of(st.just(0), st.integers(0, depth - 1))),
    )
    return Lesson(draw(st.integers(1, 21)), sgd, draw(st.sampled_from([0, 0, 1, 5000, 65535])))


# --- what they hold -------------------------------------------------------------------------------


def numbers(
    rng: np.random.Generator, spread: str, low: int, high: int, shape: tuple[int, ...]
) -> ref.Int64:
    """Integers low..high of one of SPREADS."""
    if spread == "zero":
        return np.zeros(shape, np.int64)
    if spread == "corners":
        corners = [
            v for v in (low, low + 1, -1, 0, 1, 127, 128, high - 1, high) if low <= v <= high
        ]
        return rng.choice(np.array(corners, np.int64), shape)
    if spread == "small":
        return rng.integers(max(low, low // 64), high // 64, shape, endpoint=True)
    values = rng.integers(low, high, shape, endpoint=True)
    return values * (rng.random(shape) < 0.05) if spread == "sparse" else values


def any_model(case: Case, rng: np.random.Generator) -> ref.Model:
    """Any weights and biases at all, as the case spreads them."""
    layers = []
    for shape, w_exp in zip(case.shapes, case.exponents, strict=True):
        stored = numbers(rng, case.spread, -(2**15), 2**15 - 1, shape.weights_shape)
        bias = numbers(rng, case.spread, -(2**31), 2**31 - 1, (shape.biases,))
        layers.append(ref.Layer(shape, w_exp, stored.astype(np.int16), bias.astype(np.int32)))
    return ref.Model(layers, case.loss)


def any_inputs(case: Case, rng: np.random.Generator, n: int) -> ref.Int8:
    return numbers(rng, case.x_spread, -127, 127, (n, case.shapes[0].inputs)).astype(np.int8)


def first_model(
    rng: np.random.Generator, shapes: Sequence[Shape], loss: Loss = Loss.SOFTMAX
) -> ref.Model:
    """Weights as a first model has them, uniform in +-sqrt(6 / span); some bias."""
    layers = []
    for shape in shapes:
        w_exp, limit = (0, 0) if shape.pools else ref.first_range(shape.span)
        stored = rng.integers(-limit, limit + 1, shape.weights_shape) + 128
        bias = rng.integers(-(2**13), 2**13, shape.biases)
        layers.append(ref.Layer(shape, w_exp, stored.astype(np.int16), bias.astype(np.int32)))
    return ref.Model(layers, loss)


def dense_model(rng: np.random.Generator, sizes: Sequence[int]) -> ref.Model:
    """A first model of dense layers, ReLU on all but the last."""
    last = len(sizes) - 2
    pairs = enumerate(pairwise(sizes))
    return first_model(rng, [ref.dense(a, b, relu=i < last) for i, (a, b) in pairs])


def ordinary_inputs(rng: np.random.Generator, model: ref.Model, n: int) -> ref.Tensor:
    """As normalisation makes them: 32 steps a deviation."""
    x = np.clip(np.round(rng.normal(0, 32, (n, model.shapes[0].inputs))), -127, 127)
    return ref.Tensor(x.astype(np.int8), ref.NORMALISED_EXP)


def targets(rng: np.random.Generator, model: ref.Model, n: int) -> ref.Targets:
    """Classes, bits, any int16 or none, as the loss asks."""
    outputs = model.shapes[-1].outputs
    if model.loss == Loss.SOFTMAX:
        return rng.integers(0, outputs, n)
    if model.loss == Loss.SIGMOID:
        return rng.integers(0, 2, (n, outputs))
    if model.loss == Loss.SQUARED:
        return rng.integers(-(2**15), 2**15, (n, outputs))
    return ref.NO_TARGETS
