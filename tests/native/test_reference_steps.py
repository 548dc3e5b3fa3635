"""The reference's steps: near the float net, along its gradient, within every bound of the page."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import float_twin as twin
from tests.native import random_nets as nets
from tests.native import reference as ref
from tests.native.random_nets import SEEDS, dense_model, ordinary_inputs
from tests.native.reference import (
    Kind,
    Layer,
    Loss,
    Sgd,
    Shape,
    Tensor,
    average_pool,
    conv,
    dense,
    depthwise,
    max_pool,
)

CONV1D = [
    conv((1, 40, 3), 16, (1, 5), (1, 2), relu=True),
    conv((1, 18, 16), 16, (1, 3), (1, 2), pad=(0, 0, 1, 0), relu=True),
    average_pool((1, 9, 16)),
    dense(16, 5),
]
CONV2D = [
    conv((8, 8, 2), 12, (3, 3), pad=(1, 1, 1, 1), relu=True),
    depthwise((8, 8, 12), (3, 3), (2, 2), pad=(0, 1, 0, 1), relu=True),
    max_pool((4, 4, 12), (2, 2), (1, 1)),
    conv((3, 3, 12), 16, (2, 2), relu=True),
    dense(64, 6),
]
AUTOENCODER = [
    dense(48, 24, relu=True), dense(24, 8), dense(8, 24, relu=True), dense(24, 48),
]  # fmt: skip


def cosine(a: twin.Floats, b: twin.Floats) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


# --- 3 Forward ------------------------------------------------------------------------------------


def multiplying(model: ref.Model) -> twin.FloatNet:
    """The float net of the int8 weights that multiply."""
    net = twin.dequantise(model, np.float64)
    net.weights = [layer.w * 2.0**layer.w_exp for layer in model.layers]
    return net


def spread_error(layer: Layer, error: twin.Floats, x: Tensor) -> twin.Floats:
    """How far a layer's outputs can be off, if its inputs are by at most `error`."""
    shape, scale = layer.shape, 2.0 ** (x.exp + layer.w_exp)
    if shape.kind == Kind.AVERAGE_POOL:
        mean = error.reshape(len(error), -1, shape.channels).mean(axis=1)
        rounded = 2.0**-8 * 127 * 2.0**x.exp + 2.0 ** ref.accumulate(layer, x)[1]
        return np.asarray(mean + rounded)
    if shape.kind == Kind.MAX_POOL:
        return np.asarray(ref.windows(shape, error).max(axis=(3, 4)).reshape(len(error), -1))
    linear = Shape(**{**vars(shape), "relu": False})
    weights = np.abs(layer.w) * 2.0**layer.w_exp
    return twin.layer_output(linear, weights, np.zeros(shape.out), error) + scale / 2  # the bias


@given(SEEDS, nets.nets(Loss.SQUARED))
def test_forward_is_as_near_the_float_net_as_its_roundings(seed: int, shapes: list[Shape]) -> None:
    """At most one step of each layer's exponent is lost, carried on by the weights behind it."""
    rng = np.random.default_rng(seed)
    model = nets.first_model(rng, shapes, Loss.SQUARED)
    x = ordinary_inputs(rng, model, 4)
    end = ref.forward(model, x)
    error: twin.Floats = np.zeros(x.q.shape)
    for layer, q in zip(model.layers, end.inputs, strict=True):
        rounded = 0.0 if q is x else 2.0**q.exp
        error = spread_error(layer, error + rounded, q)
    logits = twin.layer_outputs(multiplying(model), x.q * 2.0**x.exp)[-1]
    assert (np.abs(end.z * 2.0**end.z_exp - logits) <= error + 1e-9).all()


@given(SEEDS, nets.nets(Loss.SOFTMAX))
def test_predict_of_one_example_does_not_depend_on_others(seed: int, shapes: list[Shape]) -> None:
    rng = np.random.default_rng(seed)
    model = nets.first_model(rng, shapes)
    x = ordinary_inputs(rng, model, 1)
    end = ref.forward(model, x)
    q, label = ref.predict(model, x.q[0], x.exp)
    assert (q == ref.softmax(end.z, end.z_exp)[0]).all()
    assert label == end.z[0].argmax()


