"""The bytes below MQTT: a connected TCP socket as it is; tls.py has another layer upon it.

Nothing here blocks. A transport may hold bytes that no selector tells of (TLS decrypts whole
records): who reads goes on until BlockingIOError.
"""

import socket
from collections.abc import Callable
from typing import Protocol

from fedling_protocol.classes import dataclass


class Revoked(ConnectionError):
    """The other end knows this one, and takes it no more. Says so, and what to do."""


class Transport(Protocol):
    """A stream of bytes over one TCP connection."""

    def handshake(self) -> int | None:
        """Go on with the handshake; what it waits for, READ or WRITE, or None. Raises OSError."""

    def recv(self, count: int) -> bytes:
        """Read at least one byte, or none at the end. Raises BlockingIOError, OSError."""

    def send(self, data: bytes) -> int:
        """Send; returns how many bytes were taken. Raises BlockingIOError, OSError.

        Who is told BlockingIOError offers the same bytes again.
        """

    def close(self) -> None:
        """Say goodbye, if that can be said at once; the socket is closed by who made it."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What lies between TCP and MQTT.

    wrap: makes a transport of a socket that is connected and does not block
    suspicion: what to ask of an MQTT broker that says nothing, or nothing that can be understood
    """

    wrap: Callable[[socket.socket], Transport]
    suspicion: str


class Plain:
    """TCP without anything: on loopback, or where the operator says so."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def handshake(self) -> int | None:
        return None

    def recv(self, count: int) -> bytes:
        return self._socket.recv(count)

    def send(self, data: bytes) -> int:
        return self._socket.send(data)

    def close(self) -> None:
        pass


PLAIN = Layer(
    Plain,
    "is this its port for plain MQTT, without TLS or WebSockets? For its TLS set mqtt.tls = true, "
    "for its WebSockets mqtt.websocket_path",
)
