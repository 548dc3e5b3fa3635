from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_broker.aggregation.limits import PIECE
from fedling_broker.aggregation.sums import Sum, from_bytes, to_bytes
from fedling_native import dense, weights_size
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import CODEC_OF, PlanKind

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
        total.add(Codec.RAW_INT16, raw(weights, biases), share)
        values = weights + biases
        expected = [t + share * value for t, value in zip(expected, values, strict=True)]
    assert total.total.tolist() == expected
    assert total.weight == sum(share for _, _, share in updates)


def test_a_sum_reaches_its_bounds_exactly() -> None:
    total = Sum(LAYERS)
    total.add(Codec.RAW_INT16, raw([-(2**15)] * WEIGHTS, [-(2**31)] * BIASES), 2**30)
    assert total.total.tolist() == [-(2**45)] * WEIGHTS + [-(2**61)] * BIASES


def test_a_vector_of_many_pieces_is_added_whole() -> None:
    layers = (dense(PIECE + 1, 3),)
    count = 3 * (PIECE + 1)
    values = np.arange(count + 3) % 2000 - 1000
    payload = values[:count].astype("<i2").tobytes() + values[count:].astype("<i4").tobytes()
    total = Sum(layers)
    total.add(Codec.RAW_INT16, payload, 7)
    total.add(Codec.RAW_INT16, payload, 1)
    assert np.array_equal(total.total, 8 * values)


@pytest.mark.parametrize("size", [-1, 1, 2])
def test_a_payload_of_another_length_changes_nothing(size: int) -> None:
    total = Sum(LAYERS)
    with pytest.raises(ValueError, match="a vector of this model has 64"):
        total.add(Codec.RAW_INT16, b"\1" * (weights_size(LAYERS) + size), 1)
    assert (total.weight, int(np.count_nonzero(total.total))) == (0, 0)


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(ValueError, match="known are raw int16"):
        Sum(LAYERS).add("other", bytes(weights_size(LAYERS)), 1)  # type: ignore[arg-type]


def test_more_weight_than_64_bits_hold_is_refused() -> None:
    total = Sum(LAYERS)
    vector = b"\1" * weights_size(LAYERS)
    total.add(Codec.RAW_INT16, vector, 2**30)
    before = total.total.tolist()
    for weight in (1, 0, -1):
        with pytest.raises(ValueError, match="1073741824"):
            total.add(Codec.RAW_INT16, vector, weight)
    assert (total.weight, total.total.tolist()) == (2**30, before)


def test_group_names_its_members_in_order() -> None:
    total = Sum(LAYERS)
    total.add(Codec.RAW_INT16, bytes(weights_size(LAYERS)), 5)
    group = total.group(["b", "a"])
    assert (group.members, group.weight) == (("a", "b"), 5)
    assert group.vector is total.total


def test_from_bytes_reverses_to_bytes() -> None:
    values = np.arange(VALUES, dtype=np.int64) - 2**60
    assert from_bytes(to_bytes(values), LAYERS).tolist() == values.tolist()
    with pytest.raises(ValueError, match="bytes"):
        from_bytes(to_bytes(values)[:-1], LAYERS)


def test_every_codec_of_the_wire_can_be_added() -> None:
    for codec in {CODEC_OF[PlanKind.TRAIN]}:
        Sum(LAYERS).add(codec, bytes(weights_size(LAYERS)), 1)
