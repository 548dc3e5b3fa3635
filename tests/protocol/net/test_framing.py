"""Packets within the limit pass untouched however they are cut; larger ones lose their payload."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.net.framing import Framing, FramingError, packet_size, publish_size


def length(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | 128 if value else low)
        if not value:
            return bytes(out)


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
    framing = Framing(limit=400)
    assert feed_cut(framing, b"".join(packets), cuts) == b"".join(packets)
    assert framing.emptied == 0


@given(st.integers(1, 500), st.none() | st.just(9), CUTS)
def test_feed_oversized_publish_comes_empty(
    extra: int, packet_id: int | None, cuts: list[int]
) -> None:
    framing = Framing(limit=100)
    before, after = publish(b"a", b"x"), publish(b"b", b"y", None)
    data = before + publish(b"topic", bytes(100 + extra), packet_id) + after
    assert feed_cut(framing, data, cuts) == before + publish(b"topic", b"", packet_id) + after
    assert framing.emptied == 1


def test_feed_oversized_control_packet_is_an_error() -> None:
    with pytest.raises(FramingError, match="type 9"):
        Framing(limit=10).feed(b"\x90\x0b" + bytes(11))


def test_feed_length_of_five_bytes_is_an_error() -> None:
    with pytest.raises(FramingError, match="more than 4"):
        Framing(limit=10).feed(b"\x30\xff\xff\xff\xff\x01")


def test_feed_topic_longer_than_its_packet_is_an_error() -> None:
    with pytest.raises(FramingError, match="longer than"):
        Framing(limit=10).feed(b"\x32\x0b\xff\xff" + bytes(9))


@given(st.text(min_size=1, max_size=40), st.sampled_from([0, 100, 127, 128, 16_300, 2_097_152]))
def test_publish_size_is_that_of_the_packet(topic: str, length: int) -> None:
    payload = bytes(length)
    assert publish_size(topic, len(payload)) == len(publish(topic.encode(), payload))


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_packet_size_counts_the_bytes_of_the_length(value: int) -> None:
    assert packet_size(value) == 1 + len(length(value)) + value
