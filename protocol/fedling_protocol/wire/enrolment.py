"""Asking for certificates, and believing the answer (SPEC.md section 7).

A device that enrols knows nothing but its token, so the answer brings all that vouches for it: the
code proves who has the token, the token names the root, the root certifies the rest.
"""

from dataclasses import replace
from typing import Final, TypeVar

from fedling_protocol.classes import dataclass
from fedling_protocol.wire import envelope, payload
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Enrol, Enrolled, Grant
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.token import Purpose, Token
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Received, Standing, Trust

NONCE_BYTES: Final = 16
_PURPOSE: Final = {Enrol: Purpose.ASK, Enrolled: Purpose.ANSWER}
_Proven = TypeVar("_Proven", Enrol, Enrolled)


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer as far as it can be believed.

    trust:  knows the whole fleet that granted; None: it was not granted
    proven: whoever has the token said so; False: a refusal that may be anybody's
    """

    answer: Enrolled
    trust: Trust | None
    proven: bool


def prove(token: Token, message: _Proven) -> _Proven:
    """Add the code of the token to a message that is finished otherwise."""
    return replace(message, mac=token.seal(_PURPOSE[type(message)], payload.without_mac(message)))


def proves(token: Token, message: Enrol | Enrolled) -> bool:
    """Whether a message has the code of the token, and is as it was when it got it."""
    said = payload.without_mac(message)
    return message.mac is not None and token.check(_PURPOSE[type(message)], said, message.mac)


def ask(key: bytes, tls_key: bytes, nonce: bytes, token: Token, name: str = "") -> Enrol:
    """Ask for a device's first certificates, given the public halves of its keys."""
    return prove(token, Enrol(key, nonce, tls_key, name, token.id))


def open_first(topic: str, data: bytes, asked: Enrol, token: Token, now_s: int = 0) -> Opened:
    """Open the answer to a device that knows nothing but its token. Raises Refused."""
    topics = Topics(token.topic_root, token.fleet)
    address = topics.parse(topic)
    if address.kind is not Kind.ENROLLED or address.device != device_id(asked.key):
        raise Refused(Reason.TOPIC, "not for this device")
    answer = payload.decode(Kind.ENROLLED, envelope.parse(data, Kind.ENROLLED).payload)
    assert isinstance(answer, Enrolled)
    _check_asked(answer, asked)
    if answer.grant is None and answer.mac is None:
        return Opened(answer, None, proven=False)
    if not proves(token, answer):
        raise Refused(Reason.TOKEN, "whoever answers does not have the token")
    if answer.grant is None:
        return Opened(answer, None, proven=True)
    if not token.vouches_for(answer.grant.root):
        raise Refused(Reason.TOKEN, "the root is not the one that the token names")
    trust = Trust(topics, answer.grant.root)
    _admit(trust, answer.grant, asked.key, now_s)
    trust.open(topic, data, now_s)
    return Opened(answer, trust, proven=True)


def take_renewal(trust: Trust, received: Received, asked: Enrol, now_s: int = 0) -> Enrolled:
    """Take in the answer to a device that belongs to the fleet already. Raises Refused.

    received: what the same trust has opened
    """
    answer = received.message
    assert isinstance(answer, Enrolled)
    if received.address.device != device_id(asked.key):
        raise Refused(Reason.TOPIC, "not for this device")
    _check_asked(answer, asked)
    if answer.grant is not None:
        _admit(trust, answer.grant, asked.key, now_s)
    return answer


def _check_asked(answer: Enrolled, asked: Enrol) -> None:
    if answer.nonce != asked.nonce:
        raise Refused(Reason.UNASKED, "the nonce is not that of the last question")


def _admit(trust: Trust, grant: Grant, key: bytes, now_s: int) -> None:
    """Take in all that vouches for a device, each by what came before it."""
    device = device_id(key)
    if grant.roots is not None:
        trust.open(trust.topics.of(Kind.ROOTS), grant.roots, now_s)
    if grant.root not in trust.roots:
        raise Refused(Reason.TOKEN, "of another root")
    for owner, certificate in (
        (AUTHORITY, grant.authority),
        (AGGREGATOR, grant.aggregator),
        (device, grant.device),
    ):
        trust.open(trust.topics.of(Kind.KEYS, owner), certificate, now_s)
    known = trust.known(device)
    standing = Standing.UNKNOWN if known is None else known.standing(now_s)
    if standing is not Standing.CERTIFIED:
        raise Refused(Reason.CERTIFICATE, f"the device's own is {standing}")
