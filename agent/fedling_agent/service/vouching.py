"""What this device has heard of keys: kept as it counts, and told apart from what is no news."""

from collections.abc import Callable

from fedling_agent.service.writer import Writer, ignore
from fedling_agent.store.vouched import Vouched
from fedling_protocol.wire.messages import Certificate, Roots
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY

OFFICES = (AUTHORITY, AGGREGATOR)
ROOTS = "roots"  # beside the owners of certificates, which are never called so


class Vouching:
    """Memory decides what is news; the disk follows."""

    def __init__(self, vouched: Vouched, writer: Writer, signed: Callable[[int], None]) -> None:
        """signed: told the time of whatever counts"""
        self._vouched = vouched
        self._writer = writer
        self._signed = signed
        self._last: dict[str, bytes] = {}

    def load(self, device: str) -> None:
        """Begin with what the disk knows. Raises BadDatabase."""
        self._signed(self._vouched.latest_s())
        self._last = {
            owner: kept
            for owner in (*OFFICES, device)
            if (kept := self._vouched.certificate(owner)) is not None
        }
        if (chain := self._vouched.roots()) is not None:
            self._last[ROOTS] = chain

    def take(self, message: Certificate | Roots, envelope: bytes) -> bool:
        """Keep what Trust has taken in; whether it is news."""
        if isinstance(message, Roots):
            owner, issued_s = ROOTS, message.links[-1].issued_s
        else:
            owner, issued_s = message.id, message.issued_s
        self._signed(issued_s)
        if self._last.get(owner) == envelope:
            return False
        self._last[owner] = envelope
        keep, links = self._vouched, message.links if isinstance(message, Roots) else ()
        if isinstance(message, Certificate):
            serial = message.serial
            self._writer.do(
                lambda: keep.keep_certificate(owner, serial, issued_s, envelope), ignore
            )
        else:
            self._writer.do(lambda: keep.keep_roots(len(links), issued_s, envelope), ignore)
        return True

    def drop(self, owner: str) -> None:
        """An owner's certificate was taken back by who may say so."""
        if self._last.pop(owner, None) is not None:
            self._writer.do(lambda: self._vouched.drop_certificate(owner), ignore)
