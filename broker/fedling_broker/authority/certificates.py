"""Certificates as they are signed, and the file in which they travel between machines.

    # certificates of fleet home
    roots AbC...
    authority AbC...
    aggregator AbC...
    ed7otgvn2mzqk4aa AbC...

A line is an owner and, in base64, the envelope that is retained on that owner's topic; that of
`roots` is the chain of root keys.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import field
from types import MappingProxyType

from fedling_broker.authority.roles import OFFICES, Term, role_of
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.wire import envelope, payload
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, Link, Roots
from fedling_protocol.wire.names import OWNER
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust

ROOTS = "roots"  # stands for the owner of the chain of root keys
USUAL_ROOT = "fedling"  # of topics: no signature covers it
_ORDER = (ROOTS, *OFFICES)  # who vouches for others is read first
_NONE: Mapping[str, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Bundle:
    """Envelopes of certificates, by owner."""

    fleet: str
    envelopes: Mapping[str, bytes] = field(default_factory=lambda: _NONE)

    def ordered(self) -> list[tuple[str, bytes]]:
        """Owners and envelopes; who vouches for others comes before them."""
        first = [(owner, self.envelopes[owner]) for owner in _ORDER if owner in self.envelopes]
        return first + sorted(row for row in self.envelopes.items() if row[0] not in _ORDER)

    def plus(self, envelopes: Mapping[str, bytes]) -> "Bundle":
        """The same with these, in the place of those of the same owners."""
        return Bundle(self.fleet, {**self.envelopes, **envelopes})

    def only(self, owners: Iterable[str]) -> "Bundle":
        """The same without what is of others."""
        found = {owner: self.envelopes[owner] for owner in owners if owner in self.envelopes}
        return Bundle(self.fleet, found)

    def text(self) -> str:
        lines = [f"{owner} {base64.b64encode(one).decode()}\n" for owner, one in self.ordered()]
        return f"# certificates of fleet {self.fleet}\n" + "".join(lines)

    @classmethod
    def parse(cls, text: str, file: str, fleet: str) -> "Bundle":
        """Read what text() wrote. Nothing is verified. Raises BadInput."""
        envelopes = {}
        for number, line in enumerate(text.splitlines(), 1):
            owner, _, rest = line.partition(" ")
            if not line.strip() or line.startswith("#"):
                continue
            try:
                envelopes[owner] = base64.b64decode(rest, validate=True)
            except binascii.Error:
                raise BadInput(f"{file}: line {number}: no certificate") from None
            if owner != ROOTS and not OWNER.fullmatch(owner):
                raise BadInput(f"{file}: line {number}: no certificate of a device")
        return cls(fleet, envelopes)


def topic_of(topics: Topics, owner: str) -> str:
    """Where an owner's certificate is retained, or the chain of roots."""
    return topics.of(Kind.ROOTS) if owner == ROOTS else topics.of(Kind.KEYS, owner)


def sign(
    fleet: str,
    owner: str,
    key: bytes,
    serial: int,
    term: Term,
    signer: SigningKey,
    *,
    revoked: bool = False,
) -> bytes:
    """Make the envelope of a certificate; of a tombstone, if it is revoked."""
    topics = Topics(USUAL_ROOT, fleet)
    certificate = Certificate(
        key, role_of(owner), fleet, owner, serial, term.issued_s, term.until_s, term.name, revoked
    )
    return envelope.seal(certificate, topics.bound(topic_of(topics, owner)), signer)


def sign_roots(fleet: str, links: tuple[Link, ...], newest: SigningKey) -> bytes:
    """Make the envelope of a chain of root keys, which its last one signs."""
    topics = Topics(USUAL_ROOT, fleet)
    return envelope.seal(Roots(links), topics.bound(topic_of(topics, ROOTS)), newest)


def read(data: bytes) -> Certificate:
    """The certificate in an envelope that was verified before. Raises Refused."""
    message = payload.decode(Kind.KEYS, envelope.parse(data, Kind.KEYS).payload)
    assert isinstance(message, Certificate)
    return message


def links(data: bytes) -> tuple[Link, ...]:
    """The chain in an envelope that was verified before. Raises Refused."""
    message = payload.decode(Kind.ROOTS, envelope.parse(data, Kind.ROOTS).payload)
    assert isinstance(message, Roots)
    return message.links


def trusted(bundle: Bundle, root: bytes, file: str) -> Trust:
    """Verify every certificate, beginning with a root key. Raises BadInput.

    root: public half of the key that this end is configured with
    """
    trust = Trust(Topics(USUAL_ROOT, bundle.fleet), root)
    believe(trust, bundle, file)
    return trust


def believe(trust: Trust, bundle: Bundle, file: str) -> None:
    """Verify certificates with what is known already, and take them in. Raises BadInput."""
    for owner, data in bundle.ordered():
        try:
            trust.open(topic_of(trust.topics, owner), data)
        except Refused as refused:
            what = f"{file}: the certificate of {owner} is not believed"
            raise BadInput(f"{what}: {refused}") from refused
