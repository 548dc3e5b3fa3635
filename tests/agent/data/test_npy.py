"""Arrays of numpy, read without it: what numpy writes, and what nobody should write."""

import io
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedling_agent.data import npy
from fedling_protocol.disk.errors import BadInput

NUMBERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


def bytes_of(array: np.ndarray[Any, Any], version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def with_header(text: str, data: bytes = b"") -> bytes:
    return npy.MAGIC + b"\x01\0" + struct.pack("<H", len(text)) + text.encode() + data


def rows(data: bytes, width: int) -> list[tuple[npy.Value, ...]]:
    file = io.BytesIO(data)
    return list(npy.read_rows(file, npy.read_header(file, "a"), width, "a"))


@given(
    hnp.arrays(
        st.sampled_from([order + kind for order in "<>" for kind in NUMBERS]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
    ),
    st.booleans(),
    st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
def test_numbers_are_what_numpy_wrote(
    array: np.ndarray[Any, Any], fortran: bool, version: tuple[int, int]
) -> None:
    array = np.asfortranarray(array) if fortran else np.ascontiguousarray(array)
    width = max(1, array.shape[-1])
    expected = array.reshape(-1, width).tolist()
    found = [list(row) for row in rows(bytes_of(array, version), width)]
    assert repr(found) == repr(expected)  # a nan is one too


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), min_size=1),
    st.sampled_from("<>"),
)
def test_texts_are_what_numpy_wrote(texts: list[str], order: str) -> None:
    array = np.array(texts, f"{order}U9")
    assert [text for (text,) in rows(bytes_of(array), 1)] == array.tolist()


def test_more_than_a_block_is_read_in_pieces() -> None:
    array = np.arange(3 * npy.BLOCK, dtype=">f4").reshape(-1, 3)
    assert rows(bytes_of(array), 3) == [tuple(row) for row in array.tolist()]
    assert rows(bytes_of(np.asfortranarray(array)), 3) == [tuple(row) for row in array.tolist()]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{}], object), "objects, which are pickles and are never opened"),
        (np.array([b"walk"]), r"save it with \.astype\(str\)"),
        (np.zeros(2, [("ax", "f4")]), "records"),
        (np.array(["2026-01-01"], "M8[s]"), "dates"),
        (np.zeros(2, bool), r"dtype \|b1: allowed: int8"),
        (np.zeros(2, complex), "dtype <c16: allowed: int8"),
        (np.zeros(2, "U1025"), "dtype <U1025: allowed"),
        (np.zeros((1, 1, 1, 1)), r"shape \(1, 1, 1, 1\): allowed: 3 axes"),
        (np.asfortranarray(np.zeros((2**11, 2**11 + 1))), "ascontiguousarray"),
        (np.asfortranarray(np.zeros((2, 2), "U3")), "ascontiguousarray"),
    ],
)
def test_what_is_not_read_says_what_to_do(array: np.ndarray[Any, Any], words: str) -> None:
    file = io.BytesIO()
    np.save(file, array)
    file.seek(0)
    with pytest.raises(BadInput, match=f"^day: .*{words}"):
        npy.read_header(file, "day")


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x,y\n1,2\n",
        npy.MAGIC,
        npy.MAGIC + b"\x04\0" + bytes(64),
        npy.MAGIC + b"\x02\0" + struct.pack("<I", 2**31) + GOOD.encode(),
        bytes_of(np.zeros((1, 1)))[:-1],
        with_header(GOOD[:-9]),
        with_header("__import__('os').abort()"),
        with_header("[" * 4000),
        with_header("-" * 4000 + "1"),
        with_header("{**{}}"),
        with_header("{[]: 1}"),
        with_header(GOOD.replace("False", "0"), bytes(4)),
        with_header(GOOD.replace("(1, 1)", "[1, 1]"), bytes(4)),
        with_header(GOOD.replace("(1, 1)", "(1, True)"), bytes(4)),
        with_header(GOOD.replace("(1, 1)", "(-1, -1)"), bytes(4)),
        with_header(GOOD.replace("(1, 1)", f"({2**64}, 0)")),
        with_header(GOOD.replace("'<f4'", "None"), bytes(4)),
        with_header(GOOD.replace("'<f4'", "'<f4,<f4'"), bytes(4)),
        with_header(GOOD.replace("'<f4'", "'<U0'")),
    ],
)
def test_a_header_that_is_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match=r"^a: "):
        rows(data, 1)


@given(st.binary(max_size=200), st.integers(0, 200), st.sampled_from([np.int16, np.float64]))
def test_bytes_that_are_wrong_are_refused_or_are_values(
    junk: bytes, at: int, dtype: type[Any]
) -> None:
    good = bytes_of(np.arange(6, dtype=dtype).reshape(2, 3))
    for data in (junk, good[:at] + junk, good[:at] + junk[:2] + good[at + 2 :]):
        with suppress(BadInput):
            rows(data, 3)
