"""An MQTT broker in a page, which refuses or leaves out what others do: for one client."""

import socket
from collections.abc import Callable, Collection

from tests.support.packets import length, text
from tests.support.waiting import receive


def small_broker(
    *, wildcards: bool = True, refused: Collection[str] = (), late: bool = False
) -> Callable[[socket.socket], None]:
    """Make what talks to one client.

    wildcards: whether a filter with + brings what is retained; RabbitMQ's does not
    refused:   filters whose subscription is answered by 0x80
    late:      the first subscription of a filter comes before anything is retained, as at a NATS
               that is busy
    """
    retained: dict[str, bytes] = {}
    filters: set[str] = set()
    asked: set[str] = set()  # filters, ever

    def publish(peer: socket.socket, topic: str, payload: bytes) -> None:
        body = text(topic) + payload
        peer.sendall(b"\x30" + length(len(body)) + body)

    def on_publish(peer: socket.socket, head: int, body: bytes) -> None:
        length = int.from_bytes(body[:2], "big")
        topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
        peer.sendall(b"\x40\x02" + rest[:2])
        if head & 1:
            retained[topic] = rest[2:]
        if any(_fits(filter_, topic) for filter_ in filters):
            publish(peer, topic, rest[2:])

    def on_subscribe(peer: socket.socket, body: bytes) -> None:
        wanted = _texts(body[2:], 1)
        codes = bytes(0x80 if filter_ in refused else 1 for filter_ in wanted)
        peer.sendall(b"\x90" + length(2 + len(codes)) + body[:2] + codes)
        early = set(wanted) - asked if late else set()
        asked.update(wanted)
        for filter_ in set(wanted) - set(refused) - early:
            filters.add(filter_)
            for topic, payload in retained.items():
                if payload and _fits(filter_, topic) and (wildcards or filter_ == topic):
                    publish(peer, topic, payload)

    def talk(peer: socket.socket) -> None:
        while packet := _read(peer):
            head, body = packet
            match head >> 4:
                case 1:
                    peer.sendall(b"\x20\x02\x00\x00")
                case 3:
                    on_publish(peer, head, body)
                case 8:
                    on_subscribe(peer, body)
                case 10:
                    filters.difference_update(_texts(body[2:], 0))
                    peer.sendall(b"\xb0\x02" + body[:2])
                case 14:
                    return

    return talk


def _read(peer: socket.socket) -> tuple[int, bytes] | None:
    head = peer.recv(1)
    if not head:
        return None
    length = shift = 0
    while True:
        byte = receive(peer, 1)[0]
        length, shift = length | (byte & 127) << shift, shift + 7
        if byte < 128:
            break
    return head[0], receive(peer, length)


def _texts(data: bytes, more: int) -> list[str]:
    """Texts with so many bytes behind each."""
    found = []
    while data:
        end = 2 + int.from_bytes(data[:2], "big")
        found.append(data[2:end].decode())
        data = data[end + more :]
    return found


def _fits(filter_: str, topic: str) -> bool:
    left, right = filter_.split("/"), topic.split("/")
    return len(left) == len(right) and all(a in ("+", b) for a, b in zip(left, right, strict=True))
