"""Tasks come, change and go while their rounds are under way."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker.service import running_sum
from fedling_broker.store.rounds import DecisionRow, Rounds
from fedling_broker.store.shelf import Damaged
from fedling_broker.store.store import Store
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import Busy, CannotWrite
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Model, Update, Verdict
from tests.support.hand_aggregator import TOPICS, HandAggregator


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state")
    yield aggregator
    aggregator.store.close()


def close_round(aggregator: HandAggregator) -> None:
    """Both updates are there; the processor has not begun to fold."""
    aggregator.compute.waits = True
    for number in (1, 2):
        aggregator.accepted(number, aggregator.plan)
    assert [plan.closed for plan in aggregator.store.rounds.plans("tiny")] == [True]


def compute(aggregator: HandAggregator) -> None:
    """The processor does all that it was given, and all that follows."""
    aggregator.compute.waits = False
    aggregator.compute.go()
    aggregator.settle()


def pause(aggregator: HandAggregator, *, paused: bool) -> None:
    """As the verb does: in a process of its own."""
    other = Store(aggregator.directory)
    assert (other.tasks.pause if paused else other.tasks.resume)("tiny")
    other.close()
    aggregator.clock.move(2.0)


def test_a_task_that_is_added_again_before_anybody_looked_begins_anew(
    aggregator: HandAggregator,
) -> None:
    """Its row says the same; its rounds, models and places are gone."""
    aggregator.add_task()
    aggregator.enrol(1, 2)
    aggregator.connect()
    old = aggregator.plan
    aggregator.accepted(1, old)
    aggregator.remove_task()
    aggregator.add_task()
    aggregator.accepted(2, old)
    assert aggregator.receipts[-1].reason == "unknown plan"
    assert aggregator.plan.plan_id != old.plan_id
    for number in (1, 2):
        aggregator.accepted(number, aggregator.plan)
    assert aggregator.store.models.folded("tiny") == 1


def test_a_task_that_is_removed_while_it_is_folded_leaves_no_file(
    aggregator: HandAggregator,
) -> None:
    aggregator.add_task()
    aggregator.enrol(1, 2)
    aggregator.connect()
    close_round(aggregator)
    aggregator.remove_task()
    aggregator.clock.move(2.0)
    compute(aggregator)
    aggregator.clock.move(2.0)
    for kind in ("updates", "models", "states", "sums"):
        assert list((aggregator.directory / kind).iterdir()) == []
    assert TOPICS.of(Kind.MODEL, "tiny", 2) not in aggregator.held()


def test_a_task_that_is_removed_while_its_model_is_sealed_has_none_retained(
    aggregator: HandAggregator,
) -> None:
    aggregator.add_task()
    aggregator.compute.waits = True
    aggregator.connect()
    aggregator.remove_task()
    aggregator.clock.move(2.0)
    compute(aggregator)
    assert aggregator.held() == {TOPICS.of(Kind.KEYS, "aggregator"), TOPICS.of(Kind.TASKS)}


def test_a_task_that_is_paused_while_it_is_folded_ends_its_round_once(
    aggregator: HandAggregator,
) -> None:
    aggregator.add_task(rounds=3)
    aggregator.enrol(1, 2)
    aggregator.connect()
    close_round(aggregator)
    pause(aggregator, paused=True)
    compute(aggregator)
    assert [fold.version for fold in aggregator.store.models.folds("tiny")] == [2]
    assert [rest.version for rest in aggregator.rests] == [2]
    pause(aggregator, paused=False)
    assert (aggregator.plan.round, aggregator.plan.base_version) == (2, 2)


def test_devices_hear_why_a_task_is_paused_and_that_it_goes_on(aggregator: HandAggregator) -> None:
    aggregator.add_task(rounds=2)
    aggregator.enrol(1, 2)
    aggregator.connect()
    for why in ("firmware week", "", "firmware fortnight"):
        other = Store(aggregator.directory)
        assert other.tasks.pause("tiny", why)
        other.close()
        aggregator.clock.move(2.0)
        assert aggregator.plan.round == 1  # the round in work goes on
    close_round(aggregator)
    compute(aggregator)
    assert [rest.paused for rest in aggregator.rests] == ["firmware fortnight"]
    pause(aggregator, paused=True)
    assert aggregator.rests[-1].paused == ""
    pause(aggregator, paused=False)
    assert aggregator.plan.round == 2
    for number in (1, 2):
        aggregator.accepted(number, aggregator.plan)
    compute(aggregator)
    assert aggregator.rests[-1].paused is None  # it has all its rounds


def test_a_closed_round_is_folded_though_nobody_listens(aggregator: HandAggregator) -> None:
    aggregator.add_task()
    aggregator.enrol(1, 2)
    aggregator.connect()
    close_round(aggregator)
    aggregator.start()
    aggregator.settle()
    assert aggregator.link.published == []
    assert aggregator.store.models.folded("tiny") == 1


def test_damage_of_one_task_leaves_what_the_turn_did_for_another(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction for both, of which a part is undone with its answers."""
    for name in ("tiny", "other"):
        aggregator.add_task(name)
    aggregator.enrol(1)
    aggregator.connect()
    plans = [aggregator.plan_of(name) for name in ("tiny", "other")]
    for plan in plans:
        aggregator.join(1, plan)
    aggregator.settle()

    decide = Rounds.decide

    def damaged(rounds: Rounds, task: str, plan_id: bytes, row: DecisionRow) -> None:
        decide(rounds, task, plan_id, row)
        if task == "other":
            raise Damaged("a file")

    with monkeypatch.context() as broken:
        broken.setattr(Rounds, "decide", damaged)
        for plan in plans:
            aggregator.update(1, plan)
        aggregator.settle()
    tiny, other = plans
    assert [receipt.plan_id for receipt in aggregator.receipts] == [tiny.plan_id]
    assert len(aggregator.store.rounds.members("tiny", tiny.plan_id)) == 1
    assert aggregator.store.rounds.members("other", other.plan_id) == []
    aggregator.clock.move(60.0)
    for plan in plans:
        aggregator.update(1, plan)
    aggregator.settle()
    verdicts = [receipt.verdict for receipt in aggregator.receipts]
    assert verdicts == [Verdict.ACCEPTED, Verdict.DUPLICATE, Verdict.ACCEPTED]


