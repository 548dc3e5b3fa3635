"""The reference's functions of numbers: rounding, losses, normalisation, the server."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.native import float_twin as twin
from tests.native import random_nets as nets
from tests.native import reference as ref
from tests.native.make_golden import files
from tests.native.random_nets import SEEDS

INT32 = st.integers(-(2**31), 2**31 - 1)
EXPONENTS = st.integers(ref.MIN_EXP, ref.MAX_EXP)


def int64(*values: int) -> ref.Int64:
    return np.array(values, np.int64)


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


# --- 4 Softmax, sigmoid, values -------------------------------------------------------------------


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


@given(arrays.arrays(np.int64, 9, elements=st.integers(-(2**20), 2**20)), st.integers(-30, 2))
def test_sigmoid_is_near_the_float_sigmoid(z: ref.Int64, z_exp: int) -> None:
    exact = (1 + np.tanh(z * 2.0**z_exp / 2)) / 2
    assert np.abs(ref.sigmoid(z, z_exp) / 32768 - exact).max() < 0.003


@given(arrays.arrays(np.int64, 9, elements=INT32), st.integers(-400, 400))
def test_sigmoid_of_any_logits_is_ordered_and_symmetric(z: ref.Int64, z_exp: int) -> None:
    q = ref.sigmoid(z, z_exp)
    assert (np.diff(q[np.argsort(z)]) >= 0).all()
    assert (ref.sigmoid(-z, z_exp) == 32768 - q)[z != 0].all()
    assert (q[z == 0] == 16384).all()


@given(arrays.arrays(np.int64, 9, elements=INT32), st.integers(-60, 40))
def test_values_are_logits_in_their_unit(z: ref.Int64, z_exp: int) -> None:
    v = ref.outputs(ref.Loss.SQUARED, z, z_exp)
    exact = np.clip(z * 2.0 ** (z_exp + 12), -(2**20), 2**20)
    assert np.abs(v - exact).max() <= 0.5


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
    before = nets.dense_model(rng, [6, 5, 3])
    after = before.copy()
    x = nets.ordinary_inputs(rng, before, 8)
    ref.step(after, x, nets.targets(rng, before, 8), ref.Sgd(2**22))
    change = ref.delta(before, after)
    assert change.saturated == 0
    old, new = (
        np.concatenate([layer.stored.ravel() for layer in model.layers])
        for model in (before, after)
    )
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


# --- 9 The first model ----------------------------------------------------------------------------


@given(st.integers(1, 65535))
def test_first_range_is_the_fan_in_s(span: int) -> None:
    """sqrt(6 / span), with 13 or 14 bits."""
    w_exp, limit = ref.first_range(span)
    assert limit * 2.0 ** (w_exp - 8) == pytest.approx(np.sqrt(6 / span), rel=2**-12)
    assert limit < 2**14


# --- golden vectors -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", files.FILES)
def test_golden_file_is_up_to_date(name: str) -> None:
    """If not: python -m tests.native.make_golden."""
    assert (files.GOLDEN / name).read_text() == files.render(files.FILES[name]())


def test_golden_files_are_small() -> None:
    assert sum(path.stat().st_size for path in files.GOLDEN.iterdir()) < 600_000
