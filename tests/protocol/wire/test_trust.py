"""Who may sign what: every kind of message against every kind of key."""

from dataclasses import replace
from typing import cast

import pytest

from fedling_protocol.wire.envelope import seal
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.messages import Certificate, Join, Message, Role
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Kind, Topics
from fedling_protocol.wire.trust import Trust
from tests.protocol.samples import (
    DEVICE,
    MESSAGES,
    ONLINE,
    ROOT,
    TOPICS,
    envelope,
    message,
    topic,
    trust,
)

OTHER = SigningKey.from_seed(b"o" * 32)  # another certified device
STRANGER = SigningKey.from_seed(b"s" * 32)
OTHER_ID, DEVICE_ID = device_id(OTHER.public), device_id(DEVICE.public)


def certificate(
    key: SigningKey, serial: int = 1, role: Role = Role.DEVICE, fleet: str = "demo", id: str = ""
) -> Certificate:
    return Certificate(key.public, role, fleet, id or device_id(key.public), serial)


def learn(trust: Trust, new: Certificate, topic: str = "", key: SigningKey = ROOT) -> None:
    topic = topic or TOPICS.keys(new.id)
    trust.open(topic, seal(new, TOPICS.bound(topic), key))


def reason(trust: Trust, topic: str, message: Message, key: SigningKey) -> Reason:
    with pytest.raises(Refused) as caught:
        trust.open(topic, seal(message, TOPICS.bound(topic), key))
    return caught.value.reason


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("key", [ROOT, ONLINE, DEVICE, OTHER, STRANGER])
def test_open_takes_one_key_only(name: str, key: SigningKey) -> None:
    everyone = trust()
    learn(everyone, certificate(OTHER))
    right = {Kind.KEYS: ROOT, Kind.JOIN: DEVICE, Kind.UPDATE: DEVICE, Kind.STATE: DEVICE}
    if key is right.get(TOPICS.parse(topic(name)).kind, ONLINE):
        assert everyone.open(topic(name), envelope(name)).message == message(name)
    else:
        expected = Reason.UNKNOWN_KEY if key is STRANGER else Reason.ROLE
        assert reason(everyone, topic(name), message(name), key) is expected


def test_open_without_certificates() -> None:
    nobody = Trust(TOPICS, ROOT.public)
    for name in ("plan", "ticket-go", "update", "state", "join"):
        with pytest.raises(Refused, match="unknown key"):
            nobody.open(topic(name), envelope(name))


def test_open_takes_the_join_of_an_uncertified_device() -> None:
    received = trust("certificate-aggregator").open(
        topic("join-uncertified"), envelope("join-uncertified")
    )
    assert not received.certified
    assert cast(Join, received.message).key == DEVICE.public


def test_open_refuses_a_join_with_a_foreign_key() -> None:
    own = cast(Join, message("join-uncertified"))
    where = TOPICS.join("watch", DEVICE_ID)
    newcomer = trust("certificate-aggregator")
    assert (
        reason(newcomer, where, replace(own, key=STRANGER.public), STRANGER) is Reason.CERTIFICATE
    )
    assert reason(newcomer, where, own, STRANGER) is Reason.UNKNOWN_KEY
    assert reason(newcomer, where, replace(own, key=bytes(32)), DEVICE) is Reason.UNKNOWN_KEY
    assert reason(trust(), where, replace(own, key=STRANGER.public), DEVICE) is Reason.CERTIFICATE


def test_open_refuses_an_uncertified_join_that_another_signed() -> None:
    forged = bytearray(envelope("join-uncertified"))
    forged[-1] ^= 1
    with pytest.raises(Refused, match="signature"):
        trust("certificate-aggregator").open(topic("join-uncertified"), bytes(forged))


def test_certificate_of_the_highest_serial_counts() -> None:
    ring = Trust(TOPICS, ROOT.public)
    first, second = (
        certificate(key, serial, Role.AGGREGATOR, id="aggregator")
        for key, serial in ((STRANGER, 3), (ONLINE, 4))
    )
    learn(ring, first)
    learn(ring, second)
    learn(ring, second)  # retained: it comes again at every connect
    assert ring.certificate("aggregator") == second
    assert reason(ring, TOPICS.keys("aggregator"), first, ROOT) is Reason.CERTIFICATE
    rival = replace(second, key=STRANGER.public)
    assert reason(ring, TOPICS.keys("aggregator"), rival, ROOT) is Reason.CERTIFICATE
    assert ring.open(topic("plan"), envelope("plan")).message == message("plan")
    assert reason(ring, topic("plan"), message("plan"), STRANGER) is Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        (certificate(OTHER, fleet="other"), OTHER_ID),
        (certificate(OTHER), DEVICE_ID),
        (certificate(OTHER, id=DEVICE_ID), DEVICE_ID),
        (certificate(OTHER, id="aggregator"), "aggregator"),
        (certificate(OTHER, role=Role.AGGREGATOR), OTHER_ID),
        (certificate(OTHER, role=Role.AGGREGATOR, id="aggregator"), OTHER_ID),
    ],
)
def test_certificate_that_does_not_fit(bad: Certificate, where: str) -> None:
    ring = Trust(TOPICS, ROOT.public)
    assert reason(ring, TOPICS.keys(where), bad, ROOT) is Reason.CERTIFICATE
    assert ring.certificate(where) is None


def test_certificate_of_another_root() -> None:
    ring = Trust(TOPICS, ROOT.public)
    assert reason(ring, TOPICS.keys(OTHER_ID), certificate(OTHER), STRANGER) is Reason.UNKNOWN_KEY
    assert reason(trust(), TOPICS.keys(OTHER_ID), certificate(OTHER), ONLINE) is Reason.ROLE


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("plan", TOPICS.plan("other")),
        ("rest", TOPICS.plan("other")),
        ("model", TOPICS.model("other", 40)),
        ("model", TOPICS.model("watch", 41)),
        ("update", TOPICS.update("watch", DEVICE_ID, bytes(16))),
        ("update", TOPICS.update("watch", DEVICE_ID, bytes(range(16)), chunk=1)),
    ],
)
def test_open_refuses_what_contradicts_its_topic(name: str, where: str) -> None:
    key = DEVICE if name == "update" else ONLINE
    assert reason(trust(), where, message(name), key) is Reason.SHAPE


def test_forget_ends_trust() -> None:
    ring = trust()
    ring.forget(DEVICE_ID)
    ring.forget(DEVICE_ID)
    with pytest.raises(Refused, match="unknown key"):
        ring.open(topic("update"), envelope("update"))


def test_open_refuses_another_fleet_and_root() -> None:
    data = envelope("plan")
    for where in ("fedling/1/other/watch/plan/train", "other/1/demo/watch/plan/train"):
        with pytest.raises(Refused, match="topic"):
            trust().open(where, data)
    other = Trust(Topics("elsewhere", "demo"), ROOT.public)  # the root is not signed
    other.open("elsewhere/1/demo/keys/aggregator", envelope("certificate-aggregator"))
    assert other.open("elsewhere/1/demo/watch/plan/train", data).message == message("plan")
