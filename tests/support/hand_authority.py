"""Who certifies devices, by hand: root, authority, aggregator and TLS authority of one fleet."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fedling_broker.authority import x509
from fedling_broker.authority.x509 import EPOCH, TlsAuthority
from fedling_protocol.wire import envelope, payload, roots
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    Certificate,
    Enrol,
    Enrolled,
    EnrolReason,
    Grant,
    Link,
    Message,
    Role,
    Roots,
)
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.token import Purpose, Token
from fedling_protocol.wire.topics import Topics

ROOT, OFFICE = SigningKey(b"R" * 32), SigningKey(b"A" * 32)
ONLINE, THIEF = SigningKey(b"O" * 32), SigningKey(b"T" * 32)
TOPICS = Topics("fedling", "test")
NOW_S = int(time.time())
LIFE_S = 90 * 86_400
YEARS_S = 5 * 365 * 86_400


class HandAuthority:
    """Certifies whom a test says. now_s: what it holds for the time"""

    def __init__(
        self,
        directory: Path,
        *,
        topics: Topics = TOPICS,
        host: str = "127.0.0.1",
        port: int = 8883,
        now_s: int = NOW_S,
    ) -> None:
        self.topics = topics
        self.tls: TlsAuthority = x509.create_ca(directory / "authority", topics.fleet)
        self.host, self.port = host, port
        self.now_s = now_s
        self.life_s = LIFE_S
        self.office, self.online, self.root = OFFICE, ONLINE, ROOT
        self.links: tuple[Link, ...] = ()
        self.names: dict[str, str] = {}
        self.last: dict[str, tuple[bytes, bytes, bytes]] = {}  # key, signer, envelope by owner
        self.serial = now_s

    def token(self, port: int = 8884) -> Token:
        return Token.generate(ROOT.public, self.topics, self.host, port)

    def succeed(self, key: SigningKey) -> None:
        """Give the root a successor, which certifies the offices from now on."""
        link = roots.succeed(
            self.root, key.public, self.topics.fleet, len(self.links) + 1, self.now_s
        )
        self.links, self.root = (*self.links, link), key

    # --- signed messages -------------------------------------------------------------------------

    def sealed(self, topic: str, message: Message, key: SigningKey) -> bytes:
        return envelope.seal(message, self.topics.bound(topic), key)

    def certificate(self, owner: str, key: bytes, role: Role, *, revoked: bool = False) -> bytes:
        """As on the topic of its owner."""
        known = self.last.get(owner, (b"", b"", b""))
        signer = self.office if role is Role.DEVICE else self.root
        if role is not Role.DEVICE and known[:2] == (key, signer.public):
            return known[2]
        self.serial += 1
        life = self.life_s if role is Role.DEVICE else YEARS_S
        made = Certificate(
            key, role, self.topics.fleet, owner, self.serial, self.now_s, self.now_s + life,
            self.names.get(owner, ""), revoked,
        )  # fmt: skip
        sealed = self.sealed(self.topics.of(Kind.KEYS, owner), made, signer)
        self.last[owner] = (key, signer.public, sealed)
        return sealed

    def of_authority(self) -> bytes:
        return self.certificate(AUTHORITY, self.office.public, Role.AUTHORITY)

    def of_aggregator(self) -> bytes:
        return self.certificate(AGGREGATOR, self.online.public, Role.AGGREGATOR)

    def of_device(self, key: bytes, *, revoked: bool = False) -> bytes:
        return self.certificate(device_id(key), key, Role.DEVICE, revoked=revoked)

    def chain(self) -> bytes | None:
        if not self.links:
            return None
        return self.sealed(self.topics.of(Kind.ROOTS), Roots(self.links), self.root)

    # --- answers ---------------------------------------------------------------------------------

    def grant(self, ask: Enrol) -> Grant:
        self.names[device_id(ask.key)] = ask.name
        ends = datetime.fromtimestamp(self.now_s + self.life_s + 365 * 86_400, UTC)
        return Grant(
            ROOT.public,
            self.of_authority(),
            self.of_aggregator(),
            self.of_device(ask.key),
            self.host,
            self.port,
            self.chain(),
            self.tls.client(device_id(ask.key), ask.tls_key, EPOCH, ends),
            self.tls.der,
        )

    def granted(self, ask: Enrol, token: Token | None) -> bytes:
        """The envelope of an answer that grants."""
        return self.said(ask, Enrolled(ask.nonce, "", self.grant(ask)), token)

    def denied(self, ask: Enrol, reason: EnrolReason | str, token: Token | None) -> bytes:
        """The envelope of an answer that does not."""
        return self.said(ask, Enrolled(ask.nonce, str(reason)), token)

    def said(
        self, ask: Enrol, answer: Enrolled, token: Token | None, key: SigningKey | None = None
    ) -> bytes:
        if token is not None:
            mac = token.seal(Purpose.ANSWER, payload.without_mac(answer))
            answer = replace(answer, mac=mac)
        return self.sealed(self.back(ask), answer, key or self.online)

    def back(self, ask: Enrol) -> str:
        """The topic of the answer."""
        return self.topics.of(Kind.ENROLLED, device_id(ask.key))

    def opened(self, topic: str, data: bytes) -> Enrol:
        """What a device asked, if it signed that itself."""
        parts = envelope.parse(data, Kind.ENROL)
        message = payload.decode(Kind.ENROL, parts.payload)
        assert isinstance(message, Enrol)
        parts.verify(self.topics.bound(topic), message.key)
        return message
