"""The answer to a token, written down whole before anything is made of it.

From the moment that this file has its name the device is enrolled, whatever happens to the rest:
certificates, the pair of TLS and agent.toml follow from it, and are made again by the same command
if a kill or a power cut came between. It holds nothing secret.
"""

from pathlib import Path

from fedling_agent.enrol import asking
from fedling_agent.enrol.asking import Granted
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing
from fedling_protocol.wire.messages import Enrol
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.token import Token

FILE = "enrolment"
_NONCE, _TLS_KEY = 16, 33


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that is believed, and the key of TLS that it was for."""

    granted: Granted
    tls_key: bytes


def keep(directory: Path, ask: Enrol, answer: bytes) -> None:
    """Write an answer down that was believed. Raises CannotWrite."""
    with writing(str(directory / FILE)):
        durable.write_file(directory / FILE, ask.nonce + ask.tls_key + answer)


def find(directory: Path, key: bytes, token: Token) -> Kept | None:
    """Find the answer to this token; None: there is none. It is checked as if it came just now."""
    try:
        data = (directory / FILE).read_bytes()
    except FileNotFoundError:
        return None
    nonce, tls_key = data[:_NONCE], data[_NONCE : _NONCE + _TLS_KEY]
    ask = Enrol(key, nonce, tls_key)
    try:
        granted = asking.believe(data[_NONCE + _TLS_KEY :], ask, token)
    except Refused:  # of another token, or of a key that this device has no more
        return None
    return Kept(granted, tls_key) if isinstance(granted, Granted) else None


def done(directory: Path) -> None:
    """All of it was made of the answer."""
    with writing(str(directory / FILE)):
        durable.remove_file(directory / FILE)
