"""What counts of an update, against whole numbers of Python, written from NUMERICS.md section 8."""

from array import array
from collections.abc import Sequence
from math import isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_broker.aggregation.limits import (
    NO_LIMIT,
    UNLIMITED,
    WHOLE,
    Limits,
    Sizes,
    limits_of,
    measure,
)
from fedling_broker.aggregation.sums import Sum
from fedling_broker.aggregation.vectors import Vector, decode
from fedling_native import dense
from fedling_protocol.wire.codecs import Codec

LAYERS = (dense(3, 4, relu=True), dense(4, 2))
FIRST, WEIGHTS, BIASES = 12, 12 + 8, 4 + 2

weights_of = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=WEIGHTS, max_size=WEIGHTS)
biases_of = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=BIASES, max_size=BIASES)
exponents_of = st.tuples(st.integers(-24, 7), st.integers(-24, 7))
sizes_of = st.builds(Sizes, st.integers(0, 2**58), st.integers(0, 2**58), st.integers(1, 2**30))


def raw(weights: Sequence[int], biases: Sequence[int]) -> bytes:
    return array("h", weights).tobytes() + array("i", biases).tobytes()


def sizes(
    weights: Sequence[int], biases: Sequence[int], exponents: Sequence[int], examples: int = 1
) -> Sizes:
    vector = decode(Codec.RAW_INT16, raw(weights, biases), LAYERS)
    return measure(LAYERS, exponents, vector, examples)


@given(weights_of, biases_of, exponents_of)
def test_lengths_are_those_of_real_values(
    weights: list[int], biases: list[int], exponents: tuple[int, int]
) -> None:
    found = sizes(weights, biases, exponents, 7)
    first, second = (2 ** (e + 24) for e in exponents)
    values = [w * first for w in weights[:FIRST]] + [w * second for w in weights[FIRST:]]
    assert found.weights == isqrt(sum(v * v for v in values))
    assert found.biases == isqrt(sum(b * b for b in biases))
    assert found.examples == 7


def test_the_longest_update_is_measured_exactly() -> None:
    found = sizes([-(2**15)] * WEIGHTS, [-(2**31)] * BIASES, (7, 7))
    assert found.weights == isqrt(WEIGHTS * (2**15 * 2**31) ** 2)
    assert found.biases == isqrt(BIASES * 2**62)


@given(weights_of, biases_of, exponents_of, st.integers(1, 2**40), st.integers(1, 2**33))
def test_what_is_added_is_no_longer_than_the_limit(
    weights: list[int], biases: list[int], exponents: tuple[int, int], most: int, most_biases: int
) -> None:
    before = sizes(weights, biases, exponents)
    shares = Limits(most, most_biases, 2**30).shares(before)
    total = Sum(LAYERS)
    total.add(decode(Codec.RAW_INT16, raw(weights, biases), LAYERS), 3, shares)
    expected = [
        3 * nearest(v, limit, norm)
        for values, limit, norm in (
            (weights, most, before.weights),
            (biases, most_biases, before.biases),
        )
        for v in values
    ]
    assert total.total.tolist() == expected


def nearest(value: int, limit: int, norm: int) -> int:
    """value x limit / norm as section 8 has it; the value if it is short enough."""
    if norm <= limit:
        return value
    share = limit * 2**16 // norm
    return (value * share + 2**15) // 2**16


@given(st.lists(sizes_of, min_size=1, max_size=7), st.integers(1, 1024))
def test_limits_are_multiples_of_the_middle_round(rounds: list[Sizes], clip_q8: int) -> None:
    found = limits_of(rounds, clip_q8)
    for name in ("weights", "biases", "examples"):
        ordered = sorted(getattr(sizes, name) for sizes in rounds)
        middle, limit = ordered[(len(ordered) - 1) // 2], getattr(found, name)
        assert limit == max(1, middle if name == "examples" else middle * clip_q8 // 256)
    assert found.steps == 1


@given(sizes_of)
def test_nothing_is_limited_without_rounds_or_a_clip(sizes: Sizes) -> None:
    for limits in (limits_of([], 256), limits_of([sizes], 0)):
        assert limits == UNLIMITED
        assert limits.steps is None
        assert limits.shares(sizes) == WHOLE
    assert UNLIMITED.weights == NO_LIMIT


@pytest.mark.parametrize("liars", [1, 2])
def test_half_of_the_rounds_cannot_raise_a_limit(liars: int) -> None:
    honest, huge = Sizes(100, 10, 50), Sizes(2**58, 2**58, 2**30)
    assert limits_of([honest] * 2 + [huge] * liars, 256) == Limits(100, 10, 50)


def test_share_of_a_huge_update_may_be_nothing() -> None:
    shares = Limits(1, 1, 1).shares(Sizes(2**17, 2, 1))
    assert shares == (0, 2**15)
    total = Sum(LAYERS)
    vector = decode(Codec.RAW_INT16, raw([2**15 - 1] * WEIGHTS, [5] * BIASES), LAYERS)
    total.add(vector, 1, shares)
    assert np.array_equal(total.total, [0] * WEIGHTS + [3] * BIASES)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=26, max_size=26), exponents_of)
def test_lengths_of_estimates_are_in_the_same_unit(
    values: list[int], exponents: tuple[int, int]
) -> None:
    estimate = np.array(values, np.int32)
    found = measure(LAYERS, exponents, Vector(estimate[:WEIGHTS], estimate[WEIGHTS:], 8), 7)
    first, second = (2 ** (e + 24) for e in exponents)
    units = [first] * FIRST + [second] * (WEIGHTS - FIRST)
    squares = sum((v * u) ** 2 for v, u in zip(values, units, strict=False))
    assert found == (isqrt(squares >> 16), isqrt(sum(v * v for v in values[WEIGHTS:]) >> 16), 7)
