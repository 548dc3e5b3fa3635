"""What the running aggregator says of its history, and what it forgets."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    Answer,
    Certificate,
    Model,
    OfEpoch,
    Plan,
    Receipt,
    Rest,
    TaskInForce,
    Tasks,
    Ticket,
    Verdict,
)
from tests.support.hand_aggregator import ROOT, TOPICS, HandAggregator, key_of

PLAN, MODEL = TOPICS.of(Kind.PLAN, "tiny", "train"), TOPICS.of(Kind.MODEL, "tiny", 1)


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state")
    yield aggregator
    aggregator.store.close()


def remove_device(aggregator: HandAggregator, number: int) -> None:
    """As the verb does: in a process of its own."""
    other = Store(aggregator.directory)
    assert Devices(other.database, TOPICS).revoke(device_id(key_of(number).public), ROOT)
    other.close()


def confirm(aggregator: HandAggregator) -> None:
    """PUBACKs of all that was emptied."""
    for published in list(aggregator.link.published):
        if not published.payload and published.done is not None:
            published.done()
    aggregator.settle()


def put_back(aggregator: HandAggregator, copy: Path) -> None:
    aggregator.store.close()
    shutil.rmtree(aggregator.directory)
    shutil.copytree(copy, aggregator.directory)
    aggregator.start()
    aggregator.connect()


def epochs(aggregator: HandAggregator) -> dict[type, set[int]]:
    """Of all that was said, by sort."""
    said: list[OfEpoch] = [*aggregator.said(Plan), *aggregator.rests, *aggregator.said(Tasks)]
    found: dict[type, set[int]] = {}
    for message in [*said, *aggregator.tickets, *aggregator.receipts]:
        found.setdefault(type(message), set()).add(message.epoch)
    return found


def test_all_that_is_said_has_the_epoch_of_the_process(aggregator: HandAggregator) -> None:
    aggregator.add_task(goal=1, rounds=2)
    aggregator.enrol(1)
    seen = []
    for _ in range(2):
        aggregator.connect()
        if aggregator.said(Plan):
            aggregator.accepted(1, aggregator.plan)
        seen.append(epochs(aggregator))
        aggregator.start()
    assert all({Plan, Tasks, Ticket, Receipt} <= set(said) for said in seen)
    assert [len(set.union(*said.values())) for said in seen] == [1, 1]
    assert Rest in seen[1]
    assert max(seen[0][Plan]) < min(seen[1][Rest])


def test_a_restart_keeps_the_open_plan(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.connect()
    plan = aggregator.plan
    aggregator.start()
    aggregator.connect()
    assert aggregator.plan.plan_id == plan.plan_id
    assert aggregator.plan.moment > plan.moment
    assert "copies" not in aggregator.service.counters.counts


def test_an_old_copy_that_is_put_back_goes_on_under_ids_that_nobody_has_seen(
    aggregator: HandAggregator, tmp_path: Path
) -> None:
    aggregator.add_task(rounds=5)
    aggregator.enrol(1, 2, 3)
    aggregator.connect()
    aggregator.accepted(1, aggregator.plan)
    aggregator.store.close()
    shutil.copytree(aggregator.directory, tmp_path / "copy")
    aggregator.start()
    aggregator.connect()
    said = [aggregator.plan]
    for number in (2, 3, 1, 2):  # two rounds end, a third is open
        aggregator.accepted(number, aggregator.plan)
    said += aggregator.said(Plan)
    assert aggregator.plan.round == 3
    put_back(aggregator, tmp_path / "copy")
    plan = aggregator.plan
    assert plan.round == 1
    assert plan.plan_id not in {p.plan_id for p in said}
    assert all(plan.moment > p.moment for p in said)
    assert aggregator.service.counters.counts["copies"] == 1
    # Who was accepted before the copy was made is told so, and is in the sum once.
    aggregator.join(1, plan)
    aggregator.settle()
    assert [r.verdict for r in aggregator.receipts] == [Verdict.ACCEPTED]
    aggregator.accepted(2, plan, step=9)
    assert aggregator.plan.round == 2
    assert len(aggregator.store.rounds.members("tiny", plan.plan_id)) == 2
    # What was trained for the plan as it was called before is of no use.
    aggregator.update(3, said[0])
    aggregator.settle()
    assert aggregator.receipts[-1].reason == "unknown plan"


# --- what is removed -----------------------------------------------------------------------------


@pytest.mark.parametrize("served", [True, False])
def test_what_is_retained_of_a_removed_task_is_emptied_until_the_puback(
    aggregator: HandAggregator, served: bool
) -> None:
    aggregator.add_task()
    aggregator.connect()
    assert {PLAN, MODEL} <= aggregator.held()
    if not served:
        aggregator.service.stop(lambda: None)
        aggregator.settle()
    aggregator.remove_task()
    for _ in range(2):  # also if the first connection ends before the PUBACK
        if not served:
            aggregator.start()
        aggregator.connect()
        aggregator.clock.move(2.0)
        assert set(aggregator.emptied()) >= {PLAN, MODEL}
    assert aggregator.said(Tasks)[-1].tasks == ()
    confirm(aggregator)
    assert aggregator.store.withdrawn.some(9) == []
    aggregator.start()
    aggregator.connect()
    assert aggregator.emptied() == []


def test_a_task_that_is_added_again_is_not_emptied(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.connect()
    before = aggregator.said(Tasks)[-1]
    aggregator.remove_task()
    aggregator.add_task()
    aggregator.clock.move(2.0)
    confirm(aggregator)
    assert {PLAN, MODEL} <= aggregator.held()
    after = aggregator.said(Tasks)[-1]
    (old,), (new,) = before.tasks, after.tasks
    assert new.generation > old.generation
    assert after.number >= new.generation > before.number
    assert aggregator.plan.generation == new.generation
    assert len(aggregator.said(Model)) == 2  # the same version, and another model


def test_the_list_of_tasks_is_said_at_each_connect_and_when_it_changes(
    aggregator: HandAggregator,
) -> None:
    aggregator.connect()
    aggregator.add_task("one")
    aggregator.add_task("two")
    aggregator.clock.move(2.0)
    aggregator.connect()
    lists = [[task.task for task in tasks.tasks] for tasks in aggregator.said(Tasks)]
    assert lists == [[], ["one", "two"], ["one", "two"]]
    assert (
        TaskInForce("one", aggregator.plan_of("one").generation) in aggregator.said(Tasks)[-1].tasks
    )


def test_an_aggregator_that_stops_or_has_a_full_disk_does_not_take_its_tasks_back(
    aggregator: HandAggregator,
) -> None:
    """Its runners are closed, and devices would forget all."""
    aggregator.add_task()
    aggregator.settle()
    aggregator.link.connected = True
    aggregator.service.on_connected()
    aggregator.service.stop(lambda: None)
    aggregator.settle()
    said = aggregator.said(Tasks)
    aggregator.start()
    aggregator.connect()
    aggregator.service._refused(CannotWrite("the turn", "the disk is full"))
    aggregator.connect()
    aggregator.clock.move(400.0)
    assert {len(tasks.tasks) for tasks in [*said, *aggregator.said(Tasks)]} == {1}


def test_the_place_of_a_removed_device_is_given_away_at_once(aggregator: HandAggregator) -> None:
    aggregator.add_task(goal=1)  # two places
    aggregator.enrol(1, 2, 3)
    aggregator.connect()
    for number in (1, 2, 3):
        aggregator.join(number, aggregator.plan)
    aggregator.settle()
    assert [t.answer for t in aggregator.tickets] == [Answer.GO, Answer.GO, Answer.WAIT]
    remove_device(aggregator, 2)
    aggregator.join(3, aggregator.plan)
    aggregator.clock.move(2.0)
    assert aggregator.tickets[-1].answer is Answer.GO
    assert device_id(key_of(2).public) not in aggregator.store.rounds.places(
        "tiny", aggregator.plan.plan_id
    )


def test_the_place_of_a_device_that_was_removed_while_nobody_served_is_free(
    aggregator: HandAggregator,
) -> None:
    aggregator.add_task(goal=1)
    aggregator.enrol(1, 2, 3)
    aggregator.connect()
    for number in (1, 2):
        aggregator.join(number, aggregator.plan)
    aggregator.settle()
    remove_device(aggregator, 1)
    aggregator.start()
    aggregator.connect()
    aggregator.join(3, aggregator.plan)
    aggregator.settle()
    assert aggregator.tickets[-1].answer is Answer.GO
    assert [c.id for c in aggregator.said(Certificate) if c.revoked] == [
        device_id(key_of(1).public)
    ]


def test_a_removed_device_that_shows_its_key_is_told(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.enrol(1)
    aggregator.connect()
    remove_device(aggregator, 1)
    aggregator.clock.move(2.0)
    aggregator.join(1, aggregator.plan)
    aggregator.settle()
    assert aggregator.tickets == []
    aggregator.join(1, aggregator.plan, key=True)
    aggregator.settle()
    assert aggregator.tickets[-1].reason == "not enrolled"