def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The updates that are read again from now on."""
    opened, seen = running_sum.opened, list[bytes]()

    def watched(message: bytes) -> Update:
        seen.append(message)
        return opened(message)

    monkeypatch.setattr(running_sum, "opened", watched)
    return seen


def test_while_the_sum_is_added_up_again_updates_are_taken_and_added(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round closes before it is whole; the fold waits for it."""
    aggregator.add_task(rounds=1, goal=5, clip=0)
    aggregator.enrol(*range(1, 7))
    aggregator.connect()
    plan = aggregator.plan
    for number in (1, 2, 3, 4):
        aggregator.accepted(number, plan)
    aggregator.start()
    seen = reads(monkeypatch)
    aggregator.compute.waits = True
    aggregator.connect()
    aggregator.accepted(5, plan)
    aggregator.accepted(6, plan)
    verdicts = [receipt.verdict for receipt in aggregator.receipts]
    assert verdicts == [Verdict.ACCEPTED, Verdict.LATE, Verdict.LATE]
    assert seen == []
    assert aggregator.store.models.folds("tiny") == []
    aggregator.compute.waits = False
    aggregator.compute.go()
    aggregator.settle()
    (fold,) = aggregator.store.models.folds("tiny")
    assert (len(seen), fold.weight) == (4, 5 * 7)


