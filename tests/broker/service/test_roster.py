"""Who is trusted from when on, and which certificates the MQTT broker is given."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.service.roster import STRANGERS
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Answer, Certificate, WaitReason
from tests.support.hand_aggregator import ROOT, TOPICS, HandAggregator, key_of


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state")
    yield aggregator
    aggregator.store.close()


def certificates(aggregator: HandAggregator) -> list[str]:
    """Whose were published, in order."""
    prefix = TOPICS.of(Kind.KEYS, "aggregator").removesuffix("aggregator")
    topics = [p.topic for p in aggregator.link.published if p.payload]
    return [topic.removeprefix(prefix) for topic in topics if topic.startswith(prefix)]


def tombstones(aggregator: HandAggregator) -> list[str]:
    """Of whom it was published that they are revoked."""
    return [c.id for c in aggregator.said(Certificate) if c.revoked]


def acknowledge(aggregator: HandAggregator) -> None:
    """The MQTT broker has all that was published."""
    published, aggregator.link.published = aggregator.link.published, []
    for message in published:
        if message.done is not None:
            message.done()
    aggregator.settle()


def test_a_certificate_is_published_once(aggregator: HandAggregator) -> None:
    one = device_id(key_of(1).public)
    aggregator.enrol(1)
    aggregator.connect()
    assert certificates(aggregator) == ["aggregator", one]
    acknowledge(aggregator)
    aggregator.connect()
    assert certificates(aggregator) == ["aggregator"]


def test_many_certificates_are_published_a_few_at_a_time(aggregator: HandAggregator) -> None:
    aggregator.enrol(*range(1, 121))
    aggregator.connect()
    found: list[str] = []
    while new := certificates(aggregator)[1 if not found else 0 :]:
        assert len(new) <= 50
        found += new
        acknowledge(aggregator)
    assert len(set(found)) == len(found) == 120


def test_more_certificates_wait_for_those_under_way(aggregator: HandAggregator) -> None:
    aggregator.enrol(*range(1, 56))
    aggregator.connect()
    aggregator.enrol(56)
    aggregator.clock.move(2.0)
    assert len(certificates(aggregator)) == 1 + 50
    acknowledge(aggregator)
    assert len(certificates(aggregator)) == 6


def test_a_device_that_shows_its_key_gets_its_certificate_before_the_answer(
    aggregator: HandAggregator,
) -> None:
    """The MQTT broker had lost it, or it was added while nobody listened."""
    aggregator.add_task()
    aggregator.enrol(1)
    aggregator.connect()
    plan = aggregator.plan
    acknowledge(aggregator)
    aggregator.join(1, plan, key=True)
    aggregator.settle()
    one = device_id(key_of(1).public)
    topics = [p.topic for p in aggregator.link.published]
    assert topics == [TOPICS.of(Kind.KEYS, one), TOPICS.of(Kind.TICKET, "tiny", one)]


def test_a_stranger_is_told_to_wait_and_noted(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.connect()
    aggregator.join(5, aggregator.plan, key=True)
    aggregator.settle()
    assert [ticket.reason for ticket in aggregator.tickets] == ["not enrolled"]
    assert [p.id for p in aggregator.devices.pending()] == [device_id(key_of(5).public)]
    aggregator.enrol(5)
    aggregator.clock.move(2.0)
    assert certificates(aggregator)[-1] == device_id(key_of(5).public)
    aggregator.join(5, aggregator.plan)
    aggregator.settle()
    assert [ticket.answer for ticket in aggregator.tickets] == [Answer.WAIT, Answer.GO]


def test_strangers_are_noted_so_many_at_once_and_then_one_a_second(
    aggregator: HandAggregator,
) -> None:
    aggregator.add_task()
    aggregator.connect()
    for number in range(100, 100 + STRANGERS + 5):
        aggregator.join(number, aggregator.plan, key=True)
    aggregator.settle()
    assert len(aggregator.devices.pending()) == STRANGERS
    aggregator.clock.move(3.0)
    for number in range(200, 210):
        aggregator.join(number, aggregator.plan, key=True)
    aggregator.settle()
    assert len(aggregator.devices.pending()) == STRANGERS + 3


def test_a_revoked_device_is_refused_at_once_and_its_tombstone_published(
    aggregator: HandAggregator,
) -> None:
    """Also after a restart, until the MQTT broker has acknowledged it."""
    aggregator.add_task()
    aggregator.enrol(1)
    aggregator.connect()
    acknowledge(aggregator)
    one = device_id(key_of(1).public)
    other = Store(aggregator.directory)
    Devices(other.database, TOPICS).revoke(one, ROOT)
    other.close()
    aggregator.clock.move(2.0)
    assert tombstones(aggregator) == [one]
    aggregator.start()
    aggregator.connect()
    assert tombstones(aggregator) == [one]
    plan = aggregator.plan
    acknowledge(aggregator)
    aggregator.connect()
    assert tombstones(aggregator) == []
    aggregator.join(1, plan)
    aggregator.settle()
    assert aggregator.tickets == []
    aggregator.clock.move(60.0)
    assert aggregator.store.ledger.counters()["refused: revoked"] == 1


def test_a_revoked_device_that_shows_its_key_gets_its_tombstone_before_the_answer(
    aggregator: HandAggregator,
) -> None:
    """It may have missed it: an MQTT broker that was emptied holds none."""
    aggregator.add_task()
    aggregator.enrol(1)
    aggregator.connect()
    plan, one = aggregator.plan, device_id(key_of(1).public)
    acknowledge(aggregator)
    other = Store(aggregator.directory)
    Devices(other.database, TOPICS).revoke(one, ROOT)
    other.close()
    aggregator.clock.move(2.0)
    acknowledge(aggregator)
    aggregator.connect()
    assert tombstones(aggregator) == []
    aggregator.join(1, plan, key=True)
    aggregator.settle()
    assert tombstones(aggregator) == [one]
    (ticket,) = aggregator.tickets
    assert ticket.reason == WaitReason.NOT_ENROLLED
    last = [TOPICS.of(Kind.KEYS, one), TOPICS.of(Kind.TICKET, "tiny", one)]
    assert [p.topic for p in aggregator.link.published[-2:]] == last


def test_the_puback_of_a_certificate_is_not_that_of_its_tombstone(
    aggregator: HandAggregator,
) -> None:
    one = device_id(key_of(1).public)
    aggregator.enrol(1)
    aggregator.connect()
    other = Store(aggregator.directory)
    Devices(other.database, TOPICS).revoke(one, ROOT)
    other.close()
    aggregator.clock.move(2.0)
    acknowledge(aggregator)
    assert tombstones(aggregator) == [one]
    acknowledge(aggregator)
    aggregator.connect()
    assert tombstones(aggregator) == []


def test_after_a_full_disk_the_fleet_hears_who_the_aggregator_is(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It connected while nothing could be written: what it was about to say was lost."""
    aggregator.add_task()
    with monkeypatch.context() as full:
        full.setattr(durable, "commit", refuse)
        aggregator.connect()
        assert certificates(aggregator) == []
    aggregator.clock.move(60.0)
    assert {*certificates(aggregator)} == {"aggregator"}


def refuse(*_: object, **__: object) -> None:
    raise CannotWrite("the database", "the disk is full")


def test_a_device_that_is_removed_while_its_update_waits_is_refused(
    aggregator: HandAggregator,
) -> None:
    aggregator.add_task()
    aggregator.enrol(1)
    aggregator.connect()
    aggregator.join(1, aggregator.plan)
    aggregator.settle()
    aggregator.update(1, aggregator.plan)  # verified, not executed yet
    other = Store(aggregator.directory)
    Devices(other.database, TOPICS).revoke(device_id(key_of(1).public), ROOT)
    other.close()
    aggregator.settle()
    assert aggregator.receipts == []
    assert aggregator.service.counters.counts["refused: unknown key"] == 1
