"""Packets within the limit pass untouched however they are cut; larger ones lose their payload."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.net.framing import (
    LARGEST_ANSWER,
    SMALL,
    Framing,
    FramingError,
    packet_size,
    publish_size,
)
from tests.support.packets import length


def framing(**largest: int) -> Framing:
    """A filter that knows these topics."""
    return Framing(lambda topic: largest.get(topic, 0))


def publish(topic: bytes, payload: bytes, packet_id: int | None = 7) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic
    if packet_id is not None:
        body += packet_id.to_bytes(2, "big")
    body += payload
    return bytes([0x32 if packet_id is not None else 0x30]) + length(len(body)) + body


def feed_cut(framing: Framing, data: bytes, cuts: list[int]) -> bytes:
    """Feed data in pieces that end at the cuts."""
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    starts = [0, *ends]
    return b"".join(framing.feed(data[a:b]) for a, b in zip(starts, ends, strict=False))


PACKETS = st.lists(
    st.builds(
        publish,
        st.binary(min_size=1, max_size=20),
        st.binary(max_size=300),
        st.none() | st.integers(1, 65535),
    )
    | st.sampled_from([b"\xd0\x00", b"\x40\x02\x00\x07", b"\x20\x02\x00\x00"]),
    max_size=8,
)
CUTS = st.lists(st.integers(0, 2000), max_size=12)


@given(PACKETS, CUTS)
def test_feed_within_limit_is_identity(packets: list[bytes], cuts: list[int]) -> None:
    filter_ = framing(large=2 * SMALL)
    data = b"".join([*packets, publish(b"large", bytes(2 * SMALL)), *packets])
    assert feed_cut(filter_, data, cuts) == data
    assert filter_.emptied == 0


@given(st.integers(1, 500), st.none() | st.just(9), CUTS)
def test_feed_message_beyond_what_its_topic_carries_comes_empty(
    extra: int, packet_id: int | None, cuts: list[int]
) -> None:
    filter_ = framing(plan=SMALL, model=10 * SMALL)
    whole = publish(b"model", bytes(SMALL + extra), packet_id)
    data = whole + publish(b"plan", bytes(SMALL + extra), packet_id) + whole
    assert feed_cut(filter_, data, cuts) == whole + publish(b"plan", b"", packet_id) + whole
    assert filter_.emptied == 1


def test_feed_oversized_control_packet_is_an_error() -> None:
    with pytest.raises(FramingError, match="type 9"):
        framing().feed(b"\x90" + length(LARGEST_ANSWER + 1))


@pytest.mark.parametrize("first", [0x34, 0x3C, 0x35, 0x36])
def test_feed_message_of_a_quality_that_nobody_asked_for_is_an_error(first: int) -> None:
    """A client would keep those of quality 2 until the broker says that it may let them go."""
    with pytest.raises(FramingError, match=r"quality of service [23], which nobody asked for"):
        framing().feed(bytes([first]) + publish(b"a", b"x")[1:])


def test_feed_length_of_five_bytes_is_an_error() -> None:
    with pytest.raises(FramingError, match="more than 4"):
        framing().feed(b"\x30\xff\xff\xff\xff\x01")


def test_feed_topic_longer_than_its_packet_is_an_error() -> None:
    with pytest.raises(FramingError, match="longer than"):
        framing().feed(b"\x32" + length(SMALL + 1) + b"\xff\xff" + bytes(SMALL))


@given(st.text(min_size=1, max_size=40), st.sampled_from([0, 100, 127, 128, 16_300, 2_097_152]))
def test_publish_size_is_that_of_the_packet(topic: str, length: int) -> None:
    payload = bytes(length)
    assert publish_size(topic, len(payload)) == len(publish(topic.encode(), payload))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_packet_size_counts_the_bytes_of_the_length(value: int) -> None:
    assert packet_size(value) == 1 + len(length(value)) + value
