"""Sums in a ring: right while they fit, and told apart from those that do not."""

from math import sqrt

import numpy as np
import pytest

from fedling_broker.aggregation.aggregate import aggregate
from fedling_broker.aggregation.initial import initial_state
from fedling_broker.aggregation.optimisers import of_momentum
from fedling_broker.aggregation.ring_sum import (
    LEAST_STEP,
    MOST_STEP,
    Opened,
    RingSum,
    Verdict,
    length_of,
    moved,
    step_for,
    unit_of,
)
from fedling_native import dense, parameter_counts
from fedling_native.ring import WHOLE_SHARE, Ring
from fedling_protocol.wire.dither import dither

LAYERS = (dense(60, 64, relu=True), dense(64, 7))
EXPONENTS = (-3, -3)  # values are in units of their deltas: biases' unit is finer than that
WEIGHTS, BIASES = parameter_counts(LAYERS)
UNIT = 2.0**-16  # of values: that of biases
DEVICES = 20


def changes(seed: int, size: float, devices: int = DEVICES) -> list[bytes]:
    """Updates that agree in part, as those of devices do."""
    draw = np.random.default_rng(seed)
    common = draw.normal(0, size / 2, WEIGHTS)
    each = [np.rint(common + draw.normal(0, size, WEIGHTS)) for _ in range(devices)]
    return [one.astype("<i2").tobytes() + bytes(4 * BIASES) for one in each]


def added(ring: Ring, updates: list[bytes]) -> Opened:
    total, count = RingSum(LAYERS, ring), ring.elements(LAYERS)
    noises = [dither(b"plan", str(number), count) for number in range(len(updates))]
    for update, noise in zip(updates, noises, strict=True):
        message = ring.pack(ring.encode(LAYERS, EXPONENTS, update, WHOLE_SHARE, noise))
        total.add(message, WHOLE_SHARE)
    return total.open(noises)


def settled(size: float, bits: int = 8, kept: int = 1024) -> Opened:
    """The sum of a second round, whose step the first one chose."""
    first = Ring(bits, 50 * 1024, kept, (1, 2))
    opened = added(first, changes(1, size))
    for seed in range(2, 8):
        ring = Ring(bits, opened.next_step(DEVICES), kept, (seed, 2))
        opened = added(ring, changes(seed, size))
    return opened


def test_the_mean_is_near_that_of_the_updates() -> None:
    opened = settled(300)
    assert opened.verdict() is Verdict.MEAN
    group = opened.mean(EXPONENTS, ("b", "a"))
    assert (group.weight, group.members, group.fraction) == (1, ("a", "b"), 8)
    wanted = np.mean([np.frombuffer(c, "<i2", WEIGHTS) for c in changes(7, 300)], axis=0)
    error = group.vector[:WEIGHTS] / 256 - wanted
    # C/12 steps^2 of each coordinate's sum, over the devices
    step = length_of(opened.ring.step) * 2.0**-16 / 2.0 ** (EXPONENTS[0] - 8)
    assert error.std() == pytest.approx(step * sqrt(DEVICES / 12) / DEVICES, rel=0.1)
    assert error.std() < np.std(wanted) / 15


def test_a_part_of_the_places_is_more_noise_and_no_other_mean() -> None:
    whole, part = settled(300), settled(300, kept=256)
    assert len(part.totals) * 4 == len(whole.totals)
    wanted = np.mean([np.frombuffer(c, "<i2", WEIGHTS) for c in changes(7, 300)], axis=0)
    found = part.mean(EXPONENTS).vector[:WEIGHTS] / 256
    slope = float(found @ wanted / (wanted @ wanted))
    assert slope == pytest.approx(1, abs=6 * sqrt(3 / WEIGHTS))
    assert np.var(found - wanted) == pytest.approx(3 * np.var(wanted), rel=0.25)


@pytest.mark.parametrize("size", [3, 300, 3000])
def test_steps_find_what_fits(size: float) -> None:
    opened = settled(size)
    assert opened.verdict() is Verdict.MEAN
    half = 2 ** (opened.ring.bits - 1)
    assert half / 7 < sqrt(opened.energy) < half / 3


@pytest.mark.parametrize("times", [2, 4, 16, 1000])
def test_a_sum_that_wraps_is_told_and_its_step_doubled(times: int) -> None:
    ring = settled(3).ring
    opened = added(ring, changes(9, 3 * times))
    assert opened.verdict() is Verdict.WRAPPED
    assert length_of(opened.next_step(DEVICES)) == 2 * length_of(ring.step)


