"""Publishes packets made beforehand over a few connections, hears what many devices would hear."""

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence

from bench.support.mqtt_packets import (
    CONNACK,
    PUBLISH,
    SUBACK,
    NotMqtt,
    Publish,
    Splitter,
    connect,
    puback,
    read_publish,
    subscribe,
)

RECEIVE = 1 << 18  # bytes at once
GATHER = 64  # packets in one system call
ANSWER_S = 10.0  # mosquitto answers a CONNECT in milliseconds

Heard = Callable[[Publish], None]


class Late(Exception):
    """Something that had to happen did not; the message says what, and how far it came."""


class Generator:
    """One connection that listens, several that publish in turn."""

    def __init__(self, port: int, topics: Sequence[str], heard: Heard, senders: int = 8) -> None:
        """Returns when all are connected and the listener has subscribed."""
        self._selector = selectors.DefaultSelector()
        self._listener = _Connection(self._selector, port, "listener", heard)
        self._senders = [
            _Connection(self._selector, port, f"sender-{number}", heard)
            for number in range(senders)
        ]
        self._listener.send(subscribe(1, topics))
        everyone = [self._listener, *self._senders]
        self.until(
            lambda: all(c.connected for c in everyone) and self._listener.subscribed,
            "connections of the load generator",
            ANSWER_S,
        )

    def send(self, number: int, packet: bytes) -> None:
        """Queue a packet. Those of one number keep their order."""
        self._senders[number % len(self._senders)].send(packet)

    def turn(self, longest_s: float) -> None:
        """Wait for the sockets, send and receive what can be."""
        for key, events in self._selector.select(longest_s):
            key.data(events)

    def until(self, done: Callable[[], bool], what: str, patience_s: float) -> None:
        """Turn until something is true. Raises Late."""
        end = time.monotonic() + patience_s
        while not done():
            if time.monotonic() > end:
                raise Late(f"waited {patience_s:.0f} s for {what}")
            self.turn(0.05)

    def close(self) -> None:
        for connection in [self._listener, *self._senders]:
            connection.close()
        self._selector.close()

    def __enter__(self) -> "Generator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Connection:
    """One MQTT connection that never blocks once it is open."""

    def __init__(
        self, selector: selectors.BaseSelector, port: int, client_id: str, heard: Heard
    ) -> None:
        self.connected = False
        self.subscribed = False
        self._selector = selector
        self._heard = heard
        self._splitter = Splitter()
        self._out: deque[memoryview] = deque()
        self._socket = socket.create_connection(("127.0.0.1", port), ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._events = selectors.EVENT_READ
        selector.register(self._socket, self._events, self._on_ready)
        self.send(connect(client_id))

    def send(self, packet: bytes) -> None:
        self._out.append(memoryview(packet))
        self._want(selectors.EVENT_READ | selectors.EVENT_WRITE)

    def close(self) -> None:
        self._socket.close()

    def _want(self, events: int) -> None:
        if events != self._events:
            self._events = events
            self._selector.modify(self._socket, events, self._on_ready)

    def _on_ready(self, events: int) -> None:
        if events & selectors.EVENT_READ:
            self._read()
        if events & selectors.EVENT_WRITE:
            self._write()

    def _write(self) -> None:
        try:
            sent = self._socket.sendmsg([self._out[i] for i in range(min(GATHER, len(self._out)))])
        except BlockingIOError:
            return
        while self._out and sent >= len(self._out[0]):
            sent -= len(self._out.popleft())
        if sent:
            self._out[0] = self._out[0][sent:]
        if not self._out:
            self._want(selectors.EVENT_READ)

    def _read(self) -> None:
        data = self._socket.recv(RECEIVE)
        if not data:
            raise NotMqtt("mosquitto closed a connection of the load generator")
        acknowledged = bytearray()
        for kind, flags, body in self._splitter.feed(data):
            if kind == PUBLISH:
                message = read_publish(flags, body)
                if message.packet_id:
                    acknowledged += puback(message.packet_id)
                self._heard(message)
            elif kind in (CONNACK, SUBACK):
                self._answered(kind, body)
        if acknowledged:
            self.send(bytes(acknowledged))

    def _answered(self, kind: int, body: bytes) -> None:
        if kind == CONNACK:
            if body[1]:
                raise NotMqtt(f"mosquitto refused the load generator: code {body[1]}")
            self.connected = True
        else:
            if 0x80 in body[2:]:
                raise NotMqtt("mosquitto refused a subscription of the load generator")
            self.subscribed = True
