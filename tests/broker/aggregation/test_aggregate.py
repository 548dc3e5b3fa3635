"""The server's arithmetic against whole numbers of Python, written from NUMERICS.md section 8."""

import hashlib
import json
import random
from base64 import b64decode
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_broker.aggregation.aggregate import (
    VALUE_LIMIT,
    GroupSum,
    ServerState,
    add_up,
    aggregate,
    exponent_shift,
    from_bytes,
    mean,
    pack_state,
    read_vector,
    rshift,
    state_of_weights,
    stored_weights,
    to_bytes,
    unpack_state,
)
from fedling_native import average_pool, conv, dense, weights_size

GOLDEN = Path(__file__).parents[2] / "native" / "golden" / "server.json"
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


def plain_round(before: Plain, updates: list[tuple[list[int], int]], momentum: int = 0) -> Plain:
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
        factor = Fraction(2) ** -shift
        for part in (after, velocity):
            part[start:end] = [nearest(x * factor) for x in part[start:end]]
        moved.append(exponent + shift)
    after, velocity = ([limit(x, -(2**47), 2**47) for x in part] for part in (after, velocity))
    return Plain(after, velocity if momentum else [0] * len(velocity), moved)


def state_of(plain: Plain) -> ServerState:
    return ServerState(
        LAYERS,
        (plain.exponents[0], plain.exponents[1]),
        np.array(plain.values, np.int64),
        np.array(plain.velocity, np.int64),
    )


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
)
def test_aggregate_equals_exact_fractions(
    values: list[int],
    velocity: list[int],
    exponents: tuple[int, int],
    updates: list[tuple[list[int], int]],
    momentum: int,
) -> None:
    before = Plain(values, velocity, list(exponents))
    group = add_up([("d", vector_bytes(v), share) for v, share in updates], LAYERS)
    after = aggregate(state_of(before), [group], momentum)
    expected = plain_round(before, updates, momentum)
    assert after.values.tolist() == expected.values
    assert after.velocity.tolist() == expected.velocity
    assert list(after.exponents) == expected.exponents
    assert stored_weights(after) == plain_bytes(expected.values)
    again = unpack_state(LAYERS, after.exponents, pack_state(after))
    assert again.values.tolist() == expected.values
    assert again.velocity.tolist() == expected.velocity


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
        group = add_up([("d", vector_bytes(v), share) for v, share in updates], LAYERS)
        state = aggregate(state, [group])
        plain = plain_round(plain, updates)
        assert stored_weights(state) == plain_bytes(plain.values)
    digest = hashlib.sha256(stored_weights(state)).hexdigest()
    assert digest == "ed57922ab7e171a05943ff96d48f1fd6a288ef14aa04a4b408cfdb34ab7c4914"


def test_aggregate_does_not_depend_on_order_or_grouping() -> None:
    dice = random.Random(2)
    updates = [
        (str(i), dice.randbytes(weights_size(LAYERS)), dice.randrange(1, 2**20)) for i in range(9)
    ]
    once = aggregate(state_of(flat()), [add_up(updates, LAYERS)])
    for _ in range(5):
        dice.shuffle(updates)
        groups = [add_up(updates[:4], LAYERS), add_up(updates[4:], LAYERS)]
        again = aggregate(state_of(flat()), groups)
        assert again.values.tobytes() == once.values.tobytes()
        assert again.exponents == once.exponents


def test_aggregate_leaves_the_old_state_alone() -> None:
    state = state_of(flat(5 << 16))
    group = GroupSum(np.full(WEIGHTS + BIASES, 40000, np.int64), 1, ("d",))
    assert aggregate(state, [group], 128).values.tolist() != state.values.tolist()
    assert state.values.tolist() == [5 << 16] * (WEIGHTS + BIASES)
    assert not state.velocity.any()


@pytest.mark.parametrize("weight", [0, -1, 2**30 + 1])
def test_aggregate_refuses_an_impossible_weight(weight: int) -> None:
    with pytest.raises(ValueError, match="total weight"):
        aggregate(state_of(flat()), [GroupSum(np.zeros(WEIGHTS + BIASES, np.int64), weight, ())])