# --- 5 One training step --------------------------------------------------------------------------


def step_and_gradient(
    seed: int, shapes: list[Shape], n: int, lr: int, loss: Loss = Loss.SOFTMAX
) -> list[tuple[twin.Floats, twin.Floats]]:
    """Of every layer with weights: what one step did to the masters, and the float gradient."""
    rng = np.random.default_rng(seed)
    model = nets.first_model(rng, shapes, loss)
    x, targets = ordinary_inputs(rng, model, n), nets.targets(rng, model, n)
    net, before = multiplying(model), model.copy()
    ref.step(model, x, targets, Sgd(lr))
    wanted = targets * 2.0**ref.VALUE_EXP if loss == Loss.SQUARED else targets
    found = twin.gradients(net, x.q * 2.0**x.exp, wanted)
    moved = [
        (old.stored.astype(float) - new.stored) * 2.0 ** (old.w_exp - 8)
        for old, new in zip(before.layers, model.layers, strict=True)
    ]
    return [(m, g) for m, (g, _) in zip(moved, found, strict=True) if m.size]


def dense_shapes(sizes: list[int]) -> list[Shape]:
    return dense_model(np.random.default_rng(0), sizes).shapes


@pytest.mark.parametrize(
    ("shapes", "n", "least"),
    [
        (dense_shapes([64, 32, 10]), 16, 0.98),
        (dense_shapes([600, 64, 7]), 10, 0.98),
        (dense_shapes([64, 48, 32, 10]), 32, 0.98),
        (dense_shapes([30, 5]), 1, 0.98),
        (CONV1D, 10, 0.98),
        (CONV2D, 10, 0.96),  # four roundings down to the first layer
    ],
    ids=["64-32-10", "600-64-7", "64-48-32-10", "30-5", "conv1d", "conv2d"],
)
@pytest.mark.parametrize("loss", [Loss.SOFTMAX, Loss.SIGMOID, Loss.SQUARED])
def test_step_goes_where_the_float_gradient_points(
    shapes: list[Shape], n: int, least: float, loss: Loss
) -> None:
    """Below the last layer units whose activation rounds to 0 are lost: they do not learn."""
    lr = 2**17 if loss == Loss.SQUARED else 2**20  # targets are far: no weight may saturate
    runs = [step_and_gradient(seed, shapes, n, lr, loss) for seed in range(10)]
    for layer in range(len(runs[0])):
        cosines = [cosine(*run[layer]) for run in runs]
        assert np.mean(cosines) > (0.998 if layer == len(runs[0]) - 1 else least)
        assert min(cosines) > least - 0.04


@given(SEEDS, st.lists(st.integers(16, 64), min_size=2, max_size=4), st.integers(8, 32))
def test_step_of_any_dense_net_goes_down(seed: int, sizes: list[int], n: int) -> None:
    for moved, gradient in step_and_gradient(seed, dense_shapes(sizes), n, 2**22):
        assert cosine(moved, gradient) > 0.85


@given(SEEDS, st.integers(1, 32))
def test_step_is_as_long_as_the_learning_rate_says(seed: int, n: int) -> None:
    """Of the last layer, whose gradient loses nothing but rounding."""
    moved, gradient = step_and_gradient(seed, dense_shapes([24, 5]), n, 2**20)[-1]
    assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(gradient) / 16, rel=0.02)


@given(SEEDS, nets.nets(Loss.SIGMOID), st.sampled_from([2, 4, 8, 16]), st.integers(1, 2**28))
def test_step_on_copies_of_an_example_is_the_step_on_one(
    seed: int, shapes: list[Shape], n: int, lr: int
) -> None:
    """The mean over the batch is exact for powers of two."""
    rng = np.random.default_rng(seed)
    one = nets.first_model(rng, shapes, Loss.SIGMOID)
    many = one.copy()
    x, y = ordinary_inputs(rng, one, 1), nets.targets(rng, one, 1)
    ref.step(one, x, y, Sgd(lr))
    ref.step(many, Tensor(np.repeat(x.q, n, axis=0), x.exp), np.repeat(y, n, axis=0), Sgd(lr))
    assert ref.checksum(one) == ref.checksum(many)


