"""The way to the MQTT broker, as far as it is known: the link writes it, sensors read it."""

import socket
from typing import Any

from fedling_protocol.classes import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """One address of a name, as socket.socket() and connect() want it."""

    family: int
    kind: int
    protocol: int
    address: tuple[Any, ...]


class Way:
    """What one end knows of the way to host and port. Written in the loop, read anywhere."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.connected = False
        self.addresses = numeric(host, port)  # the last that were found; empty: none yet
        self.failure = ""  # why the last look-up found none

    @property
    def words(self) -> str:
        """Write host and port as people do."""
        return f"{self.host}:{self.port}"


def numeric(host: str, port: int) -> tuple[Found, ...]:
    """The address of a host that is a number; nothing of a name. Asks nobody."""
    try:
        return addresses(host, port, socket.AI_NUMERICHOST)
    except OSError:
        return ()


def addresses(host: str, port: int, flags: int = 0) -> tuple[Found, ...]:
    """Look a name up: this may take a minute. Raises OSError."""
    try:
        rows = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, flags)
    except ValueError as error:  # UnicodeError: a label is empty or too long; a NUL
        raise OSError("not a host name") from error
    return tuple(Found(family, kind, protocol, tuple(a)) for family, kind, protocol, _, a in rows)


def source_of_route(to: Found) -> str:
    """Ask the kernel which of our addresses a packet to there would have. Sends nothing.

    Raises OSError if no route leads there. A routing table says less: there are rules, further
    tables, and links that carry traffic though they do not say so.
    """
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(to.family, kind) as probe:
        probe.connect(to.address)
        return str(probe.getsockname()[0])
