"""Who makes keys by the thousand costs the disk one write a second, and the log a few lines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.service.strangers import LINES, LINES_S, MOST, PAUSE_S
from fedling_protocol.wire.identity import device_id
from tests.support.hand_aggregator import HandAggregator, key_of

FLOOD = range(100, 300)


def ids(numbers: range) -> set[str]:
    return {device_id(key_of(number).public) for number in numbers}


def flood(aggregator: HandAggregator, numbers: range) -> None:
    for number in numbers:
        aggregator.join(number, aggregator.plan, key=True)
    aggregator.settle()


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    hand = HandAggregator(tmp_path / "state")
    hand.add_task()
    hand.connect()
    yield hand
    hand.store.close()


def test_a_flood_is_written_once_a_second(aggregator: HandAggregator) -> None:
    flood(aggregator, FLOOD)
    assert len(aggregator.devices.pending()) == 1
    aggregator.clock.move(PAUSE_S)
    aggregator.settle()
    assert len(aggregator.devices.pending()) == 1 + MOST
    assert {p.id for p in aggregator.devices.pending()} == ids(FLOOD[: 1 + MOST])
    aggregator.clock.move(2 * PAUSE_S)
    flood(aggregator, range(400, 401))
    assert len(aggregator.devices.pending()) == 2 + MOST


def test_a_flood_fills_no_log(aggregator: HandAggregator, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        flood(aggregator, FLOOD)
        aggregator.clock.move(PAUSE_S)
    named = [r.message for r in caplog.records if "to enrol it" in r.message]
    more = [r.message for r in caplog.records if "more devices" in r.message]
    assert (len(named), len(more)) == (LINES, 1)
    aggregator.clock.move(LINES_S)
    flood(aggregator, range(400, 401))
    assert "to enrol it" in caplog.records[-1].message
