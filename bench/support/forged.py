"""What it costs to refuse a message that nobody signed who may, with a whole fleet's keys known."""

import time
from collections.abc import Sequence

from fedling_protocol.wire import envelope, identity
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, Join, Role
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust
from tests.support.fleet import ROOT

MESSAGES = 200  # of a kind, no two alike
WITHOUT_KEY = ("unknown key", "another device's key")
WRONG_SIGNATURE = "wrong signature"
TOPICS = Topics("fedling", "test")
STRANGER = SigningKey(b"S" * 32)


def costs_us(devices: Sequence[SigningKey]) -> dict[str, float]:
    """Microseconds of CPU for a message of each kind, when all devices are certified."""
    trust, some = trust_of(devices), devices[:MESSAGES]
    unknown, others = WITHOUT_KEY
    return {
        unknown: cost_us(trust, [forge(key, STRANGER) for key in some]),
        others: cost_us(trust, [forge(key, devices[-1]) for key in some]),
        WRONG_SIGNATURE: cost_us(trust, [damaged(forge(key, key)) for key in some]),
        "one verification alone": verification_us(some),
    }


def verification_us(devices: Sequence[SigningKey]) -> float:
    """Of a signature as long as a join's."""
    data = bytes(200)
    signed = [(key.public, key.sign(data)) for key in devices]
    before = time.process_time()
    for public, signature in signed:
        identity.verify(public, signature, data)
    return (time.process_time() - before) / len(devices) * 1e6


def trust_of(devices: Sequence[SigningKey]) -> Trust:
    """As the aggregator has it."""
    trust = Trust(TOPICS, ROOT.public)
    for serial, key in enumerate(devices, 1):
        owner = device_id(key.public)
        topic = TOPICS.of(Kind.KEYS, owner)
        certificate = Certificate(key.public, Role.DEVICE, TOPICS.fleet, owner, serial)
        trust.open(topic, envelope.seal(certificate, TOPICS.bound(topic), ROOT))
    return trust


def forge(victim: SigningKey, signer: SigningKey) -> tuple[str, bytes]:
    """Topic and bytes of a join of the victim that the signer has signed."""
    topic = TOPICS.of(Kind.JOIN, "tiny", device_id(victim.public))
    join = Join(bytes(16), bytes(8), None, None)
    return topic, envelope.seal(join, TOPICS.bound(topic), signer)


def damaged(message: tuple[str, bytes]) -> tuple[str, bytes]:
    """With another last byte, which belongs to the signature."""
    topic, data = message
    return topic, data[:-1] + bytes([data[-1] ^ 1])


def cost_us(trust: Trust, messages: Sequence[tuple[str, bytes]]) -> float:
    """Of one of them. Raises ValueError if one is taken."""
    before = time.process_time()
    refused = [reason(trust, topic, data) for topic, data in messages]
    took = time.process_time() - before
    if None in refused:
        raise ValueError("a forged message was taken for a true one")
    return took / len(messages) * 1e6


def reason(trust: Trust, topic: str, data: bytes) -> Reason | None:
    """Why a message is refused; None: it is not."""
    try:
        trust.open(topic, data)
    except Refused as refused:
        return refused.reason
    return None
