"""What this device has heard of keys: kept as it counts, and told apart from what is no news."""

from collections.abc import Callable
from functools import partial

from fedling_agent.enrol.asking import issued_s
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
        owner = ROOTS if isinstance(message, Roots) else message.id
        signed_s = issued_s(message)
        self._signed(signed_s)
        if self._last.get(owner) == envelope:
            return False
        self._last[owner] = envelope
        keep = partial(self._keep, message, signed_s, envelope)
        self._writer.do(keep, ignore)
        return True

    def _keep(self, message: Certificate | Roots, signed_s: int, envelope: bytes) -> None:
        if isinstance(message, Roots):
            self._vouched.keep_roots(len(message.links), signed_s, envelope)
        else:
            self._vouched.keep_certificate(message.id, message.serial, signed_s, envelope)

    def drop(self, owner: str) -> None:
        """An owner's certificate was taken back by who may say so."""
        if self._last.pop(owner, None) is not None:
            self._writer.do(lambda: self._vouched.drop_certificate(owner), ignore)
