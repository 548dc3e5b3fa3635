"""The reader of CBOR from outside: what it takes, cbor2 reads and writes back the same."""

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_protocol.wire import bounded
from fedling_protocol.wire.limits import MAX_DEPTH, MAX_ITEMS
from fedling_protocol.wire.refused import Reason, Refused
from tests.protocol.by_hand import Value, cbor, head
from tests.protocol.samples import MESSAGES, payload

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=30)
    | st.text(max_size=20)
)
TREES: st.SearchStrategy[Value] = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, 2**64 - 1), inner, max_size=4)
    ),
    max_leaves=12,
)


def refused(data: bytes) -> bool:
    try:
        bounded.read(data)
    except Refused as error:
        return error.reason is Reason.CBOR
    return False


def assert_same(one: Value, other: Value) -> None:
    """Of the same types, too: True is no 1, and what is read of a view is no view."""
    assert cbor(one) == cbor(other)


def depth(value: Value) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, dict | list) + max(map(depth, inner), default=0)


@given(TREES)
@settings(max_examples=60)
def test_read_takes_what_is_in_deterministic_encoding(value: Value) -> None:
    if depth(value) > MAX_DEPTH:
        assert refused(cbor(value))
    else:
        assert_same(bounded.read(cbor(value)), value)
        assert_same(bounded.read(memoryview(cbor(value))), value)


@given(st.binary(max_size=60))
def test_read_takes_nothing_that_cbor2_reads_or_writes_otherwise(data: bytes) -> None:
    if not refused(data):
        assert_same(bounded.read(data), cbor2.loads(data))
        assert cbor2.dumps(cbor2.loads(data), canonical=True) == data


@given(st.sampled_from(MESSAGES), st.data())
def test_read_on_a_damaged_message(name: str, data: st.DataObject) -> None:
    whole = bytearray(payload(name))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    if not refused(bytes(whole)):
        assert_same(bounded.read(bytes(whole)), cbor2.loads(bytes(whole)))
        assert cbor2.dumps(cbor2.loads(bytes(whole)), canonical=True) == whole


@pytest.mark.parametrize("name", MESSAGES)
def test_read_on_every_cut(name: str) -> None:
    whole = payload(name)
    assert not refused(whole)
    assert all(refused(whole[:end]) for end in range(len(whole)))
    assert refused(whole + b"\0")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "empty"),
        ("1800", "0 in two bytes"),
        ("190017", "23 in three bytes"),
        ("1a0000ffff", "65535 in five bytes"),
        ("1b00000000ffffffff", "2^32 - 1 in nine bytes"),
        ("5800", "a length in two bytes"),
        ("7800", "a text's length in two bytes"),
        ("5f40ff", "an indefinite byte string"),
        ("7f60ff", "an indefinite text"),
        ("9fff", "an indefinite array"),
        ("bfff", "an indefinite map"),
        ("ff", "break"),
        ("1c", "a reserved length"),
        ("1f", "an indefinite integer"),
        ("f7", "undefined"),
        ("e0", "simple value 0"),
        ("f8ff", "simple value 255"),
        ("f814", "false in two bytes"),
        ("f90000", "a half float"),
        ("fa00000000", "a float"),
        ("fb0000000000000000", "a double"),
        ("c001", "a tag"),
        ("d2810", "a tag and half a byte"),
        ("c249010000000000000000", "a big number"),
        ("d81c00", "a shareable value"),
        ("a16161f6", "a text as key"),
        ("a120f6", "a negative key"),
        ("a141610a", "bytes as key"),
        ("a18000", "an array as key"),
        ("a1a000", "a map as key"),
        ("a1f600", "null as key"),
        ("a200000000", "a key twice"),
        ("a201000000", "keys that fall"),
        ("a100", "a key without value"),
        ("61ff", "not UTF-8"),
        ("62c328", "not UTF-8 either"),
        ("63eda080", "half a surrogate pair"),
        ("6380", "a text cut off"),
        ("5bffffffffffffffff", "2^64 - 1 bytes"),
        ("9bffffffffffffffff", "2^64 - 1 items"),
        ("bbffffffffffffffff", "2^64 - 1 pairs"),
        ("9a7fffffff00", "2^31 - 1 items, one there"),
        ("0000", "two items"),
    ],
)
def test_read_refuses(data: str, why: str) -> None:
    assert refused(bytes.fromhex(data if len(data) % 2 == 0 else data[:-1])), why


def test_read_counts_levels() -> None:
    assert not refused(b"\x81" * (MAX_DEPTH - 1) + b"\x80")
    assert refused(b"\x81" * MAX_DEPTH + b"\x80")
    assert not refused(b"\xa1\x00" * (MAX_DEPTH - 1) + b"\xa0")
    assert refused(b"\xa1\x00" * MAX_DEPTH + b"\xa0")
    assert refused(b"\x81" * 100_000)


def test_read_counts_items() -> None:
    assert not refused(head(4, MAX_ITEMS - 1) + b"\0" * (MAX_ITEMS - 1))
    assert refused(head(4, MAX_ITEMS) + b"\0" * MAX_ITEMS)
    assert not refused(cbor(dict.fromkeys(range((MAX_ITEMS - 1) // 2), 0)))
    assert refused(cbor(dict.fromkeys(range(MAX_ITEMS // 2), 0)))
