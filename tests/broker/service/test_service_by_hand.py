"""The real service on ports by hand: turns, full disks, other writers, the end."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.store.store import Store
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.net.framing import publish_size
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.wire import counted, envelope
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import State, StateCode, Verdict
from tests.support.hand_aggregator import TOPICS, HandAggregator, key_of
from tests.support.waiting import until


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state")
    yield aggregator
    aggregator.store.close()


def refuse(*_: object, **__: object) -> None:
    raise CannotWrite("the database", "the disk is full")


def test_many_devices_share_a_commit(aggregator: HandAggregator) -> None:
    aggregator.add_task(goal=20)
    aggregator.enrol(*range(1, 21))
    aggregator.connect()
    aggregator.disk.waits = True
    for number in range(1, 21):
        aggregator.join(number, aggregator.plan)
        aggregator.update(number, aggregator.plan)
    aggregator.settle()
    assert aggregator.disk.waiting == 1
    aggregator.disk.go(1)
    aggregator.settle()
    assert len(aggregator.tickets) == len(aggregator.receipts) == 20


def test_what_a_full_disk_refused_was_never_said_and_comes_again(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregator.add_task()
    aggregator.enrol(1)
    aggregator.connect()
    plan = aggregator.plan
    aggregator.join(1, plan)
    aggregator.settle()
    with monkeypatch.context() as full:
        full.setattr(durable, "append", refuse)
        aggregator.update(1, plan)
        aggregator.settle()
        assert aggregator.receipts == []
        assert "nothing is accepted" in aggregator.statuses[-1]
        aggregator.update(1, plan)  # as if nobody had heard it
        aggregator.settle()
    aggregator.clock.move(60.0)
    assert aggregator.statuses[-1] == "running"
    assert aggregator.receipts == []
    aggregator.update(1, plan)
    aggregator.settle()
    assert [receipt.verdict for receipt in aggregator.receipts] == [Verdict.ACCEPTED]


def test_after_another_writer_everything_is_as_it_says(aggregator: HandAggregator) -> None:
    """A task that another process has removed gets no row and no file more."""
    aggregator.add_task()
    aggregator.enrol(1)
    aggregator.connect()
    plan = aggregator.plan
    aggregator.join(1, plan)
    aggregator.settle()
    other = Store(aggregator.directory)
    other.tasks.remove("tiny")
    other.close()
    aggregator.update(1, plan)
    aggregator.settle()
    assert [receipt.reason for receipt in aggregator.receipts] == ["unknown plan"]
    assert TOPICS.of(Kind.MODEL, "tiny", 1) in aggregator.emptied()
    aggregator.clock.move(5.0)
    for kind in ("updates", "models", "states"):
        assert list((aggregator.directory / kind).iterdir()) == []


def test_stop_commits_and_says_what_was_accepted(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.enrol(1)
    aggregator.connect()
    aggregator.join(1, aggregator.plan)
    aggregator.settle()
    aggregator.disk.waits = True
    aggregator.update(1, aggregator.plan)
    aggregator.settle()
    done: list[bool] = []
    aggregator.link.traffic = Traffic(sent=5, received=7)
    aggregator.service.stop(lambda: done.append(True))
    aggregator.settle()
    assert done == []
    while aggregator.disk.waiting:
        aggregator.disk.go()
        aggregator.settle()
    assert done == [True]
    assert [receipt.verdict for receipt in aggregator.receipts] == [Verdict.ACCEPTED]
    counted = aggregator.store.ledger.counters()
    assert (counted["bytes received"], counted["bytes sent"]) == (7, 5)


def test_bytes_are_counted_by_the_kind_of_their_message(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.enrol(1)
    aggregator.connect()
    aggregator.accepted(1, aggregator.plan)
    aggregator.clock.move(180.0)
    sent: Counter[str] = Counter()
    for one in aggregator.link.published:
        kind = TOPICS.parse(one.topic).kind
        sent[counted.sent(kind)] += publish_size(one.topic, len(one.payload))
    counters = aggregator.store.ledger.counters()
    assert {name: counters.get(name) for name in sent} == sent
    assert len(sent) >= 5
    assert all(counters[counted.received(kind)] > 0 for kind in (Kind.JOIN, Kind.UPDATE))


def test_a_kind_that_the_aggregator_does_not_take_is_refused(aggregator: HandAggregator) -> None:
    aggregator.enrol(1)
    aggregator.connect()
    state = State(StateCode.IDLE, 0)
    topic = TOPICS.of(Kind.STATE, device_id(key_of(1).public))
    sealed = envelope.seal(state, TOPICS.bound(topic), key_of(1))
    aggregator.service.on_message(topic, sealed, False)
    aggregator.service.on_message(topic, b"", True)
    aggregator.clock.move(180.0)  # each is written once
    counters = aggregator.store.ledger.counters()
    assert (counters["refused: topic"], counters["refused: size"]) == (1, 1)


def test_a_slow_disk_holds_no_callback_up(aggregator: HandAggregator) -> None:
    """The disk hangs for a minute: messages are taken in, timers run, other words are said."""
    aggregator.add_task(goal=5)
    aggregator.enrol(1, 2)
    aggregator.connect()
    plan = aggregator.plan
    aggregator.disk.waits = True
    aggregator.join(1, plan)
    aggregator.settle()
    called: list[str] = []
    aggregator.clock.after(30.0, lambda: called.append("timer"))
    for _ in range(60):
        aggregator.join(2, plan)
        aggregator.clock.move(1.0)
    assert called == ["timer"]
    assert (aggregator.tickets, aggregator.disk.waiting) == ([], 1)
    while aggregator.disk.waiting:
        aggregator.disk.go()
        aggregator.settle()
    assert len(aggregator.tickets) == 61


def test_what_waits_for_a_dead_disk_is_bounded(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedling_broker.service.service.MOST_WAITING", 1000)
    aggregator.add_task(goal=5)
    aggregator.enrol(1)
    aggregator.connect()
    plan = aggregator.plan
    aggregator.disk.waits = True
    for _ in range(50):
        aggregator.join(1, plan)
        aggregator.settle()
    dropped = aggregator.service.counters.counts["dropped messages"]
    assert 0 < dropped < 50
    for _ in range(3):
        aggregator.disk.go()
        aggregator.settle()
    assert len(aggregator.tickets) == 50 - dropped
    aggregator.disk.waits = False
    aggregator.join(1, plan)
    aggregator.settle()
    assert len(aggregator.tickets) == 51 - dropped


def test_a_stop_refuses_nothing_that_waits_for_its_turn(aggregator: HandAggregator) -> None:
    """A device that heard "unknown plan" would throw its update away."""
    aggregator.add_task()
    aggregator.enrol(1)
    aggregator.connect()
    plan = aggregator.plan
    aggregator.join(1, plan)
    aggregator.settle()
    aggregator.update(1, plan)
    aggregator.service.stop(lambda: None)
    aggregator.settle()
    assert aggregator.receipts == []
    assert aggregator.store.ledger.counters()["dropped messages"] == 1
    assert not any(name.startswith("refused") for name in aggregator.store.ledger.counters())
    aggregator.start()
    aggregator.connect()
    aggregator.update(1, plan)
    aggregator.settle()
    assert [receipt.verdict for receipt in aggregator.receipts] == [Verdict.ACCEPTED]


def test_a_stop_while_the_disk_refuses_ends(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregator.connect()
    done: list[bool] = []
    aggregator.service.counters.count("something")
    monkeypatch.setattr(durable, "commit", refuse)
    aggregator.service.stop(lambda: done.append(True))
    aggregator.service.stop(lambda: done.append(False))
    aggregator.settle()
    assert done == [True]
    aggregator.clock.move(600.0)
    assert aggregator.statuses == []  # it is not tried again


@pytest.mark.parametrize("tried", [False, True])
def test_a_connection_that_comes_before_the_disk_is_mended_is_told_everything(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch, *, tried: bool
) -> None:
    """Also while it is tried whether it is."""
    aggregator.add_task()
    aggregator.connect()
    plan = aggregator.plan
    aggregator.service.counters.count("something")
    with monkeypatch.context() as full:
        full.setattr(durable, "commit", refuse)
        aggregator.clock.move(60.0)
    aggregator.link.connected = False
    aggregator.service.on_disconnected("lost", 1.0)
    aggregator.disk.waits = True
    until(lambda: not tried or aggregator.disk.waiting, lambda _: aggregator.clock.move(1.0))
    aggregator.link.published.clear()
    aggregator.connect()
    assert aggregator.link.published == []
    aggregator.disk.waits = False
    aggregator.disk.go()
    aggregator.clock.move(60.0)
    assert aggregator.statuses[-1] == "running"
    assert aggregator.plan == plan
    assert TOPICS.of(Kind.KEYS, "aggregator") in aggregator.held()


def test_each_connection_is_subscribed_anew(aggregator: HandAggregator) -> None:
    for _ in range(2):
        aggregator.link.subscribed.clear()
        aggregator.connect()
        assert aggregator.link.subscribed == TOPICS.aggregator_subscriptions()