@given(SEEDS, nets.nets(Loss.SOFTMAX), st.integers(2, 40))
def test_step_does_not_depend_on_the_order_within_a_batch(
    seed: int, shapes: list[Shape], n: int
) -> None:
    rng = np.random.default_rng(seed)
    model = nets.first_model(rng, shapes)
    shuffled = model.copy()
    x, y = ordinary_inputs(rng, model, n), nets.targets(rng, model, n)
    order = rng.permutation(n)
    ref.step(model, x, y, Sgd(2**20))
    ref.step(shuffled, Tensor(x.q[order], x.exp), y[order], Sgd(2**20))
    assert ref.checksum(model) == ref.checksum(shuffled)


@settings(max_examples=200)
@given(st.data(), nets.cases())
def test_step_of_any_model_keeps_every_bound(data: st.DataObject, case: nets.Case) -> None:
    """The bounds are assertions of the reference."""
    rng = np.random.default_rng(case.seed)
    model = nets.any_model(case, rng)
    for lesson in data.draw(st.lists(nets.lessons(len(case.shapes)), min_size=1, max_size=3)):
        x = nets.any_inputs(case, rng, lesson.n)
        ref.step(model, Tensor(x, case.x_exp), nets.targets(rng, model, lesson.n), lesson.sgd)


def test_accumulators_at_their_largest_fit_32_bits() -> None:
    """The widest layer with everything at its limit."""
    limit = np.full((2, 65535), -32768, np.int16)
    layer = Layer(dense(65535, 2), -11, limit, np.full(2, 2**31 - 1, np.int32))
    x = Tensor(np.full((1, 65535), -127, np.int8), -5)
    acc, _ = ref.accumulate(layer, x)
    assert int(acc.max()) == 65535 * 127 * 128 + 2**30 - 1 < 2**31


# --- 5 Options ------------------------------------------------------------------------------------


@given(SEEDS, st.integers(0, len(CONV2D) - 1))
@settings(max_examples=20)
def test_frozen_layers_stay_and_the_others_do_the_same(seed: int, frozen: int) -> None:
    rng = np.random.default_rng(seed)
    model = nets.first_model(rng, CONV2D)
    before, free = model.copy(), model.copy()
    x, y = ordinary_inputs(rng, model, 4), nets.targets(rng, model, 4)
    ref.step(model, x, y, Sgd(2**22, frozen=frozen))
    ref.step(free, x, y, Sgd(2**22))
    for i, layer in enumerate(model.layers):
        expected = (before if i < frozen else free).layers[i]
        assert np.array_equal(layer.stored, expected.stored)
        assert np.array_equal(layer.bias, expected.bias)


@given(SEEDS, st.integers(6, 20))
@settings(max_examples=40)
def test_clipped_gradient_is_no_longer_and_points_where_it_did(seed: int, clip_log2: int) -> None:
    """Two roundings of the shortened error let it be a little longer."""
    rng, clip = np.random.default_rng(seed), 2**clip_log2
    model = nets.first_model(rng, CONV1D)
    before, free = model.copy(), model.copy()
    x, y = ordinary_inputs(rng, model, 8), nets.targets(rng, model, 8)
    ref.step(model, x, y, Sgd(2**22, clip=clip))
    ref.step(free, x, y, Sgd(2**22))
    for old, new, other in zip(before.layers, model.layers, free.layers, strict=True):
        if old.shape.pools:
            continue
        step, whole = (
            (old.stored.astype(float) - x.stored) * 2.0 ** (old.w_exp - 8 + 2) for x in (new, other)
        )
        rounding = np.sqrt(step.size) * 2.0 ** (old.w_exp - 8 + 2) / 2
        limit = min(clip * 2.0**-16, float(np.linalg.norm(whole)))
        assert np.linalg.norm(step) <= limit * 1.02 + rounding
        assert np.linalg.norm(step - whole * limit / np.linalg.norm(whole)) <= (
            0.05 * limit + 2 * rounding
        )


@given(SEEDS, st.integers(1, 65535))
def test_pull_goes_part_of_the_way(seed: int, q: int) -> None:
    rng = np.random.default_rng(seed)
    model, start = dense_model(rng, [9, 8, 3]), dense_model(rng, [9, 8, 3])
    before = model.copy()
    ref.pull(model, start, q)
    for layer, old, end in zip(model.layers, before.layers, start.layers, strict=True):
        way = (end.stored.astype(float) - old.stored) * q / 2**16
        assert np.abs(layer.stored - old.stored - way).max() <= 0.5


