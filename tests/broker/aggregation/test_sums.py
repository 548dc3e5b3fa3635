from array import array
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_broker.aggregation.limits import PIECE
from fedling_broker.aggregation.sums import Sum, from_bytes, to_bytes
from fedling_broker.aggregation.vectors import Vector, decode
from fedling_native import dense
from fedling_protocol.wire.codecs import Codec

LAYERS = (dense(3, 4, relu=True), dense(4, 2))
WEIGHTS, BIASES = 3 * 4 + 4 * 2, 4 + 2
VALUES = WEIGHTS + BIASES

ends = st.sampled_from([-1, 0])
weights_of = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=WEIGHTS, max_size=WEIGHTS)
biases_of = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=BIASES, max_size=BIASES)


def raw(weights: list[int], biases: list[int]) -> bytes:
    return array("h", weights).tobytes() + array("i", biases).tobytes()


@settings(deadline=None)
@given(st.lists(st.tuples(weights_of, biases_of, st.integers(1, 2**27)), max_size=6))
def test_a_sum_is_that_of_whole_numbers(updates: list[tuple[list[int], list[int], int]]) -> None:
    total, expected = Sum(LAYERS), [0] * VALUES
    for weights, biases, share in updates:
        total.add(decode(Codec.RAW_INT16, raw(weights, biases), LAYERS), share)
        values = weights + biases
        expected = [t + share * value for t, value in zip(expected, values, strict=True)]
    assert total.total.tolist() == expected
    assert total.weight == sum(share for _, _, share in updates)


def test_a_sum_reaches_its_bounds_exactly() -> None:
    total = Sum(LAYERS)
    lowest = raw([-(2**15)] * WEIGHTS, [-(2**31)] * BIASES)
    total.add(decode(Codec.RAW_INT16, lowest, LAYERS), 2**30)
    assert total.total.tolist() == [-(2**45)] * WEIGHTS + [-(2**61)] * BIASES


def test_a_vector_of_many_pieces_is_added_whole() -> None:
    layers = (dense(PIECE + 1, 3),)
    count = 3 * (PIECE + 1)
    values = np.arange(count + 3) % 2000 - 1000
    payload = values[:count].astype("<i2").tobytes() + values[count:].astype("<i4").tobytes()
    total, vector = Sum(layers), decode(Codec.RAW_INT16, payload, layers)
    total.add(vector, 7)
    total.add(vector, 1)
    assert np.array_equal(total.total, 8 * values)


ZEROS = Vector(np.zeros(WEIGHTS, np.int16), np.zeros(BIASES, np.int32))


@pytest.mark.parametrize(
    "vector",
    [
        ZEROS._replace(weights=np.ones(WEIGHTS + 1, np.int16)),
        ZEROS._replace(biases=np.ones(BIASES - 1, np.int32)),
        ZEROS._replace(fraction=8),
    ],
)
def test_a_vector_of_another_kind_changes_nothing(vector: Vector) -> None:
    total = Sum(LAYERS)
    with pytest.raises(ValueError, match=r"the sum has \(20, 6, 0\)"):
        total.add(vector, 1)
    assert (total.weight, int(np.count_nonzero(total.total))) == (0, 0)


def test_more_weight_than_64_bits_hold_is_refused() -> None:
    total = Sum(LAYERS)
    vector = ZEROS._replace(weights=np.ones(WEIGHTS, np.int16))
    total.add(vector, 2**30)
    before = total.total.tolist()
    for weight in (1, 0, -1):
        with pytest.raises(ValueError, match="1073741824"):
            total.add(vector, weight)
    assert (total.weight, total.total.tolist()) == (2**30, before)


def test_group_names_its_members_in_order() -> None:
    total = Sum(LAYERS)
    total.add(ZEROS, 5)
    group = total.group(["b", "a"])
    assert (group.members, group.weight) == (("a", "b"), 5)
    assert group.vector is total.total


def test_from_bytes_reverses_to_bytes() -> None:
    values = np.arange(VALUES, dtype=np.int64) - 2**60
    assert from_bytes(to_bytes(values), LAYERS).tolist() == values.tolist()
    with pytest.raises(ValueError, match="bytes"):
        from_bytes(to_bytes(values)[:-1], LAYERS)


estimates_of = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=VALUES, max_size=VALUES)


@settings(deadline=None)
@given(
    st.lists(st.tuples(estimates_of, st.integers(1, 2**27)), min_size=1, max_size=6), st.randoms()
)
def test_a_sum_of_estimates_is_that_of_whole_numbers_in_any_order(
    updates: list[tuple[list[int], int]], dice: Random
) -> None:
    expected = [sum(s * v[k] for v, s in updates) for k in range(VALUES)]
    dice.shuffle(updates)
    total = Sum(LAYERS, 8)
    for values, share in updates:
        whole = np.array(values, np.int32)
        total.add(Vector(whole[:WEIGHTS], whole[WEIGHTS:], 8), share)
    assert total.total.tolist() == expected
    assert total.group().fraction == 8