def test_add_up_refuses_more_weight_than_64_bits_hold() -> None:
    vector = bytes(weights_size(LAYERS))
    with pytest.raises(ValueError, match="more than 1073741824"):
        add_up([("a", vector, 2**30), ("b", vector, 1)], LAYERS)


@pytest.mark.parametrize("extra", [-1, 1, 2])
def test_read_vector_refuses_another_length(extra: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        read_vector(bytes(weights_size(LAYERS) + extra), LAYERS)


def test_a_bias_stops_at_its_limit() -> None:
    plain = flat()
    plain.values[WEIGHTS:] = [VALUE_LIMIT] * BIASES
    vector = vector_bytes([0] * WEIGHTS + [2**31 - 1] * BIASES)
    state = aggregate(state_of(plain), [add_up([("d", vector, 1)], LAYERS)])
    assert state.values[WEIGHTS:].tolist() == [VALUE_LIMIT] * BIASES
    assert stored_weights(state).endswith((2**31 - 1).to_bytes(4, "little"))


CNN = (
    conv((1, 8, 2), 3, (1, 3), relu=True), average_pool((1, 6, 3)), dense(3, 2),
)  # fmt: skip


def test_a_pool_has_exponent_0_and_never_moves() -> None:
    weights = weights_size(CNN)
    assert weights == 2 * (3 * 3 * 2 + 3 * 2) + 4 * (3 + 2)
    values = np.zeros(24 + 5, np.int64)
    values[:18], values[18:24] = 3 << 16, 40_000 << 16  # too small, and too large
    state = ServerState(CNN, (-7, 0, -7), values, np.zeros_like(values))
    after = aggregate(state, [add_up([("d", bytes(weights), 1)], CNN)])
    assert after.exponents == (-18, 0, -5)
    assert after.values[:18].tolist() == [3 << 27] * 18
    assert after.values[18:24].tolist() == [10_000 << 16] * 6
    assert unpack_state(CNN, after.exponents, pack_state(after)).values.tolist() == (
        after.values.tolist()
    )


def test_state_of_weights_gives_the_same_bytes_back() -> None:
    weights = plain_bytes([x << 16 for x in range(-8000, -8000 + 20)] + [1, -2, 3, -4, 5, -6])
    state = state_of_weights(LAYERS, (-3, -4), weights)
    assert stored_weights(state) == weights
    assert from_bytes(to_bytes(state.values), LAYERS).tolist() == state.values.tolist()


def test_from_bytes_refuses_another_length() -> None:
    with pytest.raises(ValueError, match="bytes"):
        from_bytes(b"12345678", LAYERS)


def int64s(text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.frombuffer(b64decode(text), "<i8").astype(np.int64)


def test_golden_vectors_of_the_reference() -> None:
    golden = json.loads(GOLDEN.read_text())
    for case in golden["mean"]:
        got = mean(int64s(case["total"]), case["weight"])
        assert got.tolist() == int64s(case["mean"]).tolist()
    for case in golden["move"]:
        server = int64s(case["server"])
        shift = exponent_shift(server, case["w_exp"])
        assert case["w_exp"] + shift == case["w_exp_after"]
        moved = rshift(server, shift) if shift > 0 else server << -shift
        assert moved.tolist() == int64s(case["moved"]).tolist()


@pytest.mark.parametrize("case", json.loads(GOLDEN.read_text())["momentum"])
def test_aggregate_equals_the_golden_momentum(case: dict[str, Any]) -> None:
    server = int64s(case["server"])
    count = len(server)
    layers = (dense(1, count),)
    values = np.concatenate([server, np.zeros_like(server)])
    state = ServerState(layers, (case["w_exp"],), values, np.zeros_like(values))
    for step in case["rounds"]:
        change = np.concatenate([int64s(step["mean"]), np.zeros_like(server)])
        # A weight of 2^16 gives the mean its 16 fractional bits, as the golden file has it.
        state = aggregate(state, [GroupSum(change, 1 << 16, ("d",))], case["m"])
        assert state.values[:count].tolist() == int64s(step["server"]).tolist()
        if case["m"]:
            assert state.velocity[:count].tolist() == int64s(step["velocity"]).tolist()
        assert state.exponents == (step["w_exp"],)
