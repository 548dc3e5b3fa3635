"""Who asks about what is not there, or not now: each is answered or counted, none of it halts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedling_broker.service import service
from fedling_broker.service.service import BOOKS_S, LOOK_S, WAIT_S
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.wire.messages import Answer, Plan, Verdict
from tests.support.hand_aggregator import HandAggregator

Act = Callable[[HandAggregator, Plan], object]


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state")
    aggregator.add_task()
    aggregator.enrol(1)
    aggregator.connect()
    yield aggregator
    aggregator.store.close()


def counts(aggregator: HandAggregator) -> dict[str, int]:
    """What was counted but bytes, on disk or not."""
    aggregator.clock.move(BOOKS_S)
    return {k: n for k, n in aggregator.store.ledger.counters().items() if "bytes" not in k}


def test_devices_of_a_removed_task_are_told_that_its_plan_is_unknown(
    aggregator: HandAggregator,
) -> None:
    plan = aggregator.plan
    aggregator.remove_task()
    aggregator.join(1, plan)
    aggregator.join(1, plan, have=b"u" * 32)
    sent = aggregator.update(1, plan)
    aggregator.join(2, plan)  # a stranger's, without its key
    aggregator.settle()
    told = [(r.plan_id, r.update_hash, r.verdict, r.reason) for r in aggregator.receipts]
    refused = Verdict.REFUSED, "unknown plan"
    assert told == [(plan.plan_id, have, *refused) for have in (None, b"u" * 32, sent)]
    assert counts(aggregator)["refused: topic"] == 3


def test_devices_of_a_task_that_is_stopped_keep_what_they_have(
    aggregator: HandAggregator,
) -> None:
    plan = aggregator.plan
    aggregator.service.runners.halt("tiny", ValueError("planted"))
    halted = aggregator.service.runners.halts.halted["tiny"]
    aggregator.join(1, plan)
    aggregator.update(1, plan)
    aggregator.settle()
    (ticket,) = aggregator.tickets
    wait_s = max(WAIT_S, int(halted.until - aggregator.clock.now()))
    assert (ticket.answer, ticket.seconds, ticket.reason) == (
        *(Answer.WAIT, wait_s, "the task is stopped"),
    )
    assert aggregator.receipts == []
    assert counts(aggregator) == {"dropped messages": 1, "halts": 1}


def test_what_comes_at_the_end_is_not_answered_but_counted(aggregator: HandAggregator) -> None:
    """A turn of before stop() is on its way; whoever asked asks the next process."""
    plan, ended = aggregator.plan, list[bool]()
    aggregator.join(1, plan)
    aggregator.service.stop(lambda: ended.append(True))
    aggregator.join(1, plan)
    aggregator.settle()
    assert ended == [True]
    assert aggregator.tickets == []
    aggregator.start()
    assert counts(aggregator)["dropped messages"] >= 1


def test_after_the_end_nothing_is_said_or_begun(aggregator: HandAggregator) -> None:
    aggregator.service.stop(lambda: None)
    aggregator.settle()
    said, runners = len(aggregator.link.published), list(aggregator.service.runners)
    assert runners == []
    aggregator.service.stop(lambda: pytest.fail("told twice"))
    aggregator.service.on_connected()
    aggregator.add_task("other")
    aggregator.clock.move(3600.0)
    assert len(aggregator.link.published) == said
    assert list(aggregator.service.runners) == []


def test_bytes_at_the_socket_are_asked_for_before_they_are_written(
    aggregator: HandAggregator,
) -> None:
    """At the end, too."""
    aggregator.link.traffic = Traffic(70, 30)
    aggregator.clock.move(BOOKS_S)
    counted = aggregator.store.ledger.counters()
    assert (counted["bytes sent"], counted["bytes received"]) == (70, 30)
    aggregator.link.traffic = Traffic(7, 3)
    aggregator.service.stop(lambda: None)
    aggregator.settle()
    counted = aggregator.store.ledger.counters()
    assert (counted["bytes sent"], counted["bytes received"]) == (77, 33)


def test_messages_wait_for_a_turn_up_to_so_many_bytes(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken makes room for others, also where it was refused."""
    monkeypatch.setattr(service, "MOST_WAITING", 0)
    plan = aggregator.plan
    for _ in range(3):
        aggregator.join(1, plan)  # the first is taken, the next is too many
        aggregator.join(1, plan)
        aggregator.settle()
    assert len(aggregator.tickets) == 3
    assert counts(aggregator)["dropped messages"] == 3


def test_what_another_process_wrote_is_seen_soon_and_by_itself(aggregator: HandAggregator) -> None:
    for number in range(3):
        aggregator.add_task(f"other-{number}")
        aggregator.clock.move(LOOK_S)
        assert aggregator.plan_of(f"other-{number}").round == 1


def test_gate_is_looked_at_with_each_change_and_each_minute(aggregator: HandAggregator) -> None:
    """A token that ends, or a device that is revoked, is not let in for longer."""
    looks = list[float]()

    class Gate:
        def look(self) -> None:
            looks.append(aggregator.clock.now())

    aggregator.service.gate = Gate()  # type: ignore[assignment]
    aggregator.clock.move(10 * LOOK_S)
    looks.clear()
    aggregator.enrol(7)
    aggregator.clock.move(LOOK_S)
    assert len(looks) >= 1
    aggregator.clock.move(10 * LOOK_S)
    looks.clear()
    aggregator.clock.move(BOOKS_S)
    assert len(looks) >= 1


LIFE = """\
connected to localhost:1883
task tiny: at work
tiny: round 1 open on model 1
tiny: round 1 made model 2
tiny: round 2 open on model 2
no connection to localhost:1883: lost; next try in 1.0 s
connected to localhost:1883
task tiny: removed
task tiny: at work
tiny: round 1 open on model 1
task tiny: paused
"""


def test_log_of_a_life(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    aggregator = HandAggregator(tmp_path / "state")
    aggregator.connect()
    aggregator.add_task(goal=1)
    aggregator.enrol(1)
    aggregator.clock.move(LOOK_S)
    aggregator.accepted(1, aggregator.plan)
    aggregator.connect()
    aggregator.remove_task()
    aggregator.clock.move(LOOK_S)
    aggregator.add_task(goal=1)
    aggregator.clock.move(LOOK_S)
    other = aggregator.another_store()
    assert other.tasks.pause("tiny", "")
    other.close()
    aggregator.clock.move(LOOK_S)
    assert "\n".join([*caplog.messages, ""]) == LIFE
    aggregator.store.close()
