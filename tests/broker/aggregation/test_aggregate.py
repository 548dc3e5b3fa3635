"""The server's arithmetic against whole numbers of Python, written from NUMERICS.md section 8."""

import hashlib
import json
import random
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_broker.aggregation.aggregate import Made, aggregate, fold, make
from fedling_broker.aggregation.fixed import VALUE_LIMIT
from fedling_broker.aggregation.optimisers import of_momentum
from fedling_broker.aggregation.state import (
    Memory,
    ServerState,
    finish,
    state_of_masters,
)
from fedling_broker.aggregation.sums import GroupSum, Sum
from fedling_broker.aggregation.vectors import decode
from fedling_native import Layer, average_pool, conv, dense, weights_size
from fedling_protocol.wire.codecs import Codec

GOLDEN = Path(__file__).parents[2] / "native" / "golden" / "server.json"
PLAIN = of_momentum(0)
LAYERS = (dense(3, 4, relu=True), dense(4, 2))
WEIGHTS, BIASES = 3 * 4 + 4 * 2, 4 + 2


def nearest(value: Fraction) -> int:
    """To nearest, halves up."""
    return floor(value + Fraction(1, 2))


def limit(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


@dataclass
class Plain:
    """A server's state as lists of int."""

    values: list[int]
    velocity: list[int]
    exponents: list[int]


def plain_round(
    before: Plain,
    updates: list[tuple[list[int], int]],
    momentum: int = 0,
    steps: int | None = None,
) -> Plain:
    """One round with exact fractions. Layers as in LAYERS."""
    weight = sum(share for _, share in updates)
    velocity = []
    for j, speed in enumerate(before.velocity):
        mean = nearest(Fraction(sum(v[j] * share for v, share in updates) << 16, weight))
        velocity.append(limit(nearest(Fraction(speed * momentum, 256)) + mean, -(2**47), 2**47))
    after = [value + speed for value, speed in zip(before.values, velocity, strict=True)]
    moved, exponents = [], before.exponents
    for exponent, (start, end) in zip(exponents, [(0, 12), (12, 20)], strict=True):
        largest = max(abs(nearest(Fraction(x, 2**16))) for x in after[start:end])
        bits, shift = largest.bit_length(), 0
        if bits > 14:
            shift = min(bits - 14, 7 - exponent)
        elif 0 < bits < 13:
            shift = -min(13 - bits, exponent + 24)
        if steps is not None:
            shift = limit(shift, -steps, steps)
        factor = Fraction(2) ** -shift
        for part in (after, velocity):
            part[start:end] = [nearest(x * factor) for x in part[start:end]]
        moved.append(exponent + shift)
    after, velocity = ([limit(x, -(2**47), 2**47) for x in part] for part in (after, velocity))
    return Plain(after, velocity if momentum else [0] * len(velocity), moved)


def state_of(plain: Plain) -> ServerState:
    exponents = (plain.exponents[0], plain.exponents[1])
    state = state_of_masters(LAYERS, exponents, np.array(plain.values, np.int64))
    return replace(state, optimiser={"velocity": np.array(plain.velocity, np.int64)})


def sum_of(updates: Iterable[tuple[bytes, int]], layers: tuple[Layer, ...] = LAYERS) -> GroupSum:
    total = Sum(layers)
    for vector, share in updates:
        total.add(decode(Codec.RAW_INT16, vector, layers), share)
    return total.group()


def flat(value: int = 0) -> Plain:
    """All values the same, at rest."""
    return Plain([value] * (WEIGHTS + BIASES), [0] * (WEIGHTS + BIASES), [-7, -7])


def plain_bytes(values: list[int]) -> bytes:
    """Weights as bytes."""
    out = b""
    for j, value in enumerate(values):
        view = nearest(Fraction(value, 2**16))
        if j < WEIGHTS:
            out += (limit(view, -16383, 16383) + 128).to_bytes(2, "little", signed=True)
        else:
            out += limit(view, -(2**31), 2**31 - 1).to_bytes(4, "little", signed=True)
    return out


def vector_bytes(vector: list[int]) -> bytes:
    head = [x.to_bytes(2, "little", signed=True) for x in vector[:WEIGHTS]]
    return b"".join(head + [x.to_bytes(4, "little", signed=True) for x in vector[WEIGHTS:]])


int16s = st.one_of(st.integers(-(2**15), 2**15 - 1), st.sampled_from([-(2**15), 2**15 - 1, 0]))
int32s = st.one_of(st.integers(-(2**31), 2**31 - 1), st.sampled_from([-(2**31), 2**31 - 1]))
vectors = st.builds(
    lambda a, b: a + b,
    st.lists(int16s, min_size=WEIGHTS, max_size=WEIGHTS),
    st.lists(int32s, min_size=BIASES, max_size=BIASES),
)
shares = st.one_of(st.integers(1, 300), st.integers(1, 2**28))
masters = st.integers(-(2**30), 2**30)
states = st.builds(
    lambda a, b: a + b,
    st.lists(masters, min_size=WEIGHTS, max_size=WEIGHTS),
    st.lists(st.integers(-(2**47), 2**47), min_size=BIASES, max_size=BIASES),
)


@settings(max_examples=150, deadline=None)
@given(
    states,
    states,
    st.tuples(st.integers(-24, 7), st.integers(-24, 7)),
    st.lists(st.tuples(vectors, shares), min_size=1, max_size=4),
    st.sampled_from([0, 1, 128, 192, 255]),
    st.sampled_from([1, 2, 3, 5, 7, 11, 1000]),
    st.sampled_from([None, 1, 2]),
)
def test_aggregate_equals_exact_fractions(
    values: list[int],
    velocity: list[int],
    exponents: tuple[int, int],
    updates: list[tuple[list[int], int]],
    momentum: int,
    size: int,
    steps: int | None,
) -> None:
    before = Plain(values, velocity, list(exponents))
    group = sum_of((vector_bytes(v), share) for v, share in updates)
    memory = Memory(LAYERS)
    made = finish(fold(state_of(before), [group], of_momentum(momentum), memory, size, steps))
    after, expected = memory.state, plain_round(before, updates, momentum, steps)
    assert after.master.tolist() == expected.values
    assert {name: a.tolist() for name, a in after.optimiser.items()} == (
        {"velocity": expected.velocity} if momentum else {}
    )
    assert list(after.exponents) == list(made) == expected.exponents
    assert after.view == plain_bytes(expected.values)


def test_aggregate_of_twenty_rounds_has_a_known_hash() -> None:
    dice = random.Random(1)
    masters = [dice.randrange(-(2**29), 2**29) for _ in range(WEIGHTS)]
    plain = Plain(masters + [0] * BIASES, [0] * (WEIGHTS + BIASES), [-7, -6])
    state = state_of(plain)
    for _ in range(20):
        updates = [
            (
                [dice.randrange(-900, 900) for _ in range(WEIGHTS)]
                + [dice.randrange(-(2**20), 2**20) for _ in range(BIASES)],
                dice.randrange(1, 200),
            )
            for _ in range(5)
        ]
        group = sum_of((vector_bytes(v), share) for v, share in updates)
        state = aggregate(state, [group], PLAIN)
        plain = plain_round(plain, updates)
        assert state.view == plain_bytes(plain.values)
    digest = hashlib.sha256(state.view).hexdigest()
    assert digest == "ed57922ab7e171a05943ff96d48f1fd6a288ef14aa04a4b408cfdb34ab7c4914"


def test_aggregate_does_not_depend_on_order_or_grouping() -> None:
    dice = random.Random(2)
    updates = [(dice.randbytes(weights_size(LAYERS)), dice.randrange(1, 2**20)) for _ in range(9)]
    once = aggregate(state_of(flat()), [sum_of(updates)], PLAIN)
    for _ in range(5):
        dice.shuffle(updates)
        groups = [sum_of(updates[:4]), sum_of(updates[4:])]
        again = aggregate(state_of(flat()), groups, PLAIN)
        assert again.master.tobytes() == once.master.tobytes()
        assert again.exponents == once.exponents


def test_aggregate_leaves_the_old_state_and_the_sums_alone() -> None:
    state = state_of(flat(5 << 16))
    groups = [GroupSum(np.full(WEIGHTS + BIASES, 40000, np.int64), 1, ("d",)) for _ in range(2)]
    after = aggregate(state, groups, of_momentum(128))
    assert after.master.tolist() != state.master.tolist()
    assert state.master.tolist() == [5 << 16] * (WEIGHTS + BIASES)
    assert not state.optimiser["velocity"].any()
    assert all(group.vector.tolist() == [40000] * (WEIGHTS + BIASES) for group in groups)


@pytest.mark.parametrize("weight", [0, -1, 2**30 + 1])
def test_aggregate_refuses_an_impossible_weight(weight: int) -> None:
    group = GroupSum(np.zeros(WEIGHTS + BIASES, np.int64), weight, ())
    with pytest.raises(ValueError, match="total weight"):
        fold(state_of(flat()), [group], PLAIN, Memory(LAYERS))


def test_aggregate_refuses_sums_in_several_units() -> None:
    zeros = np.zeros(WEIGHTS + BIASES, np.int64)
    groups = [GroupSum(zeros, 1, (), fraction) for fraction in (0, 8)]
    with pytest.raises(ValueError, match="several units"):
        fold(state_of(flat()), groups, PLAIN, Memory(LAYERS))


def test_a_first_model_has_no_velocity_yet() -> None:
    state = replace(state_of(flat()), optimiser={})
    group = GroupSum(np.full(WEIGHTS + BIASES, 40000, np.int64), 1, ())
    after, same = (aggregate(s, [group], of_momentum(128)) for s in (state, state_of(flat())))
    assert after.optimiser["velocity"].tolist() == same.optimiser["velocity"].tolist()
    assert after.optimiser["velocity"].any()


def test_an_array_moves_by_the_power_of_its_unit() -> None:
    values = np.full(WEIGHTS + BIASES, 40_000 << 16, np.int64)  # 16 bits: each exponent grows by 2
    arrays = {name: np.full_like(values, 64) for name in ("count", "speed", "square")}
    memory = Memory(LAYERS)
    units = {"count": 0, "speed": 1, "square": 2}
    block = replace(state_of_masters(LAYERS, (-7, -7), values), optimiser=arrays).read
    finish(make(Made(LAYERS, (-7, -7), units, block), memory))
    assert memory.state.exponents == (-5, -5)
    found = {name: set(a[:WEIGHTS].tolist()) for name, a in memory.state.optimiser.items()}
    assert found == {"count": {64}, "speed": {16}, "square": {4}}
    assert all(set(a[WEIGHTS:].tolist()) == {64} for a in memory.state.optimiser.values())


def test_a_bias_stops_at_its_limit() -> None:
    plain = flat()
    plain.values[WEIGHTS:] = [VALUE_LIMIT] * BIASES
    vector = vector_bytes([0] * WEIGHTS + [2**31 - 1] * BIASES)
    state = aggregate(state_of(plain), [sum_of([(vector, 1)])], PLAIN)
    assert state.master[WEIGHTS:].tolist() == [VALUE_LIMIT] * BIASES
    assert state.view.endswith((2**31 - 1).to_bytes(4, "little"))


CNN = (
    conv((1, 8, 2), 3, (1, 3), relu=True), average_pool((1, 6, 3)), dense(3, 2),
)  # fmt: skip


def test_a_pool_has_exponent_0_and_never_moves() -> None:
    weights = weights_size(CNN)
    assert weights == 2 * (3 * 3 * 2 + 3 * 2) + 4 * (3 + 2)
    values = np.zeros(24 + 5, np.int64)
    values[:18], values[18:24] = 3 << 16, 40_000 << 16  # too small, and too large
    state = state_of_masters(CNN, (-7, 0, -7), values)
    after = aggregate(state, [sum_of([(bytes(weights), 1)], CNN)], PLAIN)
    assert after.exponents == (-18, 0, -5)
    assert after.master[:18].tolist() == [3 << 27] * 18
    assert after.master[18:24].tolist() == [10_000 << 16] * 6


def int64s(text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.frombuffer(b64decode(text), "<i8").astype(np.int64)


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text())["momentum"])
def test_aggregate_equals_the_golden_momentum(case: dict[str, Any]) -> None:
    server = int64s(case["server"])
    count = len(server)
    layers = (dense(1, count),)
    state = state_of_masters(
        layers, (case["w_exp"],), np.concatenate([server, np.zeros_like(server)])
    )
    for step in case["rounds"]:
        change = np.concatenate([int64s(step["mean"]), np.zeros_like(server)])
        # A weight of 2^16 gives the mean its 16 fractional bits, as the golden file has it.
        setup = of_momentum(case["m"])
        state = aggregate(state, [GroupSum(change, 1 << 16, ("d",))], setup)
        assert state.master[:count].tolist() == int64s(step["server"]).tolist()
        if case["m"]:
            assert state.optimiser["velocity"][:count].tolist() == int64s(step["velocity"]).tolist()
        assert state.exponents == (step["w_exp"],)
