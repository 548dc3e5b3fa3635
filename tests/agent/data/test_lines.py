"""Bytes in pieces of any size to lines."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.data.lines import MAX_ROW, Lines
from fedling_protocol.disk.errors import BadInput


@given(st.lists(st.binary(max_size=12).filter(lambda b: not {0, 13} & {*b}), max_size=12))
def test_pieces_do_not_matter(pieces: list[bytes]) -> None:
    whole, lines = b"x" + b"".join(pieces), Lines()
    found = lines.feed(b"x") + [line for piece in pieces for line in lines.feed(piece)]
    assert lines.pending == (not whole.endswith(b"\n"))
    found += lines.end()
    expected = [raw.decode(errors="replace") for raw in whole.split(b"\n")]
    assert found == [line + "\n" for line in expected[:-1]] + [x for x in expected[-1:] if x]
    assert lines.count == len(found)


def test_line_without_end_takes_bounded_memory() -> None:
    lines = Lines()
    for _ in range(50):
        assert lines.feed(b"1" * MAX_ROW) == []
    assert len(lines._rest) == MAX_ROW + 1
    assert [len(line) for line in lines.feed(b"\na,up,1,2\n")] == [MAX_ROW + 1, 9]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("recording,x\n".encode("utf-16"), "UTF-16"),
        (b"\xfe\xff" + "recording,x\n".encode("utf-16-be"), "UTF-16"),
        ("recording,x\n".encode("utf-16-le"), "zero bytes"),
        (gzip.compress(b"recording,x\n" * 1000, mtime=0), "gzip"),
        (b"PK\x03\x04rest", "ZIP archive"),
        (bytes(100), "zero bytes"),
    ],
)
def test_what_is_no_text_is_named(data: bytes, words: str) -> None:
    lines = Lines()
    with pytest.raises(BadInput, match=words):
        lines.feed(data) + lines.end()


def test_what_is_no_text_is_named_before_a_line_ends() -> None:
    with pytest.raises(BadInput, match="zero bytes"):
        Lines().feed(bytes(MAX_ROW + 1))


@pytest.mark.parametrize("data", [b"", b"\n\n", b" \t\r\n"])
def test_nothing_but_space_is_empty(data: bytes) -> None:
    lines = Lines()
    lines.feed(data)
    lines.end()
    assert lines.empty
    lines.feed(b"a\n")
    assert not lines.empty


def _all(data: bytes) -> list[str]:
    lines = Lines()
    return lines.feed(data) + lines.end()


@pytest.mark.parametrize("size", [20, 2 * MAX_ROW])
def test_lines_that_end_with_cr_alone_are_named(size: int) -> None:
    with pytest.raises(BadInput, match="end with CR alone"):
        _all(b"time,x\r" + b"1,2\r" * size)
    for ends in (b"\r\n", b"\n\r", b"\r\r\n"):
        assert len(Lines().feed(b"time,x" + ends + b"1,2" + ends)) == 2
