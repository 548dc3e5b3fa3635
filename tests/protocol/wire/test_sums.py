"""Sums as bytes: written, read, and believed only if samples can have them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_native import Normaliser, Sums
from fedling_protocol.wire.sums import MAX_SAMPLES, are_possible, pack, size, unpack

COUNTS = st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=30)


def sums_of(*channels: list[int]) -> Sums:
    """Python's own."""
    return Sums(
        len(channels[0]),
        tuple(sum(channel) for channel in channels),
        tuple(sum(value * value for value in channel) for channel in channels),
    )


def test_pack_writes_little_endian_words() -> None:
    found = pack(Sums(3, (-4, 5), (6, 2**63)))
    assert found == struct.pack("<QqQqQ", 3, -4, 6, 5, 2**63)
    assert unpack(found) == Sums(3, (-4, 5), (6, 2**63))
    assert len(found) == size(2)


@given(st.binary(max_size=100))
def test_unpack_of_any_bytes_is_refused_or_the_same_again(data: bytes) -> None:
    whole = len(data) > 8 and len(data) % 16 == 8
    if whole:
        assert pack(unpack(data)) == data
    else:
        with pytest.raises(ValueError, match="no sums"):
            unpack(data)


@given(st.lists(COUNTS, min_size=1, max_size=4))
def test_sums_of_samples_are_possible(channels: list[list[int]]) -> None:
    least = min(map(len, channels))
    sums = sums_of(*(channel[:least] for channel in channels))
    assert are_possible(sums)
    Normaliser.of(sums)


@pytest.mark.parametrize(
    "sums",
    [
        Sums(0, (0,), (0,)),
        Sums(MAX_SAMPLES + 1, (0,), (0,)),
        Sums(2, (2 * 2**15 + 1,), (2**31,)),
        Sums(2, (-2 * 2**15 - 1,), (2**31,)),
        Sums(2, (0,), (2**31 + 1,)),
        Sums(3, (9,), (26,)),
        Sums(3, (9, 9), (27, 26)),
    ],
)
def test_sums_that_no_samples_have_are_not_possible(sums: Sums) -> None:
    assert not are_possible(sums)


def test_sums_at_their_bounds_are_possible() -> None:
    for value in (-(2**15), 2**15 - 1, 0):
        assert are_possible(
            Sums(MAX_SAMPLES, (value * MAX_SAMPLES,), (value * value * MAX_SAMPLES,))
        )


@given(st.integers(1, MAX_SAMPLES), st.integers(-(2**40), 2**40), st.integers(0, 2**56))
def test_what_is_possible_has_a_normaliser(count: int, total: int, squares: int) -> None:
    """The kernel takes whatever is believed, so no update stops a round."""
    sums = Sums(count, (total,), (squares,))
    if are_possible(sums):
        Normaliser.of(sums)
