"""The bytes below MQTT: a connected TCP socket as it is; TLS will be a second row here.

Nothing here blocks. A transport may hold bytes that no selector tells of (TLS decrypts whole
records): who reads goes on until BlockingIOError.
"""

import socket
from collections.abc import Callable
from typing import Protocol


class Transport(Protocol):
    """A stream of bytes over one TCP connection."""

    def handshake(self) -> int | None:
        """Go on with the handshake; what it waits for, READ or WRITE, or None. Raises OSError."""

    def recv(self, count: int) -> bytes:
        """Read at least one byte, or none at the end. Raises BlockingIOError, OSError."""

    def send(self, data: bytes) -> int:
        """Send; returns how many bytes were taken. Raises BlockingIOError, OSError."""


Wrap = Callable[[socket.socket], Transport]
"""Makes a transport of a socket that is connected and does not block."""


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
