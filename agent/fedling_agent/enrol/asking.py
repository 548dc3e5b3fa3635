"""What a device asks for certificates with, and what it believes of an answer (SPEC.md section 7).

Pure: keys, nonces and time are given. A device that enrols knows nothing but its token. So it
talks to whoever answers at the token's address, by a TLS whose certificate proves nothing to it,
and believes what carries the token's code and leads to the root key that the token names: who is
on the way can neither make such an answer nor take the leave for a key of his own.
"""

from dataclasses import dataclass, replace

from fedling_protocol.wire import envelope, payload
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, Enrol, Enrolled, EnrolReason, Grant, Roots
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.token import Purpose, Token
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust

LATER = frozenset({EnrolReason.BUSY})  # the same question may be answered otherwise soon


@dataclass(frozen=True, slots=True)
class Denied:
    """Why nothing was granted. proven: who says so has the token"""

    reason: str
    proven: bool

    @property
    def for_now(self) -> bool:
        """Whether it is worth asking again."""
        return self.reason in LATER


@dataclass(frozen=True, slots=True)
class Granted:
    """What was granted, checked. certificate: this device's own

    learned: what vouches for it and it itself, each with its envelope, in order
    """

    grant: Grant
    certificate: Certificate
    learned: tuple[tuple[Certificate | Roots, bytes], ...]


def ask(key: bytes, tls_key: bytes, nonce: bytes, name: str, token: Token | None) -> Enrol:
    """Ask with a token, or without one for new certificates in the place of old ones."""
    plain = Enrol(key, nonce, tls_key, name)
    if token is None:
        return plain
    named = replace(plain, token_id=token.id)
    return replace(named, mac=token.seal(Purpose.ASK, payload.without_mac(named)))


def believe(data: bytes, device: str, ask: Enrol, token: Token) -> Granted | Denied:
    """Take an answer of whoever has the token, to a device that knows nobody else.

    data: the envelope on the topic of `device`. Raises Refused: it is not believed.
    """
    topics = Topics(token.topic_root, token.fleet)
    message = payload.decode(Kind.ENROLLED, envelope.parse(data, Kind.ENROLLED).payload)
    assert isinstance(message, Enrolled)
    if message.nonce != ask.nonce:
        raise Refused(Reason.UNASKED, "not to the last question")
    proven = message.mac is not None and token.check(
        Purpose.ANSWER, payload.without_mac(message), message.mac
    )
    if message.grant is None:
        return Denied(message.reason, proven)
    if not proven:
        raise Refused(Reason.TOKEN, "not by who has the token")
    if not token.vouches_for(message.grant.root):
        raise Refused(Reason.TOKEN, "about another root than the token names")
    trust = Trust(topics, message.grant.root)
    granted = take_in(message.grant, trust, device, ask.key)
    trust.open(topics.of(Kind.ENROLLED, device), data)  # so the aggregator's key signed it
    return granted


def take_in(grant: Grant, trust: Trust, device: str, key: bytes) -> Granted:
    """Have a trust learn what was granted, in an order in which each vouches for the next.

    Raises Refused: something of it does not count, or is not for this device's key.
    """
    if grant.root not in trust.roots:
        raise Refused(Reason.TOKEN, "about another root than the known one")
    topics = trust.topics
    signed = [(topics.of(Kind.ROOTS), grant.roots)] if grant.roots is not None else []
    signed += [
        (topics.of(Kind.KEYS, owner), certificate)
        for owner, certificate in (
            (AUTHORITY, grant.authority),
            (AGGREGATOR, grant.aggregator),
            (device, grant.device),
        )
    ]
    learned: list[tuple[Certificate | Roots, bytes]] = []
    for topic, data in signed:
        message = trust.open(topic, data).message
        assert isinstance(message, Certificate | Roots)
        learned.append((message, data))
    own, _ = learned[-1]
    assert isinstance(own, Certificate)
    if own.key != key or own.revoked:
        raise Refused(Reason.CERTIFICATE, "it is not for this device's key")
    latest_s = max(message.issued_s for message, _ in learned if isinstance(message, Certificate))
    if 0 < own.until_s < latest_s:
        raise Refused(Reason.EXPIRED, "what was granted is over")
    return Granted(grant, own, tuple(learned))
