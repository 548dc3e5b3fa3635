"""Who may sign what: every kind of message against every kind of key."""

from dataclasses import replace
from typing import cast

import pytest

from fedling_protocol.wire.envelope import seal
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, Join, Message, PlanKind, Role
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Known, Trust
from tests.protocol.by_hand import Signer, cbor
from tests.protocol.samples import (
    AUTHORITY,
    DEVICE,
    MESSAGES,
    ONLINE,
    ROOT,
    TOPICS,
    envelope,
    message,
    payload,
    signer,
    topic,
    trust,
)

OTHER = SigningKey(b"o" * 32)  # another certified device
STRANGER = SigningKey(b"s" * 32)
OTHER_ID, DEVICE_ID = device_id(OTHER.public), device_id(DEVICE.public)


def certificate(
    key: SigningKey, serial: int = 1, role: Role = Role.DEVICE, fleet: str = "demo", id: str = ""
) -> Certificate:
    return Certificate(key.public, role, fleet, id or device_id(key.public), serial)


def learn(trust: Trust, new: Certificate, topic: str = "", key: SigningKey = ROOT) -> None:
    topic = topic or TOPICS.of(Kind.KEYS, new.id)
    trust.open(topic, seal(new, TOPICS.bound(topic), key))


def reason(trust: Trust, topic: str, message: Message, key: SigningKey) -> Reason:
    with pytest.raises(Refused) as caught:
        trust.open(topic, seal(message, TOPICS.bound(topic), key))
    return caught.value.reason


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("key", [ROOT, ONLINE, DEVICE, AUTHORITY, OTHER, STRANGER])
def test_open_takes_one_key_only(name: str, key: SigningKey) -> None:
    everyone = trust()
    learn(everyone, certificate(OTHER))
    owner = TOPICS.parse(topic(name)).owner
    may = [signer(name), *([ROOT] if owner else []), *([AUTHORITY] if owner == DEVICE_ID else [])]
    if key in may:
        sealed = seal(message(name), TOPICS.bound(topic(name)), key)
        assert everyone.open(topic(name), sealed).message == message(name)
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
    where = TOPICS.of(Kind.JOIN, "watch", DEVICE_ID)
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
    assert ring.known("aggregator") == Known(ONLINE.public, 4, ONLINE.kid, signer=ROOT.public)
    assert reason(ring, TOPICS.of(Kind.KEYS, "aggregator"), first, ROOT) is Reason.CERTIFICATE
    rival = replace(second, key=STRANGER.public)
    assert reason(ring, TOPICS.of(Kind.KEYS, "aggregator"), rival, ROOT) is Reason.CERTIFICATE
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
    assert reason(ring, TOPICS.of(Kind.KEYS, where), bad, ROOT) is Reason.CERTIFICATE
    assert ring.known(where) is None


def test_certificate_of_another_root() -> None:
    ring = Trust(TOPICS, ROOT.public)
    assert (
        reason(ring, TOPICS.of(Kind.KEYS, OTHER_ID), certificate(OTHER), STRANGER)
        is Reason.UNKNOWN_KEY
    )
    assert (
        reason(trust(), TOPICS.of(Kind.KEYS, OTHER_ID), certificate(OTHER), ONLINE) is Reason.ROLE
    )


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("plan", TOPICS.of(Kind.PLAN, "other", PlanKind.TRAIN)),
        ("rest", TOPICS.of(Kind.PLAN, "other", PlanKind.TRAIN)),
        ("model", TOPICS.of(Kind.MODEL, "other", 40)),
        ("model", TOPICS.of(Kind.MODEL, "watch", 41)),
        ("update", TOPICS.of(Kind.UPDATE, "watch", DEVICE_ID, bytes(16), 0)),
        ("update", TOPICS.of(Kind.UPDATE, "watch", DEVICE_ID, bytes(range(16)), 1)),
    ],
)
def test_open_refuses_what_contradicts_its_topic(name: str, where: str) -> None:
    key = DEVICE if name == "update" else ONLINE
    assert reason(trust(), where, message(name), key) is Reason.SHAPE


def test_forget_ends_trust() -> None:
    """In all that the device signs, not only in its updates; its key is a stranger's again."""
    ring = trust()
    ring.forget(DEVICE_ID)
    ring.forget(DEVICE_ID)
    assert ring.known(DEVICE_ID) is None
    for name in ("update", "state", "join", "join-have"):
        with pytest.raises(Refused, match="unknown key"):
            ring.open(topic(name), envelope(name))
    with pytest.raises(Refused, match="unknown key"):
        learn(ring, certificate(OTHER), key=DEVICE)
    assert not ring.open(topic("join-uncertified"), envelope("join-uncertified")).certified
    assert ring.open(topic("plan"), envelope("plan")).certified  # nobody else is forgotten


def test_forget_the_aggregator() -> None:
    ring = trust()
    ring.forget("aggregator")
    assert reason(ring, topic("plan"), message("plan"), ONLINE) is Reason.UNKNOWN_KEY
    assert ring.open(topic("update"), envelope("update")).certified


