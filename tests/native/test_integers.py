"""Integers in few bytes (NUMERICS.md section 11): round trips, what they cost, refusals."""

import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_native import NativeError
from fedling_native.integers import read_integers, write_integers

RUN, ZEROS, LEAPS, MOST_LEAP = 1024, 22, 21, 10
FIRST_STATE = 1 << 16

steps = st.lists(
    st.one_of(st.just(0), st.integers(-3, 3), st.integers(-16_383, 16_383)),
    min_size=1,
    max_size=3 * RUN,
)


def message_of(values: list[int]) -> bytes:
    return write_integers(array("i", values))


def read(message: bytes, count: int) -> list[int]:
    return array("i", read_integers(message, count)).tolist()


@given(steps, st.integers(1, MOST_LEAP))
def test_multiples_come_back(values: list[int], leap: int) -> None:
    multiples = [value * leap for value in values]
    assert read(message_of(multiples), len(values)) == multiples


@given(steps, st.integers(2, MOST_LEAP))
def test_multiples_cost_a_number_a_run(values: list[int], leap: int) -> None:
    """However long the leap of a change, it is told in as many bits, and five for each run."""
    values[::RUN] = [1] * len(values[::RUN])  # no run has a leap of its own
    more = len(message_of([value * leap for value in values])) - len(message_of(values))
    assert 0 <= more <= -(-len(values) // RUN) * 5 // 8 + 4


def test_each_run_has_a_leap_of_its_own() -> None:
    values = [4, 0, -8] * 400 + [1, 0, 2] * 400
    assert read(message_of(values), len(values)) == values


def head_only(*numbers: int) -> bytes:
    """Write a run that has nothing but numbers of five bits, by hand."""
    state = FIRST_STATE
    for number in reversed(numbers):
        state = state << 5 | number
    return struct.pack("<II", state, FIRST_STATE)


def test_a_run_of_zeros_is_one_number() -> None:
    assert message_of([0] * 7) == head_only(ZEROS)


def test_zeros_may_have_a_leap() -> None:
    assert read(head_only(LEAPS + MOST_LEAP, ZEROS), 7) == [0] * 7


@pytest.mark.parametrize("second", [LEAPS + 2, 31])
def test_two_leaps_are_refused(second: int) -> None:
    with pytest.raises(NativeError):
        read(head_only(LEAPS + 2, second, ZEROS), 7)
