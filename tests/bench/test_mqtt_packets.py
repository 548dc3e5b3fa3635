"""The packets of the load generator are those of the standard, in whatever pieces they come."""

import pytest

from bench.support.mqtt_packets import (
    CONNACK,
    PUBACK,
    PUBLISH,
    NotMqtt,
    Publish,
    Splitter,
    connect,
    puback,
    publish,
    read_publish,
    subscribe,
)


def test_connect_is_that_of_the_standard() -> None:
    """OASIS MQTT 3.1.1, figure 3.6, with a clean session alone and no keepalive."""
    assert connect("a") == bytes.fromhex("100d 0004 4d515454 04 02 0000 0001 61")


def test_subscribe_names_each_topic_with_its_quality() -> None:
    assert subscribe(10, ["a/b", "+"]) == bytes.fromhex("820c 000a 0003 612f62 01 0001 2b 01")


@pytest.mark.parametrize("size", [0, 1, 117, 118, 16_374, 16_375, 2_097_142, 2_097_143])
def test_publish_is_read_again_around_each_length_of_its_length(size: int) -> None:
    payload = bytes(i & 255 for i in range(size))
    ((kind, flags, body),) = Splitter().feed(publish("a/b\u00e4", payload, 258))
    assert kind == PUBLISH
    assert read_publish(flags, body) == Publish("a/b\u00e4", payload, 258)


def test_read_publish_without_quality_has_no_packet_id() -> None:
    assert read_publish(0b0001, b"\x00\x01ahello") == Publish("a", b"hello", 0)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
def test_splitter_finds_the_packets_in_any_pieces(piece: int) -> None:
    stream = b"\x20\x02\x00\x00" + publish("t", b"x" * 300, 1) + puback(7)
    splitter = Splitter()
    found = [
        packet
        for at in range(0, len(stream), piece)
        for packet in splitter.feed(stream[at : at + piece])
    ]
    assert [kind for kind, _, _ in found] == [CONNACK, PUBLISH, PUBACK]
    assert [len(body) for _, _, body in found] == [2, 2 + 1 + 2 + 300, 2]


def test_splitter_refuses_a_length_without_end() -> None:
    with pytest.raises(NotMqtt, match="4 bytes"):
        list(Splitter().feed(b"\x30\xff\xff\xff\xff\x01"))
