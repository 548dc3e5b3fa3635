"""MQTT 3.1.1 packets written and read by hand, so that a load generator costs next to nothing.

OASIS MQTT 3.1.1, sections 2.2 and 3. Everything is QoS 1, as devices send and subscribe.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9
_WORD = struct.Struct(">H")


class NotMqtt(Exception):
    """The bytes are no packets of MQTT, or say that the broker refused."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A message as it came in; packet_id is 0 at QoS 0."""

    topic: str
    payload: bytes
    packet_id: int


def connect(client_id: str) -> bytes:
    """A clean session without a keepalive: the broker never thinks us dead."""
    return _packet(0x10, _text("MQTT") + bytes([4, 2]) + _WORD.pack(0) + _text(client_id))


def subscribe(packet_id: int, topics: Sequence[str]) -> bytes:
    """At QoS 1."""
    wanted = b"".join(_text(topic) + b"\x01" for topic in topics)
    return _packet(0x82, _WORD.pack(packet_id) + wanted)


def publish(topic: str, payload: bytes, packet_id: int) -> bytes:
    """At QoS 1, not retained. packet_id: 1 to 65,535."""
    return _packet(0x32, _text(topic) + _WORD.pack(packet_id) + payload)


def puback(packet_id: int) -> bytes:
    """The answer to a PUBLISH of QoS 1."""
    return b"\x40\x02" + _WORD.pack(packet_id)


def read_publish(flags: int, body: bytes) -> Publish:
    """flags: the low four bits of the packet's first byte."""
    (length,) = _WORD.unpack_from(body)
    end = 2 + length
    topic = body[2:end].decode()
    if not flags & 0b0110:
        return Publish(topic, body[end:], 0)
    return Publish(topic, body[end + 2 :], _WORD.unpack_from(body, end)[0])


class Splitter:
    """Cuts received bytes into packets: type, flags and body of each."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """The packets that are whole by now. Raises NotMqtt."""
        self._buffer += data
        start = 0
        while (found := _length(self._buffer, start + 1)) is not None:
            length, body = found
            if len(self._buffer) < body + length:
                break
            first = self._buffer[start]
            yield first >> 4, first & 15, bytes(self._buffer[body : body + length])
            start = body + length
        del self._buffer[:start]


def _length(data: bytearray, start: int) -> tuple[int, int] | None:
    """A remaining length and where it ends; None: it is not whole."""
    value = 0
    for place, byte in enumerate(data[start : start + 4]):
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, start + place + 1
    if len(data) >= start + 4:
        raise NotMqtt("a remaining length has more than 4 bytes")
    return None


def _packet(first: int, body: bytes) -> bytes:
    length, head = len(body), bytearray([first])
    while True:
        length, low = length >> 7, length & 127
        head.append(low | 128 if length else low)
        if not length:
            return bytes(head) + body


def _text(text: str) -> bytes:
    return _WORD.pack(len(text.encode())) + text.encode()
