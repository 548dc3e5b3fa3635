"""The scale of a fleet against fractions, and what it must be whoever has the samples."""

import random
from collections.abc import Sequence
from fractions import Fraction
from math import isqrt, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_broker.aggregation.scale import MAX_TOTAL, capped, total_of
from fedling_native import Normaliser, Sums
from fedling_protocol.wire.sums import MAX_SAMPLES, are_possible

COUNT = st.integers(-(2**15), 2**15 - 1)
CHANNELS = st.lists(st.tuples(COUNT, COUNT), min_size=1, max_size=12)  # samples of two channels
FLEET = st.lists(CHANNELS, min_size=1, max_size=7)


def sums_of(samples: Sequence[Sequence[int]]) -> Sums:
    """Python's own."""
    columns = list(zip(*samples, strict=True))
    return Sums(
        len(samples),
        tuple(sum(column) for column in columns),
        tuple(sum(value * value for value in column) for column in columns),
    )


def middle(values: Sequence[Fraction]) -> Fraction:
    return sorted(values)[(len(values) - 1) // 2]


def by_hand(devices: Sequence[Sums], channel: int) -> tuple[float, float]:
    """Mean and deviation as SPEC.md has them, in fractions: rounding misses them a little."""
    cap = min(MAX_TOTAL // len(devices), int(middle([Fraction(d.count) for d in devices])))
    rows = []
    for d in devices:
        n = min(d.count, cap)
        share = Fraction(n, d.count)
        rows.append((n, d.sums[channel] * share, d.squares[channel] * share))
    centre = middle([Fraction((2 * int(s) + n) // (2 * n)) for n, s, _ in rows])
    around = [(n, s - n * centre, q - 2 * centre * s + n * centre**2) for n, s, q in rows]
    spreads = [q / n for n, _, q in around]
    most = 16 * middle([x for x in spreads if x > Fraction(1, 2**17)] or [Fraction(0)])
    total = squares = 0.0
    for (_, s, q), spread in zip(around, spreads, strict=True):
        part = min(1.0, sqrt(most / spread)) if spread else 1.0
        total += float(s) * part
        squares += float(q) * part**2
    count = sum(n for n, _, _ in rows)
    return float(centre) + total / count, sqrt(max(0.0, squares / count - (total / count) ** 2))


def mean_and_deviation(total: Sums, channel: int) -> tuple[float, float]:
    mean = Fraction(total.sums[channel], total.count)
    return float(mean), sqrt(Fraction(total.squares[channel], total.count) - mean**2)


def test_a_fleet_by_hand() -> None:
    """Three devices of one class each, and one that lies: numbers that a person worked out."""
    devices = [sums_of([(10 * k + x,) for x in (-1, 0, 1)]) for k in (0, 1, 2)]
    plain = Sums(9, (90,), (2 + 302 + 1202,))
    assert total_of(devices, limited=True) == total_of(devices, limited=False) == plain
    liar = Sums(3000, (3000 * 32767,), (3000 * 32767**2,))
    # It counts for 3 samples. The middle mean of 0, 10, 20, 32767 is 10, the lower one. The mean
    # squares around it are 100 2/3, 2/3, 100 2/3 and 32757^2; the middle one is 100 2/3, and the
    # most is 16 times that: a deviation of 40.13.
    most = 16 * (302 * 2**16 // 3)
    share = isqrt((most << 32) // (32757**2 * 2**16))
    drawn = 3 * 32757 * share // 2**16
    squares = -(-3 * 32757**2 * share**2 // 2**32)
    assert drawn // 3 in (39, 40)
    expected = Sums(12, (12 * 10 + drawn,), (302 + 2 + 302 + squares + 20 * drawn + 12 * 100,))
    assert total_of([*devices, liar], limited=True) == expected


@given(FLEET, st.randoms())
def test_the_order_of_devices_does_not_matter(
    fleet: list[list[tuple[int, int]]], dice: random.Random
) -> None:
    devices = [sums_of(samples) for samples in fleet]
    for limited in (True, False):
        total = total_of(devices, limited=limited)
        assert total_of(dice.sample(devices, len(devices)), limited=limited) == total


@given(FLEET)
def test_without_limits_the_scale_is_that_of_all_data_in_one_place(
    fleet: list[list[tuple[int, int]]],
) -> None:
    total = total_of([sums_of(samples) for samples in fleet], limited=False)
    everything = [sample for samples in fleet for sample in samples]
    assert total == sums_of(everything)
    flat = np.array(everything, np.int16)
    assert Normaliser.of(total) == Normaliser.fit([flat.data], 2)


@settings(max_examples=50)
@given(st.integers(3, 9), st.integers(0, 2**32))
def test_with_limits_devices_alike_have_the_scale_of_all_data_in_one_place(
    count: int, seed: int
) -> None:
    """Samples dealt out like cards: no device is far from the others, so nothing is cut."""
    dice = np.random.default_rng(seed)
    samples = np.clip(dice.normal(500, 300, (count * 40, 2)), -32768, 32767).astype(int)
    dealt = [samples[n::count].tolist() for n in range(count)]
    total = total_of([sums_of(one) for one in dealt], limited=True)
    assert total == sums_of(samples.tolist())


def test_one_class_a_device_has_the_scale_of_all_data_in_one_place() -> None:
    """What the default is for: classes lie apart, each device sees one."""
    dice = np.random.default_rng(3)
    classes = [np.rint(dice.normal(200 * k, 30, (50, 2))).astype(int) for k in (-2, -1, 0, 1, 2)]
    total = total_of([sums_of(one.tolist()) for one in classes], limited=True)
    assert total == sums_of(np.concatenate(classes).tolist())


@given(FLEET)
def test_limits_are_those_of_the_specification(fleet: list[list[tuple[int, int]]]) -> None:
    devices = [sums_of(samples) for samples in fleet]
    if len(devices) < 3:
        return
    total = total_of(devices, limited=True)
    for channel in (0, 1):
        mean, deviation = mean_and_deviation(total, channel)
        wanted_mean, wanted_deviation = by_hand(devices, channel)
        assert mean == pytest.approx(wanted_mean, abs=1.5, rel=1e-3)
        assert deviation == pytest.approx(wanted_deviation, abs=1.5, rel=1e-2)


def two_values(n: int, low: int, high: int, ones: int) -> Sums:
    """Of samples that are one of two values."""
    ones = min(n, ones)
    total, squares = (low**k * (n - ones) + high**k * ones for k in (1, 2))
    return Sums(n, (total,) * 2, (squares,) * 2)


SAMPLES = st.integers(1, MAX_SAMPLES)
POSSIBLE = st.builds(two_values, SAMPLES, COUNT, COUNT, SAMPLES)


@given(st.lists(POSSIBLE, min_size=1, max_size=9), st.booleans())
def test_whatever_is_believed_makes_a_normaliser(devices: list[Sums], limited: bool) -> None:
    """No update that was accepted can stop a task, however hostile its numbers."""
    assert all(map(are_possible, devices))
    Normaliser.of(total_of(devices, limited=limited))


def test_the_most_devices_fit() -> None:
    one = two_values(MAX_SAMPLES, -(2**15), 0, 0)
    for limited in (True, False):
        total = total_of([one] * 3500, limited=limited)
        assert total.count <= MAX_TOTAL
        assert Normaliser.of(total).to_tuples() == ((-(2**15), 0, 0),) * 2


@given(POSSIBLE, SAMPLES)
def test_what_is_capped_stays_possible(device: Sums, cap: int) -> None:
    count, total, squares = capped((device.count, device.sums[0], device.squares[0]), cap)
    assert count == min(cap, device.count)
    assert are_possible(Sums(count, (total,), (squares,)))


@pytest.mark.parametrize("liars", [1, 4])
def test_liars_move_the_scale_a_little(liars: int) -> None:
    """SECURITY.md: one of twenty shifts the mean by .2 of a deviation, and widens by a third."""
    dice = np.random.default_rng(1)
    honest = [dice.normal(100, 50, (400, 1)).round().astype(int) for _ in range(20 - liars)]
    devices = [sums_of(one.tolist()) for one in honest]
    mean, deviation = mean_and_deviation(total_of(devices, limited=True), 0)
    for lie in (
        Sums(MAX_SAMPLES, (32767 * MAX_SAMPLES,), (32767**2 * MAX_SAMPLES,)),
        Sums(MAX_SAMPLES, (0,), (2**30 * MAX_SAMPLES,)),
        Sums(1, (-(2**15),), (2**30,)),
        Sums(400, (0,), (0,)),
    ):
        found = mean_and_deviation(total_of([*devices, *[lie] * liars], limited=True), 0)
        assert abs(found[0] - mean) <= 0.25 * liars * deviation
        assert 0.8 <= found[1] / deviation <= 1 + 0.35 * liars


def test_a_channel_that_few_see_move_keeps_its_scale() -> None:
    """Most devices see nothing there: what the others see is not taken for a lie."""
    still = [sums_of([(7,)] * 30) for _ in range(6)]
    moving = [sums_of([(7 + 100 * (i % 2),) for i in range(30)]) for _ in range(2)]
    total = total_of([*still, *moving], limited=True)
    assert total == total_of([*still, *moving], limited=False)
