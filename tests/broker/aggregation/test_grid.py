"""What devices hold on a grid: against fractions of Python, written from NUMERICS.md section 8."""

from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_broker.aggregation.aggregate import aggregate
from fedling_broker.aggregation.fixed import FRACTION
from fedling_broker.aggregation.leaps import Leaps
from fedling_broker.aggregation.optimisers import Setup, leaps_of, of_momentum
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
ON_GRID = of_momentum(0, Leaps(1))
FIRST_LAYER = 12

LARGE = np.array([8192] * WEIGHTS + [0] * BIASES, np.int64) << FRACTION  # no exponent moves
lengths = st.integers(1, 10)
to_nearest = st.builds(Leaps, lengths, st.integers(1, 32))
towards = lengths.flatmap(lambda leap: st.builds(Leaps, st.just(leap), least=st.integers(0, leap)))
ways = to_nearest | towards
changes = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=26, max_size=26)


def nearest(value: Fraction) -> int:
    return floor(value + Fraction(1, 2))


def on(value: int, grid: int, most: int) -> int:
    return grid * max(-most, min(most, nearest(Fraction(value, grid))))


def expected(
    exact: int, held: int, shift: int, grid: int, most: int, leap: int, *, nearer: bool
) -> int:
    kept = on(nearest(held * Fraction(2) ** -shift), grid, most)
    way = abs(Fraction(exact - kept, leap * grid))
    leaps = ceil(way - Fraction(1, 2)) if nearer else max(0, floor(way - Fraction(1, 8)))
    sign = 1 if exact > kept else -1
    while abs(kept + sign * leaps * leap * grid) > most * grid:
        leaps -= 1
    return kept + sign * leaps * leap * grid


def held(state: ServerState) -> list[int]:
    values = read_vector(state.view, LAYERS)
    return [int(v) - (128 if j < WEIGHTS else 0) for j, v in enumerate(values)]


def means(before: ServerState, change: list[int], momentum: int, s: list[int]) -> list[Fraction]:
    """The mean weight of each layer, in steps, at the exponent that it has then."""
    velocity = before.optimiser.get("velocity", np.zeros(26, np.int64))
    speed = [nearest(Fraction(int(v) * momentum, 256)) for v in velocity]
    masters = [
        nearest(Fraction(int(m) + v, 2**FRACTION) + c)
        for m, v, c in zip(before.master, speed, change, strict=True)
    ]
    layers = masters[:FIRST_LAYER], masters[FIRST_LAYER:WEIGHTS]
    sizes = [Fraction(sum(map(abs, of)), len(of)) for of in layers]
    return [size / 256 / Fraction(2) ** shift for size, shift in zip(sizes, s, strict=True)]


