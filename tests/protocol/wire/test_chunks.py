"""How a message is cut, and how it is told what of it is here."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.wire.chunks import Whole, bits, count, has
from fedling_protocol.wire.limits import MAX_CHUNKS, MAX_HERE

MESSAGE = bytes(range(256)) * 3 + b"rest"
WHOLE = Whole(hashlib.sha256(MESSAGE).digest(), len(MESSAGE), 256)


def test_chunks_in_order_are_the_message() -> None:
    chunks = [WHOLE.chunk(MESSAGE, n) for n in range(WHOLE.count)]
    assert b"".join(chunk.data for chunk in chunks) == MESSAGE
    assert [len(chunk.data) for chunk in chunks] == [256, 256, 256, 4]
    assert all(WHOLE.fits(chunk, n) for n, chunk in enumerate(chunks))


def test_chunk_fits_its_own_place_only() -> None:
    last = WHOLE.chunk(MESSAGE, 3)
    assert not WHOLE.fits(last, 2)
    assert not WHOLE.fits(WHOLE.chunk(MESSAGE, 0), 3)
    assert not WHOLE.fits(WHOLE.chunk(MESSAGE, 0), 4)


@given(st.sets(st.integers(0, MAX_CHUNKS - 1)))
def test_bits_say_which(numbers: set[int]) -> None:
    here = bits(numbers)
    assert len(here) <= MAX_HERE
    assert {n for n in range(MAX_CHUNKS) if has(here, n)} == numbers
    assert count(here) == len(numbers)


def test_bits_of_none_are_no_bytes() -> None:
    assert bits([]) == b""
    assert bits([0]) == b"\x01"
    assert bits([9]) == b"\x00\x02"
