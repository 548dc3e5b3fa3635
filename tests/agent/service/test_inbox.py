"""The door for messages: what is taken, refused, declined, and how each is counted."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedling_agent.config import AgentConfig
from fedling_agent.service.inbox import Inbox
from fedling_agent.store.store import Store
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire.envelope import seal
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Message
from fedling_protocol.wire.trust import Received
from tests.protocol.samples import DEVICE, ONLINE, ROOT, TOPICS, envelope, message, topic

LATER = TOPICS.of(Kind.PLAN, "watch", "evaluate")
STRANGER = SigningKey.from_seed(b"s" * 32)


@dataclass
class Door:
    """An inbox, what it let in, and what it counted."""

    inbox: Inbox
    store: Store
    taken: list[Received] = field(default_factory=list)

    def say(self, topic: str, message: Message, key: SigningKey) -> None:
        self.inbox.on_message(topic, seal(message, TOPICS.bound(topic), key), False)

    @property
    def counted(self) -> dict[str, int]:
        return self.store.ledger.counters()


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """It knows the aggregator."""
    config = AgentConfig("demo", ROOT.public.hex(), MqttSettings("localhost"))
    store = Store(tmp_path)
    taken: list[Received] = []
    device = device_id(DEVICE.public)
    inbox = Inbox(Loop(), config, store.ledger, device, lambda received, _: taken.append(received))
    for name in ("certificate-aggregator", "certificate-device"):
        inbox.on_message(topic(name), envelope(name), False)
    taken.clear()
    return Door(inbox, store, taken)


def test_plan_is_taken(door: Door) -> None:
    door.inbox.on_message(topic("plan"), envelope("plan"), False)
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


def test_ticket_for_another_device_is_refused(door: Door) -> None:
    where = TOPICS.of(Kind.TICKET, "watch", device_id(STRANGER.public))
    door.say(where, message("ticket-go"), ONLINE)
    assert door.taken == []
    assert door.counted == {"refused: topic": 1}


def test_message_that_was_emptied_on_its_way_is_refused(door: Door) -> None:
    door.inbox.on_message(topic("plan"), b"", True)
    assert door.counted == {"refused: size": 1}
