"""Bytes that went through a TCP socket, as the kernel counts them.

They include everything that MQTT and a TLS layer add, each byte once: what was sent again after a
loss, and the headers of TCP and IP, are not in it. linux/tcp.h, struct tcp_info.
"""

import fcntl
import socket
import struct
import sys
import termios

from fedling_protocol.classes import dataclass

_BYTES_AT = 120  # tcpi_bytes_acked, then tcpi_bytes_received, both uint64
_SENT_AT = 200  # tcpi_bytes_sent, then tcpi_bytes_retrans, both uint64; since Linux 4.19
_OLD_LENGTH, _LENGTH = _BYTES_AT + 16, _SENT_AT + 16


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes in both directions, seen from the socket's owner."""

    sent: int = 0
    received: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.sent + other.sent, self.received + other.received)

    def __sub__(self, other: "Traffic") -> "Traffic":
        return Traffic(self.sent - other.sent, self.received - other.received)

    def __bool__(self) -> bool:
        return bool(self.sent or self.received)


def of_socket(sock: socket.socket) -> Traffic:
    """Read bytes sent, whether they have arrived or not, and received, since the connect."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH)
    if len(info) < _OLD_LENGTH:  # a kernel before 4.1
        return Traffic()
    acked, received = struct.unpack_from("=QQ", info, _BYTES_AT)
    if len(info) < _LENGTH:
        # The kernel counts our SYN as an acknowledged byte (RFC 4898).
        return Traffic(max(0, acked - 1), received)
    sent, again = struct.unpack_from("=QQ", info, _SENT_AT)
    return Traffic(sent - again, received)


def unsent(sock: socket.socket) -> int:
    """Count the bytes that the other end's kernel has not acknowledged. tcp(7), SIOCOUTQ."""
    answer = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


class Meter:
    """What went through one socket since it was last asked."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._last = Traffic()

    def take(self) -> Traffic:
        """Count the bytes since the last take(). Works until the socket is closed."""
        current = of_socket(self._sock)
        new = current - self._last
        self._last = current
        return new
