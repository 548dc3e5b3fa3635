"""Listings of frozen sets."""

import zlib

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.data import listing
from fedling_agent.data.windows import Windows
from fedling_protocol.runtime.slices import finish


def some(count: int, names: list[str]) -> Windows:
    windows = Windows(names)
    for at in range(count):
        windows.add(at * len(names) // count, (at * 70_001,), at % 3, at % 256)
    return windows


@given(
    st.one_of(st.sampled_from([1, 23, 24, 255, 256, 257]), st.integers(1, 700)),
    st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=5, unique=True),
)
def test_pieces_are_one_canonical_array(count: int, names: list[str]) -> None:
    windows = some(count, names)
    rows = [[e.recording, e.first, e.revision, e.label] for e in windows]
    whole = b"".join(listing.pieces(windows))
    assert whole == cbor2.dumps(rows, canonical=True)
    assert list(finish(listing.read(zlib.compress(whole)))) == list(windows)


@pytest.mark.parametrize("count", [0, 65_536])
def test_smallest_and_largest(count: int) -> None:
    windows = some(count, [f"a rather long name of a recording {n}" for n in range(100)])
    rows = [[e.recording, e.first, e.revision, e.label] for e in windows]
    whole = b"".join(listing.pieces(windows))
    assert whole == cbor2.dumps(rows, canonical=True)
    again = listing.read(zlib.compress(whole))
    assert list(finish(again)) == list(windows)


def test_a_long_listing_is_read_in_slices() -> None:
    whole = b"".join(listing.pieces(some(10_000, ["a", "b"])))
    assert sum(1 for _ in listing.read(zlib.compress(whole))) == 10_000 // listing.ROWS
