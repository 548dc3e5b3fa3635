"""Against the golden vectors of the independent reference (tests/native/golden/server.json)."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedling_broker.aggregation.fixed import (
    VALUE_LIMIT,
    Int64,
    exact_biases,
    exact_masters,
    exponent_shift,
    largest_view,
    mean,
    rshift,
    scaled,
    view_of_biases,
    view_of_masters,
)

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "native" / "golden" / "server.json").read_text()
)


def int64s(text: str) -> Int64:
    return np.frombuffer(b64decode(text), "<i8").astype(np.int64)


@pytest.mark.parametrize("case", GOLDEN["mean"])
def test_mean_equals_the_golden_vectors(case: dict[str, Any]) -> None:
    assert mean(int64s(case["total"]), case["weight"]).tolist() == int64s(case["mean"]).tolist()


@pytest.mark.parametrize("case", GOLDEN["mean"])
def test_a_mean_of_estimates_is_that_of_what_they_are_of(case: dict[str, Any]) -> None:
    total, weight = int64s(case["total"]) >> 8, case["weight"]  # room for eight more bits
    assert mean(total << 8, weight, 8).tolist() == mean(total, weight).tolist()


@pytest.mark.parametrize("case", GOLDEN["move"])
def test_a_move_equals_the_golden_vectors(case: dict[str, Any]) -> None:
    server = int64s(case["server"])
    shift = exponent_shift(largest_view(server), case["w_exp"])
    assert case["w_exp"] + shift == case["w_exp_after"]
    moved = scaled(server, shift)
    assert moved.tolist() == int64s(case["moved"]).tolist()
    assert view_of_masters(exact_masters(moved)) == b64decode(case["stored"])


def test_the_view_of_biases_equals_the_golden_vectors() -> None:
    case = GOLDEN["bias"]
    assert view_of_biases(exact_biases(int64s(case["server"]))) == b64decode(case["view"])


@pytest.mark.parametrize(
    "masters", [[], [0], [3 << 16, -(5 << 16)], [-(1 << 15), 1 << 15], [32767]]
)
def test_largest_view_is_that_of_every_master(masters: list[int]) -> None:
    values = np.array(masters, np.int64)
    assert largest_view(values) == int(np.abs(rshift(values, 16)).max(initial=0))


@pytest.mark.parametrize("shift", [-24, -12, -1, 0, 1, 30])
def test_scaled_never_leaves_its_limits(shift: int) -> None:
    ends = np.array([-(2**48), -(2**47), -1, 0, 1, 2**47 - 1, 2**47, 2**48])
    exact = [
        (value << -shift) if shift < 0 else ((value + (1 << shift >> 1)) >> shift)
        for value in ends.tolist()
    ]
    expected = [max(-VALUE_LIMIT, min(VALUE_LIMIT, value)) for value in exact]
    assert scaled(ends, shift).tolist() == expected
