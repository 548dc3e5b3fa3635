"""What the aggregator pays for junk: whatever its size and that of the fleet, and little."""

from functools import partial
from pathlib import Path

import pytest

from fedling_protocol.wire import envelope
from fedling_protocol.wire.identity import device_id, kid
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_SMALL
from fedling_protocol.wire.messages import Answer, Join
from tests.support.hand_aggregator import ONLINE, ROOT, TOPICS, HandAggregator, key_of
from tests.support.junk import (
    LARGE,
    MOST_BYTES,
    MOST_CALLS,
    MOST_KEPT,
    SMALL,
    Hashed,
    Paid,
    junk,
    kept_of_many,
    topics,
)

ONE = device_id(key_of(1).public)
KIDS = [kid(key.public) for key in (ROOT, ONLINE, key_of(1))] + [bytes(8)]
DEVICES = 200


def open_round(directory: Path, devices: int) -> HandAggregator:
    aggregator = HandAggregator(directory)
    aggregator.add_task()
    aggregator.enrol(*range(1, devices + 1))
    aggregator.connect()
    aggregator.clock.move(2.0)
    return aggregator


@pytest.fixture(scope="module")
def either(tmp_path_factory: pytest.TempPathFactory) -> tuple[HandAggregator, HandAggregator]:
    """Of a fleet of few and of many devices: junk leaves nothing in them."""
    directory = tmp_path_factory.mktemp("either")
    return open_round(directory / "few", 1), open_round(directory / "many", DEVICES)


@pytest.mark.parametrize("kind", list(Kind))
def test_junk_costs_no_more_when_it_or_the_fleet_is_large(
    either: tuple[HandAggregator, HandAggregator], monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    few, many = either
    hashed = Hashed(monkeypatch)
    for topic in topics(TOPICS, kind, "tiny", ONE):
        for name in KIDS:
            for small, large in zip(junk(SMALL, name), junk(LARGE, name), strict=True):
                cheap = Paid(partial(few.service.on_message, topic, small[1], False))
                dear = Paid(partial(many.service.on_message, topic, large[1], False))
                assert dear.calls <= min(MOST_CALLS, cheap.calls + 40), small[0]
                assert dear.peak <= MOST_BYTES, small[0]
    assert hashed.most <= 2 * MAX_SMALL


@pytest.mark.parametrize("kind", list(Kind))
def test_junk_leaves_nothing(tmp_path: Path, kind: Kind) -> None:
    aggregator = open_round(tmp_path, 1)
    aggregator.disk.waits = True
    for topic in topics(TOPICS, kind, "tiny", ONE):
        for _, data in junk(SMALL, KIDS[2]):
            assert (
                kept_of_many(partial(aggregator.service.on_message, topic, data, False))
                <= MOST_KEPT
            )
    aggregator.settle()
    assert aggregator.disk.waiting == 0


def test_strangers_with_a_key_for_each_question_are_answered_and_not_written_down(
    tmp_path: Path,
) -> None:
    aggregator = open_round(tmp_path, 1)
    plan = aggregator.plan
    for number in range(1000, 1500):
        signer = key_of(number)
        topic = TOPICS.of(Kind.JOIN, "tiny", device_id(signer.public))
        join = Join(plan.plan_id, b"n" * 8, None, signer.public)
        sealed = envelope.seal(join, TOPICS.bound(topic), signer)
        aggregator.service.on_message(topic, sealed, False)
    aggregator.settle()
    assert [ticket.answer for ticket in aggregator.tickets] == [Answer.WAIT] * 500
    assert len(aggregator.devices.pending()) == 60
    aggregator.clock.move(30.0)
    aggregator.join(2, plan, key=True)
    aggregator.settle()
    assert device_id(key_of(2).public) in {one.id for one in aggregator.devices.pending()}
