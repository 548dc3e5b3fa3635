"""A revoked device is put off its living connection, for good: at a real mosquitto, and by hand."""

import logging
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from fedling_broker.authority import x509
from fedling_broker.service import cutting
from fedling_broker.service.cutting import LONGEST_S, Cutter, Gatehouse, Pass
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import tls_key
from fedling_protocol.net.credentials import Access
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Link, Owner
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import ThreadWorker
from tests.protocol.net.ends import End
from tests.support.guarded import TOPICS, Guarded
from tests.support.ports import HandClock, HandLink, HandWorker

DEVICE, OTHER, THIRD = "a" * 16, "b" * 16, "c" * 16
JOIN = f"fedling/1/home/watch/join/{DEVICE}"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Guarded]:
    with Guarded(tmp_path) as guarded:
        yield guarded


def cutter_of(fleet: Guarded, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Cutter:
    """As serve makes it, with passes of the authority that is here; in less of a hurry there."""
    monkeypatch.setattr(cutting, "FIRST_S", 0.05)
    monkeypatch.setattr(cutting, "LONGEST_S", 0.05)

    def link(settings_access: Access, client_id: str, owner: Owner) -> Link:
        return MqttLink(
            loop,
            ThreadWorker(loop, "names", patient=False),
            Broker("127.0.0.1", fleet.mosquitto.port, 60),
            Backoff(0.05, 0.05, random.random),
            TOPICS.largest,
            partial(new_client, client_id, settings_access.credentials),
            owner,
            settings_access.layer,
        )

    def issue(device: str, seconds: int) -> Pass:
        now = datetime.now(UTC)
        key = tls_key.generate()
        ends = now + timedelta(seconds=seconds)
        made = fleet.authority.client(device, tls_key.public(key), now - timedelta(days=1), ends)
        access = fleet.access(made, key)
        return Pass(x509.serial(made), partial(link, access))

    def revoke(serial: int) -> None:
        fleet.authority.revoke(serial)
        fleet.tell([])

    return Cutter(loop, ThreadWorker(loop, "authority"), random.random, Gatehouse(issue, revoke))


def settle(end: End, cutter: Cutter, each: Callable[[], None] = lambda: None) -> None:
    """Run until everybody is put off."""

    def done() -> bool:
        each()
        return not cutter.busy

    end.until(done)


def test_revoked_device_is_cut_and_stays_so_over_a_restart(
    fleet: Guarded, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = fleet.settings(DEVICE)
    device, other = fleet.shown(loop, DEVICE, settings).connect(), fleet.end(loop, OTHER).connect()
    fleet.authority.revoke(fleet.serials[DEVICE])
    fleet.tell([DEVICE])
    cutter = cutter_of(fleet, loop, monkeypatch)
    cutter.cut(DEVICE)
    settle(device, cutter, fleet.reload_if_changed)
    device.until(lambda: not device.link.connected)
    assert not is_let_in(fleet, loop, settings)
    fleet.mosquitto.restart()
    other.until(lambda: not other.link.connected)
    other.connect()
    assert not is_let_in(fleet, loop, settings)
    for end in (device, other):
        end.stop()


def test_without_the_takeover_a_revoked_device_keeps_its_connection(
    fleet: Guarded, loop: Loop
) -> None:
    """The one half alone: the list is read, and refuses the next connect."""
    device = fleet.end(loop, DEVICE).connect()
    aggregator = fleet.end(loop, "fedling-aggregator-home").connect()
    aggregator.link.subscribe([JOIN])
    aggregator.until(lambda: aggregator.link.answered)
    fleet.authority.revoke(fleet.serials[DEVICE])
    fleet.tell([])
    fleet.reload(loop)
    device.link.publish(JOIN, b"still here")
    aggregator.until(lambda: bool(aggregator.heard.messages))
    assert device.heard.events == ["connected"]
    for end in (device, aggregator):
        end.stop()


def test_without_the_list_a_revoked_device_comes_back(
    fleet: Guarded, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half alone: it is put off, and connects again with what was revoked."""
    device = fleet.end(loop, DEVICE).connect()
    taken = fleet.end(loop, DEVICE).connect()
    device.until(lambda: not device.link.connected)
    taken.stop()
    device.connect().stop()


def test_revoked_device_says_and_hears_nothing_from_the_reload_on(
    fleet: Guarded, loop: Loop
) -> None:
    """The access list names it: a connection that is not cut yet carries nothing."""
    device, other = fleet.end(loop, DEVICE).connect(), fleet.end(loop, OTHER).connect()
    aggregator = fleet.end(loop, "fedling-aggregator-home").connect()
    aggregator.link.subscribe(["fedling/1/home/watch/join/+"])
    for end in (device, other):
        end.link.subscribe(["fedling/1/home/keys/+"])
        end.until(lambda: end.link.answered)  # noqa: B023 (called here)
    fleet.tell([DEVICE])
    fleet.reload(loop)
    device.link.publish(JOIN, b"unheard")
    device.until(lambda: not device.link.sending)
    other.link.publish(f"fedling/1/home/watch/join/{OTHER}", b"heard")
    aggregator.until(lambda: bool(aggregator.heard.messages))
    aggregator.link.publish("fedling/1/home/keys/aggregator", b"for all")
    other.until(lambda: bool(other.heard.messages))
    assert [payload for _, payload, _ in aggregator.heard.messages] == [b"heard"]
    assert device.heard.messages == []
    for end in (device, other, aggregator):
        end.stop()


def test_broker_that_does_not_read_the_list_is_told_of(
    fleet: Guarded, loop: Loop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not believed to have: the device is put off again and again, until it has."""
    monkeypatch.setattr(cutting, "PATIENCE", 3)
    device = fleet.end(loop, DEVICE).connect()
    fleet.authority.revoke(fleet.serials[DEVICE])
    cutter = cutter_of(fleet, loop, monkeypatch)
    with caplog.at_level(logging.WARNING):
        cutter.cut(DEVICE)
        device.until(lambda: "still lets it in" in caplog.text)
    assert cutter.busy
    settle(device, cutter, fleet.reload_if_changed)
    device.until(lambda: not device.link.connected)
    device.stop()


def test_every_pass_is_on_the_list_in_the_end(
    fleet: Guarded, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    cutter = cutter_of(fleet, loop, monkeypatch)
    device = fleet.end(loop, DEVICE).connect()
    fleet.authority.revoke(fleet.serials[DEVICE])
    for name in (DEVICE, OTHER, THIRD, DEVICE):  # one is asked for twice, two wait for it
        cutter.cut(name)
    settle(device, cutter, fleet.reload_if_changed)
    assert len(fleet.authority.revoked()) == 1 + 2 * 3
    device.stop()


def is_let_in(fleet: Guarded, loop: Loop, settings: MqttSettings) -> bool:
    """Whether a certificate is good for one more connect."""
    end = fleet.shown(loop, DEVICE, settings)
    end.until(lambda: bool(end.heard.events))
    end.stop()
    return end.heard.events[0] == "connected"


class ByHand:
    """A cutter, and an MQTT broker that is the test."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.issued: list[int] = []  # for how many seconds
        self.listed: list[int] = []  # serial numbers
        self.knocks: list[Owner] = []
        house = Gatehouse(self._issue, self.listed.append)
        self.cutter = Cutter(self.clock, HandWorker(self.clock), lambda: 0.5, house)
        self.cutter.cut(DEVICE)
        self.clock.settle()

    def _issue(self, device: str, seconds: int) -> Pass:
        assert device == DEVICE
        self.issued.append(seconds)
        return Pass(len(self.issued), self._make_link)

    def _make_link(self, _client_id: str, owner: Owner) -> HandLink:
        self.knocks.append(owner)
        return HandLink(owner)

    def answer(self, *, let_in: bool) -> None:
        """Answer the last knock."""
        if let_in:
            self.knocks[-1].on_connected()
        else:
            self.knocks[-1].on_disconnected("refused", 1.0)
        self.clock.settle()


def test_a_pass_on_the_list_is_not_refused_for_its_age() -> None:
    """That would be taken for a broker that has read the list."""
    hand = ByHand()
    for _ in range(7 * 144):
        hand.answer(let_in=True)
        hand.clock.move(LONGEST_S)
    assert len(hand.knocks) > 7 * 144
    assert hand.listed == [1]
    (seconds,) = hand.issued
    assert seconds > 7 * 86_400


def test_once_the_list_is_read_it_is_tried_no_more() -> None:
    hand = ByHand()
    hand.answer(let_in=False)
    assert (len(hand.issued), len(hand.knocks)) == (2, 2)
    assert hand.clock.waiting == 0
    hand.answer(let_in=True)
    assert hand.listed == [1, 2]
    assert not hand.cutter.busy
    hand.clock.move(LONGEST_S)
    assert len(hand.knocks) == 2


def test_a_takeover_that_fails_is_tried_with_another_pass() -> None:
    hand = ByHand()
    hand.answer(let_in=False)
    hand.answer(let_in=False)
    assert hand.cutter.busy
    hand.clock.move(LONGEST_S)
    hand.answer(let_in=False)
    hand.answer(let_in=True)
    assert not hand.cutter.busy
    assert hand.listed == [1, 2, 3]
