"""The reference itself: rounding, bounds, and that it goes where the float gradient points."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from tests.native import float_twin as twin
from tests.native import make_golden
from tests.native import reference as ref

INT32 = st.integers(-(2**31), 2**31 - 1)
SEEDS = st.integers(0, 2**32 - 1)
EXPONENTS = st.integers(ref.MIN_EXP, ref.MAX_EXP)


def int64(*values: int) -> ref.Int64:
    return np.array(values, np.int64)


def random_model(rng: np.random.Generator, sizes: list[int]) -> list[ref.Layer]:
    """Weights as a first model has them, uniform in +-sqrt(6 / in); some bias."""
    layers = []
    for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:], strict=False)):  # noqa: RUF007
        w_exp, limit = ref.first_range(n_in)
        stored = rng.integers(-limit, limit + 1, (n_out, n_in)) + 128
        bias = rng.integers(-(2**13), 2**13, n_out)
        relu = i < len(sizes) - 2
        layers.append(ref.Layer(stored.astype(np.int16), bias.astype(np.int32), w_exp, relu))
    return layers


def random_batch(
    rng: np.random.Generator, model: ref.Model, n: int
) -> tuple[ref.Tensor, NDArray[np.int64]]:
    """Inputs as normalisation makes them: 32 steps a deviation."""
    x = np.clip(np.round(rng.normal(0, 32, (n, model[0].stored.shape[1]))), -127, 127)
    return ref.Tensor(x.astype(np.int8), -5), rng.integers(0, len(model[-1].bias), n)


def cosine(a: twin.Floats, b: twin.Floats) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


# --- 1 Notation -----------------------------------------------------------------------------------


@given(INT32, st.integers(-40, 70))
def test_rshift_is_the_nearest_integer_halves_up(x: int, s: int) -> None:
    exact = floor(Fraction(x) / Fraction(2) ** s + Fraction(1, 2)) if s > 0 else x * 2**-s
    limited = max(-(2**31), min(2**31 - 1, exact))
    assert int(ref.sat32(ref.rshift(int64(x), s))[0]) == limited


@given(st.integers(-(2**60), 2**60), st.integers(1, 60))
def test_rshift_of_64_bits_is_the_nearest_integer_halves_up(x: int, s: int) -> None:
    exact = floor(Fraction(x, 2**s) + Fraction(1, 2))
    assert int(ref.rshift(int64(x), s)[0]) == exact


@given(INT32, st.integers(32, 80))
def test_rshift_by_32_or_more_is_zero(x: int, s: int) -> None:
    assert int(ref.rshift(int64(x), s)[0]) == 0


@given(st.integers(1, 2**40), st.integers(1, 2**40))
def test_ratio_has_eight_bits_and_half_a_step_of_error(a: int, b: int) -> None:
    m, k = ref.ratio(a, b)
    step = Fraction(2) ** (k - 7)
    assert 128 <= m <= 255
    assert abs(m * step - Fraction(a, b)) <= step / 2


# --- 3, 4 Forward and softmax ---------------------------------------------------------------------


@given(SEEDS, st.lists(st.integers(1, 40), min_size=2, max_size=5))
def test_forward_is_as_near_the_float_net_as_its_roundings(seed: int, sizes: list[int]) -> None:
    """At most one step of each layer's exponent is lost, carried on by the weights behind it."""
    rng = np.random.default_rng(seed)
    model = random_model(rng, sizes)
    x, _ = random_batch(rng, model, 16)
    end = ref.forward(model, x)
    net = twin.dequantise(model, np.float64)
    net.weights = [m.w * 2.0**m.w_exp for m in model]  # the weights that multiply
    error = np.zeros(x.q.shape)
    for m, w, q in zip(model, net.weights, end.inputs, strict=True):
        rounded = 0.0 if q is x else 2.0**q.exp
        error = (error + rounded) @ np.abs(w).T + 2.0 ** (q.exp + m.w_exp) / 2  # the bias
    logits = twin.layer_outputs(net, x.q * 2.0**x.exp)[-1]
    assert (np.abs(end.z * 2.0**end.z_exp - logits) <= error + 1e-9).all()


