import hashlib
import json
import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_broker.aggregation.state import finish
from fedling_broker.aggregation.tagged import HASHED, MAX_HEADER, Reader, Writer, sha256

VALUES = {"master": [1, -(2**63), 2**63 - 1], "optimiser.velocity": [-7, 8, 9]}
TEXTS = {"exponents": "-7 3", "format": "x"}


def written(values: dict[str, list[int]], texts: dict[str, str]) -> bytes:
    file = BytesIO()
    writer = Writer(file, {name: len(v) for name, v in values.items()}, texts)
    for name, numbers in values.items():
        writer.write(name, 0, np.array(numbers, np.int64))
    return file.getvalue()


def test_the_file_is_as_the_format_says() -> None:
    data = written(VALUES, TEXTS)
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert header == {
        "__metadata__": TEXTS,
        "master": {"dtype": "I64", "shape": [3], "data_offsets": [0, 24]},
        "optimiser.velocity": {"dtype": "I64", "shape": [3], "data_offsets": [24, 48]},
    }
    assert struct.unpack("<6q", data[8 + length :]) == (1, -(2**63), 2**63 - 1, -7, 8, 9)


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)
numbers = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9)


@given(st.dictionaries(names, numbers, max_size=4), st.dictionaries(names, names, max_size=3))
def test_what_was_written_is_read(values: dict[str, list[int]], texts: dict[str, str]) -> None:
    reader = Reader(BytesIO(written(values, texts)))
    assert reader.metadata == texts
    assert reader.counts == {name: len(v) for name, v in values.items()}
    for name, expected in values.items():
        for start in range(len(expected) + 1):
            assert reader.read(name, start, len(expected)).tolist() == expected[start:]


def test_blocks_may_be_written_in_any_order() -> None:
    file = BytesIO()
    writer = Writer(file, {"a": 5, "b": 2}, {})
    writer.write("b", 1, np.array([7]))
    writer.write("a", 3, np.array([4, 5]))
    writer.write("b", 0, np.array([6]))
    writer.write("a", 0, np.array([1, 2, 3]))
    assert file.getvalue() == written({"a": [1, 2, 3, 4, 5], "b": [6, 7]}, {})


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (2, 1), (0, 4), (4, 4)])
def test_values_outside_an_array_are_refused(start: int, stop: int) -> None:
    reader = Reader(BytesIO(written(VALUES, TEXTS)))
    with pytest.raises(ValueError, match="has no values"):
        reader.read("master", start, stop)
    with pytest.raises(ValueError, match="has no values"):
        reader.read("other", 0, 0)


def test_a_file_that_is_cut_while_it_is_read_is_refused() -> None:
    file = BytesIO(written(VALUES, TEXTS))
    reader = Reader(file)
    file.truncate(len(file.getvalue()) - 1)
    assert reader.read("optimiser.velocity", 0, 2).tolist() == [-7, 8]
    with pytest.raises(ValueError, match="ends too early"):
        reader.read("optimiser.velocity", 0, 3)


def with_header(header: bytes, data: bytes = bytes(24)) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A file with one array `a` of three values, and something wrong in its header."""
    header = {
        "__metadata__": {},
        "a": {"dtype": "I64", "shape": [3], "data_offsets": [0, 24]},
    }
    change(header)
    text = json.dumps(header, separators=(",", ":")).encode()
    return with_header(text + b" " * (-len(text) % 8))


def test_the_header_that_is_changed_below_is_right() -> None:
    assert Reader(BytesIO(changed(lambda header: None))).counts == {"a": 3}


def tag(**values: object) -> Callable[[dict[str, Any]], object]:
    return lambda header: header["a"].update(values)


SMALL = {"shape": [0], "dtype": "I64", "data_offsets": [24, 24]}
HOSTILE = {
    "empty": b"",
    "cut in its length": b"\x10\0\0",
    "no header": bytes(8),
    "a header of 2^64 - 1 bytes": b"\xff" * 8 + b"{}",
    "a header above the limit": with_header(b"{}" + b" " * (MAX_HEADER - 1)),
    "a header that is cut": (64).to_bytes(8, "little") + b"{}",
    "no JSON": with_header(b"master  "),
    "no UTF-8": with_header(b"\xff\xfe    {}"),
    "deep": with_header(b"[" * 60_000),
    "no object": with_header(b"[]      "),
    "a number with 5000 digits": with_header(b'{"a":' + b"9" * 5000 + b"}  "),
    "a tag that is no object": changed(lambda header: header.update(a=3)),
    "no shape": changed(lambda header: header["a"].pop("shape")),
    "two dimensions": changed(tag(shape=[3, 1])),
    "a negative shape": changed(tag(shape=[-3])),
    "a shape that is true": changed(tag(shape=[True], data_offsets=[0, 8])),
    "a huge shape": changed(tag(shape=[2**70], data_offsets=[0, 2**73])),
    "another type": changed(tag(dtype="F64")),
    "a hole": changed(tag(data_offsets=[8, 32])),
    "an array over its neighbour": changed(tag(data_offsets=[0, 16])),
    "an unknown key": changed(tag(more=1)),
    "keys in another order": changed(lambda header: header.update(b=SMALL)),
    "metadata that is no object": changed(lambda header: header.update(__metadata__=[])),
    "a metadata number": changed(lambda header: header.update(__metadata__={"x": 1})),
    "no metadata": changed(lambda header: header.pop("__metadata__")),
    "a key twice": with_header(b'{"__metadata__":{},"__metadata__":{}}   ', b""),
    "spaces": with_header(b'{"__metadata__": {}}    ', b""),
    "arrays cut short": changed(lambda header: None)[:-1],
    "arrays too long": changed(lambda header: None) + b"\0",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".{9}"):
        Reader(BytesIO(data))


@given(st.binary(max_size=200), st.integers(0, 200))
def test_only_value_error_escapes(noise: bytes, place: int) -> None:
    data = bytearray(written(VALUES, TEXTS))
    data[place : place + len(noise)] = noise
    try:
        reader = Reader(BytesIO(data))
    except ValueError:
        return
    for name, count in reader.counts.items():
        assert len(reader.read(name, 0, count)) == count


def test_sha256_is_that_of_the_whole_file() -> None:
    data = bytes(range(256)) * (2 * HASHED // 256) + b"end"
    assert finish(sha256(BytesIO(data))) == hashlib.sha256(data).digest()