# --- training -------------------------------------------------------------------------------------


def patterns(
    rng: np.random.Generator, shape: Shape, classes: int, n: int
) -> tuple[Tensor, ref.Targets]:
    """Examples of classes that differ by a smooth pattern, under noise."""
    cells = rng.normal(0, 24, (classes, shape.inputs // 4)).repeat(4, axis=1)
    y = rng.integers(0, classes, n)
    x = cells[y] + rng.normal(0, 24, (n, shape.inputs))
    return Tensor(np.clip(np.round(x), -127, 127).astype(np.int8), ref.NORMALISED_EXP), y


def train_both(
    model: ref.Model, x: Tensor, targets: ref.Targets, steps: int, sgd: Sgd
) -> twin.FloatNet:
    """Batches of 8 one after another; the model in place, and its twin."""
    net = twin.dequantise(model)
    real = (x.q * 2.0**x.exp).astype(np.float32)
    for start in range(0, 8 * steps, 8):
        rows = np.arange(start, start + 8) % len(real)
        wanted = targets[rows] if len(targets) else targets
        ref.step(model, Tensor(x.q[rows], x.exp), wanted, sgd)
        twin.step(net, real[rows], wanted, sgd.lr / 2**24, sgd.momentum / 256)
    return net


def accuracies(
    model: ref.Model, net: twin.FloatNet, x: Tensor, y: ref.Targets
) -> tuple[float, float]:
    ours = ref.forward(model, x).z.argmax(axis=1) == y
    return float(ours.mean()), float((twin.labels(net, x.q * 2.0**x.exp) == y).mean())


@pytest.mark.parametrize("shapes", [CONV1D, CONV2D], ids=["conv1d", "conv2d"])
@pytest.mark.parametrize("momentum", [0, 230])
def test_training_of_convolutions_reaches_what_floats_reach(
    shapes: list[Shape], momentum: int
) -> None:
    pairs = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        model = nets.first_model(rng, shapes)
        x, y = patterns(rng, shapes[0], shapes[-1].out, 600)
        train, test = slice(0, 400), slice(400, 600)
        sgd = Sgd(2**21 if momentum == 0 else 2**17, momentum=momentum)
        net = train_both(model, Tensor(x.q[train], x.exp), y[train], 150, sgd)
        pairs.append(accuracies(model, net, Tensor(x.q[test], x.exp), y[test]))
    ours, theirs = np.mean(pairs, axis=0)
    assert theirs > 0.85
    assert ours == pytest.approx(theirs, abs=0.03)


def test_training_with_momentum_follows_float_momentum() -> None:
    """The way that the weights went, after 60 steps."""
    rng = np.random.default_rng(4)
    model = dense_model(rng, [64, 32, 10])
    x, y = patterns(rng, model.shapes[0], 10, 480)
    begin = twin.dequantise(model)
    net = train_both(model, x, y, 60, Sgd(2**17, momentum=230))
    for ours, theirs, old in zip(
        twin.dequantise(model).weights, net.weights, begin.weights, strict=True
    ):
        assert cosine(ours - old, theirs - old) > 0.99
        assert np.linalg.norm(ours - old) == pytest.approx(np.linalg.norm(theirs - old), rel=0.03)


def test_training_of_an_autoencoder_reaches_the_error_of_floats() -> None:
    rng = np.random.default_rng(7)
    model = nets.first_model(rng, AUTOENCODER, Loss.RECONSTRUCTION)
    x, _ = patterns(rng, AUTOENCODER[0], 6, 400)
    real = x.q * 2.0**x.exp
    net = train_both(model, x, ref.NO_TARGETS, 400, Sgd(2**17))
    end = ref.forward(model, x)
    ours = np.mean((end.z * 2.0**end.z_exp - real) ** 2)
    theirs = np.mean((twin.layer_outputs(net, real)[-1] - real) ** 2)
    assert theirs < 0.7 * real.var()
    assert ours == pytest.approx(theirs, rel=0.05)