@given(arrays.arrays(np.int64, (4, 5), elements=st.integers(-(2**20), 2**20)), st.integers(-30, 2))
def test_softmax_is_near_the_float_softmax(z: ref.Int64, z_exp: int) -> None:
    exact = twin.softmax(z * 2.0**z_exp)
    q = ref.softmax(z, z_exp)
    assert np.abs(q / 32768 - exact).max() < 0.006
    assert (q.sum(axis=1) <= 32768).all()


@given(arrays.arrays(np.int64, (2, 3), elements=INT32), st.integers(-400, 400))
def test_softmax_keeps_the_order_of_any_logits(z: ref.Int64, z_exp: int) -> None:
    q = ref.softmax(z, z_exp)
    for row, logits in zip(q, z, strict=True):
        order = np.argsort(logits, kind="stable")
        assert (np.diff(row[order]) >= 0).all()


@given(SEEDS)
def test_predict_of_one_example_does_not_depend_on_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_model(rng, [9, 8, 3])
    x, _ = random_batch(rng, model, 1)
    end = ref.forward(model, x)
    q, label = ref.predict(model, x.q[0], x.exp)
    assert (q == ref.softmax(end.z, end.z_exp)[0]).all()
    assert label == end.z[0].argmax()


# --- 5 One training step --------------------------------------------------------------------------


def step_and_gradient(
    seed: int, sizes: list[int], n: int, lr: int
) -> list[tuple[twin.Floats, twin.Floats]]:
    """Of every layer: what one step did to the masters in real units, and the float gradient."""
    rng = np.random.default_rng(seed)
    model = random_model(rng, sizes)
    x, y = random_batch(rng, model, n)
    net = twin.dequantise(model, np.float64)
    net.weights = [m.w * 2.0**m.w_exp for m in model]  # the weights that multiply
    before = ref.copy_model(model)
    ref.step(model, x, y, lr)
    found = twin.gradients(net, x.q * 2.0**x.exp, y)
    moved = [
        (old.stored.astype(float) - new.stored) * 2.0 ** (old.w_exp - 8)
        for old, new in zip(before, model, strict=True)
    ]
    return [(m, g) for m, (g, _) in zip(moved, found, strict=True)]


@pytest.mark.parametrize(
    ("sizes", "n"), [([64, 32, 10], 16), ([600, 64, 7], 10), ([64, 48, 32, 10], 32), ([30, 5], 1)]
)
def test_step_goes_where_the_float_gradient_points(sizes: list[int], n: int) -> None:
    """Below the last layer units whose activation rounds to 0 are lost: they do not learn."""
    runs = [step_and_gradient(seed, sizes, n, 2**22) for seed in range(40)]
    for layer in range(len(sizes) - 1):
        cosines = [cosine(*run[layer]) for run in runs]
        assert np.mean(cosines) > (0.998 if layer == len(sizes) - 2 else 0.98)
        assert min(cosines) > 0.95


@given(SEEDS, st.lists(st.integers(16, 64), min_size=2, max_size=4), st.integers(8, 32))
def test_step_of_any_net_goes_down(seed: int, sizes: list[int], n: int) -> None:
    for moved, gradient in step_and_gradient(seed, sizes, n, 2**22):
        assert cosine(moved, gradient) > 0.85


@given(SEEDS, st.integers(1, 32))
def test_step_is_as_long_as_the_learning_rate_says(seed: int, n: int) -> None:
    """Of the last layer, whose gradient loses nothing but rounding."""
    moved, gradient = step_and_gradient(seed, [24, 5], n, 2**20)[-1]
    assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(gradient) / 16, rel=0.02)


