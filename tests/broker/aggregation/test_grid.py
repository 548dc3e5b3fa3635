"""What devices hold on a grid: against fractions of Python, written from NUMERICS.md section 8."""

from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_broker.aggregation.aggregate import aggregate
from fedling_broker.aggregation.fixed import FRACTION
from fedling_broker.aggregation.optimisers import Setup, leap_of, of_momentum
from fedling_broker.aggregation.state import (
    HELD,
    ServerState,
    StateFile,
    StateWriter,
    copy,
    finish,
    read_vector,
    state_from_bytes,
    state_of_masters,
    state_to_bytes,
)
from fedling_broker.aggregation.sums import GroupSum
from fedling_native import dense

LAYERS = (dense(3, 4, relu=True), dense(4, 2))
WEIGHTS, BIASES = 20, 6
ON_GRID = of_momentum(0, 1)
FIRST_LAYER = 12

LARGE = np.array([8192] * WEIGHTS + [0] * BIASES, np.int64) << FRACTION  # no exponent moves
leaps = st.integers(1, 10)
changes = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=26, max_size=26)


def nearest(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def on(value: int, grid: int, most: int) -> int:
    return grid * max(-most, min(most, nearest(Fraction(value, grid))))


def expected(exact: int, held: int, shift: int, grid: int, most: int, leap: int) -> int:
    kept = on(nearest(held * Fraction(2) ** -shift), grid, most)
    leaps = abs(Fraction(exact - kept, leap * grid)) - Fraction(1, 8)
    return kept + (1 if exact > kept else -1) * leap * grid * max(0, floor(leaps))


def held(state: ServerState) -> list[int]:
    values = read_vector(state.view, LAYERS)
    return [int(v) - (128 if j < WEIGHTS else 0) for j, v in enumerate(values)]


def leaps_of(before: ServerState, change: list[int], momentum: int, s: list[int]) -> list[Fraction]:
    """A quarter of the mean weight of each layer, in steps, at the exponent that it has then."""
    velocity = before.optimiser.get("velocity", np.zeros(26, np.int64))
    speed = [nearest(Fraction(int(v) * momentum, 256)) for v in velocity]
    masters = [
        nearest(Fraction(int(m) + v, 2**FRACTION) + c)
        for m, v, c in zip(before.master, speed, change, strict=True)
    ]
    layers = masters[:FIRST_LAYER], masters[FIRST_LAYER:WEIGHTS]
    sizes = [Fraction(sum(map(abs, of)), len(of)) for of in layers]
    return [size / 1024 / Fraction(2) ** shift for size, shift in zip(sizes, s, strict=True)]


def exact(state: ServerState) -> list[int]:
    whole = [nearest(Fraction(int(v), 2**FRACTION)) for v in state.master]
    return [max(-16383, min(16383, v)) if j < WEIGHTS else v for j, v in enumerate(whole)]


def drawn(seed: int) -> ServerState:
    masters = np.random.default_rng(seed).integers(-(2**13), 2**13, WEIGHTS + BIASES)
    return state_of_masters(LAYERS, (-7, -7), masters.astype(np.int64) << FRACTION)


def after(state: ServerState, change: list[int], setup: Setup) -> ServerState:
    return aggregate(state, [GroupSum(np.array(change, np.int64), 1, ())], setup)


@given(
    st.integers(0, 1000),
    st.lists(changes, min_size=1, max_size=4),
    st.sampled_from([0, 230]),
    leaps,
    st.integers(0, 10),
)
def test_rounds_hold_what_the_page_says(
    seed: int, rounds: list[list[int]], momentum: int, leap: int, least: int
) -> None:
    least = min(least, leap)
    state, setup = drawn(seed), of_momentum(momentum, leap, least)
    for change in rounds:
        before, state = state, after(state, change, setup)
        shifts = [b - a for a, b in zip(before.exponents, state.exponents, strict=True)]
        quarters = leaps_of(before, change, momentum, shifts)
        floors = [floor(least * Fraction(1, 2) ** max(0, shift)) for shift in shifts]
        leaps = [
            max(1, least_of, min(leap, floor(quarter)))
            for least_of, quarter in zip(floors, quarters, strict=True)
        ]
        for j, (now, true, old) in enumerate(
            zip(held(state), exact(state), held(before), strict=True)
        ):
            shift = 0 if j >= WEIGHTS else shifts[j >= FIRST_LAYER]
            own = leap if j >= WEIGHTS else leaps[j >= FIRST_LAYER]
            grid, most = (256, 63) if j < WEIGHTS else (64, (2**31 - 1) // 64)
            assert now == expected(true, old, shift, grid, most, own), j
            assert now % grid == 0
            assert abs(now) <= grid * most


@given(st.integers(0, 1000), st.lists(changes, min_size=1, max_size=4), leaps)
def test_server_learns_the_same_with_and_without(
    seed: int, rounds: list[list[int]], leap: int
) -> None:
    """What devices hold changes nothing of the masters."""
    one = other = drawn(seed)
    for change in rounds:
        one, other = (
            after(one, change, of_momentum(0)),
            after(other, change, of_momentum(0, leap)),
        )
    assert np.array_equal(one.master, other.master)
    assert one.exponents == other.exponents


@pytest.mark.parametrize("leap", [1, 2, 3, 8])
def test_small_changes_are_kept_until_they_are_a_leap(leap: int) -> None:
    setup = of_momentum(0, leap)
    first = state = after(state_of_masters(LAYERS, (-7, -7), LARGE), [0] * 26, setup)
    told = 0
    for _ in range(40):
        before, state = state, after(state, [100] * WEIGHTS + [25] * BIASES, setup)
        moved = np.array(held(state)) - np.array(held(before))
        assert set(moved[:WEIGHTS]) in ({0}, {leap * 256})
        assert set(moved[WEIGHTS:]) in ({0}, {leap * 64})
        told += bool(moved.any())
    assert told == floor(Fraction(4000, leap * 256) - Fraction(1, 8))
    gone = np.array(held(state)) - np.array(held(first))
    assert set(gone[:WEIGHTS]) == {told * leap * 256}
    assert set(gone[WEIGHTS:]) == {told * leap * 64}


@given(st.integers(0, 1000), changes, leaps)
def test_view_is_less_than_nine_eighths_away(seed: int, change: list[int], leap: int) -> None:
    state = after(drawn(seed), change, of_momentum(0, leap))
    missing = np.abs(np.array(exact(state)) - np.array(held(state)))
    assert 8 * missing[:WEIGHTS].max() < 9 * leap * 256
    assert 8 * missing[WEIGHTS:].max() < 9 * leap * 64


@given(st.integers(0, 1000), leaps)
def test_nothing_changes_when_nothing_was_learned(seed: int, leap: int) -> None:
    setup = of_momentum(0, leap)
    state = after(drawn(seed), [0] * 26, setup)
    assert held(after(state, [0] * 26, setup)) == held(state)


def test_state_on_disk_keeps_what_devices_hold() -> None:
    """Not what it would be if it were taken from the masters again."""
    state = after(drawn(7), [90] * 26, of_momentum(128, 2))
    again = state_from_bytes(LAYERS, state_to_bytes(state))
    assert again.view == state.view
    assert again.optimiser.keys() == {"velocity", HELD}
    arrays, view = BytesIO(), BytesIO()
    finish(
        copy(StateFile(LAYERS, BytesIO(state_to_bytes(state))), StateWriter(LAYERS, arrays, view))
    )
    assert (arrays.getvalue(), view.getvalue()) == (state_to_bytes(state), state.view)


@pytest.mark.parametrize("momentum", [0, 200])
def test_task_may_change_its_mind(momentum: int) -> None:
    """Onto the grid and off it, with a velocity that comes and goes."""
    state = drawn(9)
    for setup in (
        of_momentum(momentum),
        ON_GRID,
        of_momentum(momentum, 4),
    ):
        state = after(state, [500] * 26, setup)
    assert all(value % 256 == 0 for value in held(state)[:WEIGHTS])
    state = after(state, [501] * 26, of_momentum(momentum))
    assert held(state) == exact(state)
    assert HELD not in state.optimiser


def test_journal_says_it() -> None:
    setup = of_momentum(230, 2)
    assert setup.text == '{"grid":2,"momentum_q8":230}'
    assert Setup.parse(setup.name, setup.text) == setup
    with pytest.raises(ValueError, match="grid"):
        replace(setup, parameters={"momentum_q8": 230, "grid": 11})


@pytest.mark.parametrize(
    ("target", "leap"),
    [(None, 0), (1000, 1), (501, 1), (500, 2), (223, 2), (222, 3), (20, 10), (12, 10)],
)
def test_leap_is_longer_where_updates_are_shorter(target: int | None, leap: int) -> None:
    assert leap_of(target, 32_000) == leap
