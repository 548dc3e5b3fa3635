"""The door for messages: what is taken, refused, declined, and how each is counted."""

import logging
from pathlib import Path

import pytest

from fedling_agent.conditions.used import Used
from fedling_agent.service.books import Books
from fedling_agent.service.inbox import Inbox
from fedling_agent.service.writer import Writer
from fedling_agent.store.store import Store
from fedling_protocol.runtime.worker import raise_
from fedling_protocol.wire.envelope import seal
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, Message, Role
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.trust import Received
from tests.protocol.samples import DEVICE, ONLINE, ROOT, TOPICS, envelope, message, topic
from tests.support.ports import HandClock, HandWorker

LATER = TOPICS.of(Kind.PLAN, "watch", "evaluate")
STRANGER = SigningKey(b"s" * 32)


class Door:
    """An inbox, what it let in, and what it counted."""

    def __init__(self, directory: Path) -> None:
        store, clock = Store(directory), HandClock()
        self.books = Books(clock, store.ledger, Writer(HandWorker(clock), raise_), Used())
        device = device_id(DEVICE.public)
        self.inbox = Inbox(clock, TOPICS, ROOT.public, device, store.vouched, self.books)
        self.taken: list[Received] = []

    def hear(self, topic: str, payload: bytes, emptied: bool = False) -> None:
        try:
            self.taken.append(self.inbox.open(topic, payload, emptied))
        except Refused as refused:
            self.inbox.refusals.add(topic, refused)

    def say(self, topic: str, message: Message, key: SigningKey) -> None:
        self.hear(topic, seal(message, TOPICS.bound(topic), key))

    @property
    def counted(self) -> dict[str, int]:
        return self.books.counters()


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """It knows the aggregator."""
    door = Door(tmp_path)
    for name in ("certificate-aggregator", "certificate-device"):
        door.hear(topic(name), envelope(name))
    door.taken.clear()
    return door


def test_plan_is_taken(door: Door) -> None:
    door.hear(topic("plan"), envelope("plan"))
    assert [received.message for received in door.taken] == [message("plan")]
    assert door.counted == {}


def test_plan_of_an_unknown_kind_is_declined(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            door.say(LATER, message("plan"), ONLINE)
    assert door.taken == []
    assert door.counted == {"declined: unknown plan kind": 3}
    assert [r.message for r in caplog.records if "declined" in r.message] == [
        f"declined a message on '{LATER}': unknown plan kind: evaluate"
    ]


def test_forged_plan_of_an_unknown_kind_is_refused(door: Door) -> None:
    door.say(LATER, message("plan"), STRANGER)
    assert door.counted == {"refused: unknown key": 1}


def test_certificates_of_other_devices_are_not_kept(door: Door) -> None:
    """The MQTT broker has all of them, rightly signed."""
    for n in range(3):
        other = SigningKey(bytes([40 + n]) * 32)
        owner = device_id(other.public)
        said = Certificate(other.public, Role.DEVICE, TOPICS.fleet, owner, 1)
        door.say(TOPICS.of(Kind.KEYS, owner), said, ROOT)
        assert door.inbox.trust.known(owner) is None
    assert door.taken == []
    assert door.counted["refused: topic"] == 3


def test_ticket_for_another_device_is_refused(door: Door) -> None:
    where = TOPICS.of(Kind.TICKET, "watch", device_id(STRANGER.public))
    door.say(where, message("ticket-go"), ONLINE)
    assert door.taken == []
    assert door.counted == {"refused: topic": 1}


def test_message_that_was_emptied_on_its_way_is_refused(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of it is left to tell its size by; the log calls it too large, not too short."""
    door.hear(topic("plan"), b"", emptied=True)
    assert door.counted == {"refused: size": 1}
    assert "larger than any message may be" in caplog.text


def test_message_that_devices_send_is_not_for_devices(door: Door) -> None:
    door.hear(topic("join"), envelope("join"))
    assert door.taken == []
    assert set(door.counted) <= {"refused: topic", "refused: role", "refused: unknown key"}
    assert door.counted