@pytest.mark.parametrize("kept", [1024, 51])
def test_one_block_of_many_that_wraps_is_told(kept: int) -> None:
    """One device sends a huge value: its block is garbage, the energy of all is hardly more."""
    layers = (dense(600, 64), dense(64, 7))
    weights, biases = parameter_counts(layers)
    draw = np.random.default_rng(3)
    sent = [np.rint(draw.normal(0, 30, weights)).astype("<i2") for _ in range(DEVICES)]
    spread = sqrt(DEVICES) * 30 * 2.0 ** (EXPONENTS[0] - 8) / UNIT
    ring = Ring(8, step_for(spread, 8, DEVICES), kept, (1, 2))

    def verdict() -> Verdict:
        total, count = RingSum(layers, ring), ring.elements(layers)
        noise = [dither(b"plan", str(number), count) for number in range(DEVICES)]
        for one, of in zip(sent, noise, strict=True):
            update = one.tobytes() + bytes(4 * biases)
            total.add(ring.pack(ring.encode(layers, EXPONENTS, update, 32768, of)), 32768)
        opened = total.open(noise)
        assert opened.energy < (2**7 / 3) ** 2
        return opened.verdict()

    assert verdict() is Verdict.MEAN
    sent[4][1234] = 32767
    assert verdict() is Verdict.WRAPPED


def test_of_mere_dither_only_the_spread_is_used() -> None:
    ring = Ring(8, 60 * 1024, 1024, (1, 2))
    opened = added(ring, changes(1, 3))
    assert opened.verdict() is Verdict.SPREAD
    assert opened.energy == pytest.approx(DEVICES / 12, rel=0.1)
    assert length_of(opened.next_step(DEVICES)) < length_of(ring.step) / 2


def test_dither_of_others_is_refused() -> None:
    ring = Ring(8, 50 * 1024, 1024, (1, 2))
    total, noise = RingSum(LAYERS, ring), bytes(ring.elements(LAYERS))
    message = ring.pack(ring.encode(LAYERS, EXPONENTS, changes(1, 3)[0], WHOLE_SHARE, noise))
    total.add(message, WHOLE_SHARE)
    for wrong in ([], [noise, noise]):
        with pytest.raises(ValueError, match="1 updates were added"):
            total.open(wrong)
    with pytest.raises(ValueError, match=str(len(noise) - 1)):
        total.open([noise[:-1]])
    with pytest.raises(ValueError, match="length"):
        total.add(message[:-1], WHOLE_SHARE)
    assert total.devices == 1


@pytest.mark.parametrize("spread", [0, 1e-9, 1.0, 777.0, 1e6, 1e30])
def test_a_step_lets_the_sum_fit(spread: float) -> None:
    step = step_for(spread, 5, 20)
    assert LEAST_STEP <= step <= MOST_STEP
    if LEAST_STEP < step < MOST_STEP:
        in_steps = sqrt((spread / length_of(step)) ** 2 + 20 / 12)
        assert 5 * in_steps == pytest.approx(16, rel=0.01)


def test_a_step_stays_when_the_unit_of_values_moves() -> None:
    assert unit_of(LAYERS, (-3, -9)) == -17
    assert unit_of(LAYERS, (-3, 1)) == -16
    step = 50 * 1024 + 77
    for before, after in (((-3, -9), (-3, -12)), ((-3, -12), (-3, 1))):
        units = unit_of(LAYERS, after) - unit_of(LAYERS, before)
        again = moved(step, units)
        assert length_of(again) * 2.0**units == length_of(step)
    assert moved(LEAST_STEP, 1) == LEAST_STEP
    assert moved(MOST_STEP, -1) == MOST_STEP


def test_devices_whose_dither_does_not_fit_are_told() -> None:
    assert step_for(100, 4, 30)
    with pytest.raises(ValueError, match="31 devices do not fit in a ring of 4 bits"):
        step_for(100, 4, 31)


def test_aggregation_takes_a_mean_as_any_group() -> None:
    before = initial_state(LAYERS, bytes(32))
    group = settled(300).mean(before.exponents)
    after = aggregate(before, [group], of_momentum(0), None)
    assert len(after.view) == len(before.view)
    assert after.view != before.view