def test_certificate_after_forget_counts_again() -> None:
    ring = trust()
    ring.forget(DEVICE_ID)
    learn(ring, certificate(DEVICE, serial=1))  # whoever forgot decides, not the serial
    assert ring.open(topic("update"), envelope("update")).certified


def test_replaced_key_is_a_strangers() -> None:
    """The index by key id follows what is known: `role` for a known key, else `unknown key`."""
    ring = Trust(TOPICS, ROOT.public)
    learn(ring, certificate(STRANGER, 1, Role.AGGREGATOR, id="aggregator"))
    assert reason(ring, topic("state"), message("state"), STRANGER) is Reason.ROLE
    learn(ring, certificate(ONLINE, 2, Role.AGGREGATOR, id="aggregator"))
    assert reason(ring, topic("state"), message("state"), STRANGER) is Reason.UNKNOWN_KEY
    assert reason(ring, topic("state"), message("state"), ONLINE) is Reason.ROLE


def test_key_with_two_certificates_is_known_until_both_are_gone() -> None:
    ring = Trust(TOPICS, ROOT.public)
    learn(ring, certificate(OTHER))
    learn(ring, certificate(OTHER, 2, Role.AGGREGATOR, id="aggregator"))
    ring.forget("aggregator")
    assert reason(ring, topic("plan"), message("plan"), OTHER) is Reason.ROLE
    ring.forget(OTHER_ID)
    assert reason(ring, topic("plan"), message("plan"), OTHER) is Reason.UNKNOWN_KEY


def test_know_takes_in_what_was_verified_before() -> None:
    ring = Trust(TOPICS, ROOT.public)
    ring.know("aggregator", ONLINE.public, 7)
    ring.know(DEVICE_ID, STRANGER.public, 1)
    ring.know(DEVICE_ID, DEVICE.public, 70_000)
    assert ring.known(DEVICE_ID) == Known(DEVICE.public, 70_000, DEVICE.kid)
    for name in ("plan", "update", "state"):
        assert ring.open(topic(name), envelope(name)).certified
    assert reason(ring, topic("plan"), message("plan"), STRANGER) is Reason.UNKNOWN_KEY
    old = certificate(DEVICE, serial=69_999)
    assert reason(ring, TOPICS.of(Kind.KEYS, DEVICE_ID), old, ROOT) is Reason.CERTIFICATE
    ring.open(topic("certificate-device"), envelope("certificate-device"))  # the same again


def test_a_refused_message_hashes_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are known: a forged message costs a look-up."""
    ring = trust()
    topics = [TOPICS.of(Kind.STATE, DEVICE_ID), topic("plan"), topic("certificate-device")]
    forged = [seal(message("state"), TOPICS.bound(where), STRANGER) for where in topics]

    def hashed(_public: bytes) -> bytes:
        raise AssertionError

    monkeypatch.setattr("fedling_protocol.wire.trust.kid", hashed)
    for where, data in zip(topics, forged, strict=True):
        with pytest.raises(Refused, match="unknown key"):
            ring.open(where, data)


# --- plans of a later version --------------------------------------------------------------------

LATER = TOPICS.of(Kind.PLAN, "watch", "evaluate")


def test_open_tells_a_plan_of_an_unknown_kind() -> None:
    """Whatever it says: this version cannot read it."""
    by_hand = Signer(bytes([2]) * 32)  # ONLINE
    bound = TOPICS.bound(LATER)
    for data in (payload("plan"), payload("rest"), cbor({0: 1, 1: "evaluate"}), cbor({0: 2}), b""):
        with pytest.raises(Refused) as caught:
            trust().open(LATER, by_hand.seal(data, bound))
        assert caught.value.reason is Reason.PLAN_KIND


def test_open_refuses_a_forged_plan_of_an_unknown_kind() -> None:
    assert reason(trust(), LATER, message("plan"), DEVICE) is Reason.ROLE
    assert reason(trust(), LATER, message("plan"), STRANGER) is Reason.UNKNOWN_KEY
    elsewhere = seal(message("plan"), TOPICS.bound(topic("plan")), ONLINE)
    with pytest.raises(Refused, match="signature"):
        trust().open(LATER, elsewhere)


def test_open_refuses_a_plan_on_the_topic_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedling_protocol.wire.trust._PLAN_KINDS", {"train", "evaluate"})
    assert reason(trust(), LATER, message("plan"), ONLINE) is Reason.SHAPE


def test_open_refuses_another_fleet_and_root() -> None:
    data = envelope("plan")
    for where in ("fedling/1/other/watch/plan/train", "other/1/demo/watch/plan/train"):
        with pytest.raises(Refused, match="topic"):
            trust().open(where, data)
    other = Trust(Topics("elsewhere", "demo"), ROOT.public)  # the root is not signed
    other.open("elsewhere/1/demo/keys/aggregator", envelope("certificate-aggregator"))
    assert other.open("elsewhere/1/demo/watch/plan/train", data).message == message("plan")