def test_a_task_that_is_removed_while_its_sum_is_added_up_again_is_left_alone(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its updates are erased: reading on would find them damaged."""
    aggregator.add_task(goal=7)
    aggregator.enrol(*range(1, 7))
    aggregator.connect()
    for number in range(1, 7):
        aggregator.accepted(number, aggregator.plan)
    aggregator.start()
    seen = reads(monkeypatch)
    aggregator.compute.waits = True
    aggregator.settle()
    aggregator.remove_task()
    aggregator.clock.move(20.0)
    aggregator.compute.waits = False
    aggregator.compute.go()
    aggregator.clock.move(20.0)
    assert len(seen) < 6
    assert aggregator.statuses == []
    assert list((aggregator.directory / "updates").iterdir()) == []


def test_a_task_that_is_paused_before_its_first_round_rests(aggregator: HandAggregator) -> None:
    other = Store(aggregator.directory)
    aggregator.add_task()
    assert other.tasks.pause("tiny")
    other.close()
    aggregator.connect()
    assert [rest.version for rest in aggregator.rests] == [1]
    assert aggregator.store.rounds.plans("tiny") == []
    pause(aggregator, paused=False)
    assert aggregator.plan.round == 1


def test_a_task_that_is_paused_and_goes_on_is_not_taken_for_a_removed_one(
    aggregator: HandAggregator, caplog: pytest.LogCaptureFixture
) -> None:
    """What the MQTT broker has of it, it keeps: its model is not sent again."""
    caplog.set_level(logging.INFO)
    aggregator.add_task()
    aggregator.connect()
    for paused in (True, False):
        pause(aggregator, paused=paused)
        aggregator.clock.move(2.0)
    assert len(aggregator.said(Model)) == 1
    assert "task tiny: removed" not in caplog.text
    aggregator.remove_task()
    aggregator.clock.move(2.0)
    assert "task tiny: removed" in caplog.text


@pytest.mark.parametrize("error", [Busy("the database"), CannotWrite("a file", "it is full")])
def test_files_that_no_row_speaks_of_are_erased_when_that_is_possible(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """While another process writes they wait; a disk that refuses is no longer written to."""

    def refuse(_store: Store) -> None:
        raise error

    left = aggregator.directory / "sums" / ("0" * 64)
    left.write_bytes(b"of a fold that a crash cut short")
    with monkeypatch.context() as refusing:
        refusing.setattr(Store, "tidy", refuse)
        aggregator.start()
        aggregator.clock.move(0.2)
    assert (aggregator.statuses == []) == isinstance(error, Busy)
    assert left.exists()
    aggregator.clock.move(60.0)
    assert not left.exists()


def test_files_are_erased_beside_a_task_that_has_folded_nothing(
    aggregator: HandAggregator,
) -> None:
    aggregator.add_task()
    aggregator.add_task("other")
    aggregator.connect()
    aggregator.clock.move(5.0)
    left = aggregator.directory / "sums" / ("0" * 64)
    left.write_bytes(b"of the task that is removed")
    aggregator.remove_task("other")
    aggregator.clock.move(5.0)
    assert [runner.task.name for runner in aggregator.service.runners] == ["tiny"]
    assert not left.exists()


@pytest.mark.parametrize("done", range(4))
def test_files_of_a_fold_are_not_erased_before_their_rows_are_there(
    aggregator: HandAggregator, done: int
) -> None:
    """done: so much of the fold is, when a task ends whose files are to be erased"""
    aggregator.add_task()
    aggregator.add_task("other")
    aggregator.enrol(1, 2)
    aggregator.connect()
    plan = aggregator.plan_of("tiny")
    aggregator.compute.waits = True
    for number in (1, 2):
        aggregator.accepted(number, plan)
    for _ in range(done):
        aggregator.compute.go(min(1, aggregator.compute.waiting))
        aggregator.settle()
    aggregator.remove_task("other")
    aggregator.clock.move(5.0)
    compute(aggregator)
    for number in (1, 2):
        aggregator.accepted(number, aggregator.plan_of("tiny"))
    assert aggregator.store.models.folded("tiny") == 2


def test_what_a_lost_turn_left_on_the_disk_is_erased(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise CannotWrite("the database", "it is full")

    aggregator.clock.move(5.0)
    left = aggregator.directory / "sums" / ("0" * 64)
    left.write_bytes(b"of a fold that was not entered")
    with monkeypatch.context() as full:
        full.setattr(durable, "commit", refuse)
        aggregator.service.counters.count("something")
        aggregator.clock.move(60.0)
    aggregator.clock.move(60.0)
    assert aggregator.statuses[-1] == "running"
    assert not left.exists()