@given(SEEDS, st.sampled_from([2, 4, 8, 16]), st.integers(1, 2**28))
def test_step_on_copies_of_an_example_is_the_step_on_one(seed: int, n: int, lr: int) -> None:
    """The mean over the batch is exact for powers of two."""
    rng = np.random.default_rng(seed)
    one = random_model(rng, [7, 6, 4])
    many = ref.copy_model(one)
    x, y = random_batch(rng, one, 1)
    ref.step(one, x, y, lr)
    ref.step(many, ref.Tensor(np.repeat(x.q, n, axis=0), x.exp), np.repeat(y, n), lr)
    assert ref.checksum(one) == ref.checksum(many)


@given(SEEDS, st.integers(2, 40))
def test_step_does_not_depend_on_the_order_within_a_batch(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    model = random_model(rng, [11, 9, 7, 3])
    shuffled = ref.copy_model(model)
    x, y = random_batch(rng, model, n)
    order = rng.permutation(n)
    ref.step(model, x, y, 2**20)
    ref.step(shuffled, ref.Tensor(x.q[order], x.exp), y[order], 2**20)
    assert ref.checksum(model) == ref.checksum(shuffled)


def any_int16(rng: np.random.Generator, shape: tuple[int, ...]) -> ref.Int16:
    """Any int16, the limits often."""
    values = rng.integers(-(2**15), 2**15, shape)
    limits = rng.choice([-(2**15), 2**15 - 1], shape)
    return np.where(rng.random(shape) < 0.5, values, limits).astype(np.int16)


@given(
    SEEDS,
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.integers(2, 6),
    st.lists(EXPONENTS, min_size=8, max_size=8),
    EXPONENTS,
    st.integers(1, 20),
    st.integers(1, 2**28),
)
def test_step_of_any_model_keeps_every_bound(
    seed: int, widths: list[int], classes: int, exps: list[int], x_exp: int, n: int, lr: int
) -> None:
    """The bounds are assertions of the reference."""
    rng = np.random.default_rng(seed)
    sizes = [*widths, classes]
    model = []
    for n_in, n_out, w_exp in zip(sizes, sizes[1:], exps, strict=False):
        bias = rng.choice([-(2**31), 2**31 - 1, 0, 1, -1], n_out).astype(np.int32)
        model.append(ref.Layer(any_int16(rng, (n_out, n_in)), bias, w_exp, bool(rng.integers(2))))
    x = np.maximum(any_int16(rng, (n, sizes[0])) >> 8, -127).astype(np.int8)
    for _ in range(3):
        ref.step(model, ref.Tensor(x, x_exp), rng.integers(0, classes, n), lr)


def test_accumulators_at_their_largest_fit_32_bits() -> None:
    """The widest layer with everything at its limit."""
    limit = np.full((2, 65535), -32768, np.int16)
    layer = ref.Layer(limit, np.full(2, 2**31 - 1, np.int32), -5, False)
    x = ref.Tensor(np.full((1, 65535), -127, np.int8), -5)
    acc, _ = ref.layer_forward(layer, x)
    assert 2**30 < int(acc.max()) < 2**31


@pytest.mark.parametrize("relus", [[True, True, False], [False, True, False]])
def test_float_twin_gradient_is_the_slope_of_its_loss(relus: list[bool]) -> None:
    """Central differences in float64."""
    rng = np.random.default_rng(5)
    net = twin.dequantise(random_model(rng, [9, 8, 7, 4]), np.float64)
    net.relus = relus
    x, y = rng.normal(size=(6, 9)), rng.integers(0, 4, 6)
    for layer, found in enumerate(twin.gradients(net, x, y)):
        for values, slopes in zip((net.weights[layer], net.biases[layer]), found, strict=True):
            for index in np.ndindex(values.shape):
                kept, h = values[index], 1e-5
                values[index] = kept + h
                above = twin.loss(net, x, y)
                values[index] = kept - h
                below = twin.loss(net, x, y)
                values[index] = kept
                assert slopes[index] == pytest.approx((above - below) / (2 * h), abs=1e-8)


# --- 6 Normalisation ------------------------------------------------------------------------------


@given(SEEDS, st.integers(-20000, 20000), st.integers(64, 4000))
def test_normalise_has_32_steps_a_deviation(seed: int, offset: int, deviation: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.clip(rng.normal(offset, deviation, (8, 20, 2)), -32768, 32767).astype(np.int16)
    flat = counts.reshape(-1, 2).astype(float)
    exact = np.clip(32 * (counts - flat.mean(axis=0)) / flat.std(axis=0), -127, 127)
    q = ref.normalise(counts, ref.statistics(counts)).reshape(counts.shape)
    assert np.abs(q - exact).max() < 1.5


@given(arrays.arrays(np.int16, (3, 4, 2)))
def test_normalise_of_any_counts_keeps_every_bound(counts: ref.Int16) -> None:
    channels = ref.statistics(counts)
    q = ref.normalise(counts, channels)
    assert q.min() >= -127
    for c, channel in enumerate(channels):
        constant = len(np.unique(counts[..., c])) == 1
        assert channel.mantissa == 0 if constant else 128 <= channel.mantissa <= 255


# --- 7, 8 Updates, averages, exponents ------------------------------------------------------------


@given(SEEDS)
def test_delta_added_to_the_weights_before_gives_the_weights_after(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before = random_model(rng, [6, 5, 3])
    after = ref.copy_model(before)
    x, y = random_batch(rng, before, 8)
    ref.step(after, x, y, 2**22)
    change = ref.delta(before, after)
    assert change.saturated == 0
    old, new = (np.concatenate([m.stored.ravel() for m in model]) for model in (before, after))
    assert (old + change.stored == new).all()


@given(st.integers(-(2**61), 2**61), st.integers(1, 2**30))
def test_mean_change_is_the_nearest_with_16_bits(total: int, weight: int) -> None:
    exact = floor(Fraction(total * 2**16, weight) + Fraction(1, 2))
    if abs(exact) < 2**63:
        assert int(ref.mean_change(int64(total), weight)[0]) == exact


@given(st.lists(st.integers(-(2**36), 2**36), min_size=1, max_size=9), EXPONENTS)
def test_exponent_move_keeps_values_and_fills_13_or_14_bits(values: list[int], w_exp: int) -> None:
    server = int64(*values)
    s = ref.exponent_move(server, w_exp)
    after = ref.moved(server, s)
    assert ref.MIN_EXP <= w_exp + s <= ref.MAX_EXP
    assert (np.abs(after * 2.0**s - server) <= 2.0 ** max(0, s) / 2).all()
    largest = int(np.abs(ref.rshift(after, 16)).max())
    if largest > 0 and ref.MIN_EXP < w_exp + s < ref.MAX_EXP:
        assert 2**11 <= largest <= 2**14  # a view rounded up to a power of two may lack one bit


@given(st.lists(st.integers(-(2**46), 2**46), min_size=1, max_size=40), st.integers(0, 255))
def test_accelerate_never_overflows(means: list[int], m: int) -> None:
    velocity, exact = int64(0), Fraction(0)
    for mean in means:
        velocity = ref.accelerate(velocity, int64(mean), m)
        exact = exact * m / 256 + mean
        exact = max(Fraction(-(2**47)), min(Fraction(2**47), exact))
        assert (
            abs(int(velocity[0]) - exact) <= 128
        )  # half a unit a round, at most 256 rounds' worth


def test_accelerate_without_momentum_is_the_mean() -> None:
    mean = int64(-5, 0, 2**40)
    assert (ref.accelerate(int64(7, -(2**46), 3), mean, 0) == mean).all()


# --- golden vectors -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", make_golden.FILES)
def test_golden_file_is_up_to_date(name: str) -> None:
    """If not: python -m tests.native.make_golden."""
    assert (make_golden.GOLDEN / name).read_text() == make_golden.render(make_golden.FILES[name]())


def test_golden_files_are_small() -> None:
    assert sum(path.stat().st_size for path in make_golden.GOLDEN.iterdir()) < 300_000
