"""What a device asks for certificates with, and what is made of an answer that it believes.

Pure: keys, nonces and time are given. What of an answer is believed stands in one place for all
who read one, fedling_protocol.wire.enrolment.
"""

from fedling_protocol.classes import dataclass
from fedling_protocol.wire import enrolment, envelope, payload
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, Enrol, EnrolReason, Grant, Roots
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.token import Token
from fedling_protocol.wire.topics import Topics

LATER = frozenset({EnrolReason.BUSY})  # the same question may be answered otherwise soon


@dataclass(frozen=True, slots=True)
class Denied:
    """Why nothing was granted.

    proven: who says so has the token, or is the aggregator that is known
    """

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

    @property
    def latest_s(self) -> int:
        """The latest time at which something of it was signed, in Unix time."""
        return max(issued_s(message) for message, _ in self.learned)


def issued_s(message: Certificate | Roots) -> int:
    """When it was signed, in Unix time; 0: it does not say."""
    return message.links[-1].issued_s if isinstance(message, Roots) else message.issued_s


def ask(key: bytes, tls_key: bytes, nonce: bytes, name: str, token: Token | None) -> Enrol:
    """Ask with a token, or without one for new certificates in the place of old ones."""
    if token is None:
        return Enrol(key, nonce, tls_key, name)
    return enrolment.ask(key, tls_key, nonce, token, name)


def believe(data: bytes, ask: Enrol, token: Token) -> Granted | Denied:
    """Take an answer to a device that knows nobody. Raises Refused: it is not believed."""
    topics = Topics(token.topic_root, token.fleet)
    topic = topics.of(Kind.ENROLLED, device_id(ask.key))
    opened = enrolment.open_first(topic, data, ask, token)
    if opened.trust is None or opened.answer.grant is None:
        return Denied(opened.answer.reason, opened.proven)
    found = granted(opened.answer.grant)
    if 0 < found.certificate.until_s < found.latest_s:  # our own clock is not asked
        raise Refused(Reason.EXPIRED, "what was granted is over")
    return found


def granted(grant: Grant) -> Granted:
    """Part a grant that was checked into what is to be kept."""
    signed = [(Kind.KEYS, data) for data in (grant.authority, grant.aggregator, grant.device)]
    if grant.roots is not None:
        signed.insert(0, (Kind.ROOTS, grant.roots))
    learned = tuple((_inside(kind, data), data) for kind, data in signed)
    own, _ = learned[-1]
    assert isinstance(own, Certificate)
    return Granted(grant, own, learned)


def _inside(kind: Kind, data: bytes) -> Certificate | Roots:
    message = payload.decode(kind, envelope.parse(data, kind).payload)
    assert isinstance(message, Certificate | Roots)
    return message
