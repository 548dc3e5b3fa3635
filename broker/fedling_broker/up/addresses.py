"""Where devices find this machine, and whether its ports are free."""

import errno
import socket
from collections.abc import Iterator

from fedling_protocol.exits import Exit, Failure
from fedling_protocol.wire.names import is_host

# Nothing is sent there (RFC 5737): the kernel tells from which address it would be.
ELSEWHERE = ("192.0.2.1", 9)
HERE = "127.0.0.1"


def own_address() -> str:
    """The address by which others of the network know this machine; loopback if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(ELSEWHERE)
        except OSError:
            return HERE
        return str(probe.getsockname()[0])


def names(fleet_name: str, host: str) -> list[str]:
    """What the MQTT broker's certificate proves: the fleet's own name first, then the machine's."""
    own = socket.gethostname()
    candidates = [fleet_name, host, own, f"{own.partition('.')[0]}.local", "localhost", HERE, "::1"]
    return [name for name in dict.fromkeys(candidates) if is_host(name)]


def check_free(*ports: int) -> None:
    """Raise Failure if somebody listens on one of them, in a sentence with its number."""
    for port in ports:
        for family, address in _everywhere():
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                _try(probe, address, port)


def _try(probe: socket.socket, address: str, port: int) -> None:
    try:
        probe.bind((address, port))
    except PermissionError as error:
        raise Failure(
            f"port {port} is for root: take another one, of 1024 or more: --port",
            Exit.NOT_ALLOWED,
        ) from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:  # a machine without IPv6
            return
        raise Failure(
            f"another program listens on port {port}: end it, or take another port: --port",
            Exit.UNAVAILABLE,
        ) from error


def _everywhere() -> Iterator[tuple[socket.AddressFamily, str]]:
    yield socket.AF_INET, ""
    if socket.has_ipv6:
        yield socket.AF_INET6, "::"