def own_leaps(way: Leaps, means: list[Fraction], shifts: list[int]) -> list[int]:
    """Of the two layers, and of biases."""
    found = []
    for mean, shift, weights in zip(means, shifts, (12, 8), strict=True):
        if way.share is None:
            least = floor(way.least * Fraction(1, 2) ** max(0, shift))
            leap = max(least, floor(mean / 4))
            found.append(max(1, min(way.longest, leap)))
        else:
            share = mean * Fraction(way.share, 16) * Fraction(weights, 12) * Fraction(3, 2)
            most = max(1, floor(min(share, Fraction(way.longest))))
            found.append(max(leap for leap in (1, 2, 4, 8) if leap <= most))
    return [*found, way.longest if way.share is None else 1]


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
    ways,
)
def test_rounds_hold_what_the_page_says(
    seed: int, rounds: list[list[int]], momentum: int, way: Leaps
) -> None:
    state, setup = drawn(seed), of_momentum(momentum, way)
    for change in rounds:
        before, state = state, after(state, change, setup)
        shifts = [b - a for a, b in zip(before.exponents, state.exponents, strict=True)]
        leaps = own_leaps(way, means(before, change, momentum, shifts), shifts)
        for j, (now, true, old) in enumerate(
            zip(held(state), exact(state), held(before), strict=True)
        ):
            shift = 0 if j >= WEIGHTS else shifts[j >= FIRST_LAYER]
            own = leaps[(j >= FIRST_LAYER) + (j >= WEIGHTS)]
            grid, most = (256, 63) if j < WEIGHTS else (64, (2**31 - 1) // 64)
            nearer = way.share is not None
            assert now == expected(true, old, shift, grid, most, own, nearer=nearer), j
            assert now % grid == 0
            assert abs(now) <= grid * most


@given(st.integers(0, 1000), st.lists(changes, min_size=1, max_size=4), ways)
def test_server_learns_the_same_with_and_without(
    seed: int, rounds: list[list[int]], way: Leaps
) -> None:
    """What devices hold changes nothing of the masters."""
    one = other = drawn(seed)
    for change in rounds:
        one, other = (
            after(one, change, of_momentum(0)),
            after(other, change, of_momentum(0, way)),
        )
    assert np.array_equal(one.master, other.master)
    assert one.exponents == other.exponents


@pytest.mark.parametrize("leap", [1, 2, 3, 8])
def test_small_changes_are_kept_until_they_are_a_leap(leap: int) -> None:
    setup = of_momentum(0, Leaps(leap))
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


@given(st.integers(0, 1000), changes, lengths)
def test_view_is_less_than_nine_eighths_away(seed: int, change: list[int], leap: int) -> None:
    state = after(drawn(seed), change, of_momentum(0, Leaps(leap)))
    missing = np.abs(np.array(exact(state)) - np.array(held(state)))
    assert 8 * missing[:WEIGHTS].max() < 9 * leap * 256
    assert 8 * missing[WEIGHTS:].max() < 9 * leap * 64


@given(st.integers(0, 1000), changes, lengths, st.integers(1, 32))
def test_view_is_half_a_leap_away_if_it_goes_to_the_nearest(
    seed: int, change: list[int], leap: int, share: int
) -> None:
    """But where the grid ends before the leap does: there a whole one."""
    state = after(drawn(seed), change, of_momentum(0, Leaps(leap, share)))
    true, now = np.array(exact(state)), np.array(held(state))
    ends = np.abs(true) > (63 - leap) * 256
    assert 2 * np.abs(true - now)[:WEIGHTS][~ends[:WEIGHTS]].max(initial=0) <= leap * 256
    assert np.abs(true - now)[:WEIGHTS].max() < (leap + 1) * 256
    assert 2 * np.abs(true - now)[WEIGHTS:].max() <= 64


@given(st.integers(0, 1000), ways)
def test_nothing_changes_when_nothing_was_learned(seed: int, way: Leaps) -> None:
    setup = of_momentum(0, way)
    state = after(drawn(seed), [0] * 26, setup)
    assert held(after(state, [0] * 26, setup)) == held(state)


def test_state_on_disk_keeps_what_devices_hold() -> None:
    """Not what it would be if it were taken from the masters again."""
    state = after(drawn(7), [90] * 26, of_momentum(128, Leaps(2)))
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
        of_momentum(momentum, Leaps(4)),
        of_momentum(momentum, Leaps(8, 14)),
    ):
        state = after(state, [500] * 26, setup)
    assert all(value % 256 == 0 for value in held(state)[:WEIGHTS])
    state = after(state, [501] * 26, of_momentum(momentum))
    assert held(state) == exact(state)
    assert HELD not in state.optimiser


def test_journal_says_it() -> None:
    setup = of_momentum(230, Leaps(8, 14))
    assert setup.text == '{"grid":8,"grid_share":14,"momentum_q8":230}'
    assert Setup.parse(setup.name, setup.text) == setup
    assert setup.leaps == Leaps(8, 14)
    for wrong in ({"grid": 11}, {"grid_share": 14}, {"grid": 10, "grid_share": 33}):
        with pytest.raises(ValueError, match="grid"):
            replace(setup, parameters={"momentum_q8": 230, **wrong})


def test_journal_of_before_is_read() -> None:
    setup = Setup.parse("fedavgm", '{"grid":2,"momentum_q8":230}')
    assert setup.leaps == Leaps(2)
    assert setup.leaps.share is None


@pytest.mark.parametrize(
    ("target", "share"),
    [(32_000, 2), (4000, 7), (1000, 14), (400, 23), (219, 31), (218, 32), (12, 32)],
)
def test_leap_is_longer_where_updates_are_shorter(target: int, share: int) -> None:
    assert leaps_of(target, 32_000) == Leaps(8, share)
    assert leaps_of(10 * 32_000, 32_000) == Leaps(8, 1)
    assert leaps_of(None, 32_000) is None
