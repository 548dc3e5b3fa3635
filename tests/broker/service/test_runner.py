"""The real runner on ports by hand: what is said, and when, as disk and processor go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_broker import verify
from fedling_broker.config import KeepUpdates
from fedling_broker.service import runner
from fedling_broker.service.service import LOOK_S
from fedling_broker.store.models import Models
from fedling_broker.tasks.task_file import ENDLESS_PAUSE_S, parse_task
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import Busy, CannotWrite
from fedling_protocol.wire.messages import Answer, Model, Verdict
from tests.support.hand_aggregator import HandAggregator, task_text


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    aggregator = HandAggregator(tmp_path / "state")
    yield aggregator
    aggregator.store.close()


def refuse(*_: object, **__: object) -> None:
    raise CannotWrite("the database", "the disk is full")


def faults(aggregator: HandAggregator) -> list[str]:
    task = parse_task(task_text(), "tiny.toml")
    return [c.fault for c in verify.verify(aggregator.store, task, b"s" * 32) if c.fault]


def fill_a_round(aggregator: HandAggregator) -> None:
    """Two updates are accepted, and the fold of them waits."""
    aggregator.add_task(rounds=1)
    aggregator.enrol(1, 2)
    aggregator.connect()
    aggregator.accepted(1, aggregator.plan)
    aggregator.compute.waits = True
    aggregator.accepted(2, aggregator.plan)
    aggregator.compute.go()  # the update is read
    aggregator.settle()


def test_no_word_about_a_place_or_an_update_before_it_is_on_disk(
    aggregator: HandAggregator,
) -> None:
    aggregator.add_task()
    aggregator.enrol(1, 2)
    aggregator.connect()
    aggregator.disk.waits = True
    aggregator.join(1, aggregator.plan)
    aggregator.settle()
    assert aggregator.tickets == []
    aggregator.disk.go()
    aggregator.settle()
    assert [ticket.answer for ticket in aggregator.tickets] == [Answer.GO]
    aggregator.update(1, aggregator.plan)
    aggregator.settle()
    assert aggregator.receipts == []
    aggregator.disk.go()
    aggregator.settle()
    assert [receipt.verdict for receipt in aggregator.receipts] == [Verdict.ACCEPTED]


def test_the_next_round_begins_when_the_pause_is_over(aggregator: HandAggregator) -> None:
    """Nobody joins, and nothing else happens meanwhile."""
    aggregator.add_task(rounds=0, goal=1)
    aggregator.enrol(1)
    aggregator.connect()
    aggregator.accepted(1, aggregator.plan)
    aggregator.settle()
    aggregator.clock.move(ENDLESS_PAUSE_S - 2 * LOOK_S)
    assert aggregator.plan.round == 1
    aggregator.clock.move(3 * LOOK_S)
    assert aggregator.plan.round == 2


def test_a_fold_holds_nobody_up(aggregator: HandAggregator) -> None:
    """While the processor makes the model, who is late hears so, and who asks is answered."""
    aggregator.add_task(rounds=1)
    aggregator.enrol(1, 2, 3)
    aggregator.connect()
    aggregator.compute.waits = True
    plan = aggregator.plan
    for number in (1, 2):
        aggregator.accepted(number, plan)
    aggregator.join(3, plan)
    aggregator.update(3, plan)
    aggregator.join(1, plan)
    aggregator.settle()
    verdicts = [receipt.verdict for receipt in aggregator.receipts]
    assert verdicts == [Verdict.ACCEPTED] * 2 + [Verdict.LATE] * 2 + [Verdict.ACCEPTED]
    assert aggregator.rests == []
    rows = aggregator.store.rounds.decisions("tiny", plan.plan_id)
    (late,) = [row for row in rows if row.verdict == Verdict.LATE]
    assert (late.first, late.weight, late.saturated) == (0, 0, 0)
    while aggregator.compute.waiting:
        aggregator.compute.go()
        aggregator.settle()
    assert [rest.version for rest in aggregator.rests] == [2]
    assert aggregator.said(Model)[-1].version == 2
    assert list((aggregator.directory / "updates").iterdir()) == []
    assert faults(aggregator) == []


@pytest.mark.parametrize("keep", list(KeepUpdates))
def test_killed_between_two_updates_the_sum_is_added_up_again(
    tmp_path: Path, keep: KeepUpdates
) -> None:
    models = set()
    for killed in (False, True):
        aggregator = HandAggregator(tmp_path / str(killed), keep_updates=keep)
        aggregator.add_task(rounds=1)
        aggregator.enrol(1, 2)
        aggregator.connect()
        plan = aggregator.plan
        aggregator.accepted(1, plan, step=5)
        if killed:  # in the middle of a write that nobody was told of
            log = aggregator.store.rounds.log(plan.plan_id)
            log.write_bytes(log.read_bytes() + b"torn")
            aggregator.start()
            aggregator.connect()
            assert aggregator.plan.plan_id == plan.plan_id
        aggregator.accepted(2, plan, step=-9)
        assert aggregator.rests != []
        assert faults(aggregator) == []
        models.add(aggregator.rests[-1].model_hash)
        kept = len(list((aggregator.directory / "updates").iterdir()))
        assert kept == (keep is KeepUpdates.AUDIT)
        aggregator.store.close()
    assert len(models) == 1


def test_killed_before_the_fold_it_is_done_after_the_start(aggregator: HandAggregator) -> None:
    fill_a_round(aggregator)
    assert [plan.closed for plan in aggregator.store.rounds.plans("tiny")] == [True]
    aggregator.start()
    aggregator.connect()
    assert [rest.version for rest in aggregator.rests] == [2]
    assert faults(aggregator) == []


def test_a_fold_whose_turn_is_lost_is_done_again(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_a_round(aggregator)
    with monkeypatch.context() as full:
        full.setattr(durable, "commit", refuse)
        aggregator.compute.go()
        aggregator.settle()
    assert aggregator.store.models.folds("tiny") == []
    aggregator.compute.waits = False
    aggregator.compute.go()  # what was accepted is added up again
    aggregator.clock.move(60.0)
    assert aggregator.store.models.folded("tiny") == 1
    assert faults(aggregator) == []


def test_the_first_update_of_a_turn_is_the_one_that_counts(aggregator: HandAggregator) -> None:
    """The same again, and another one, in the turn that accepts it and closes the round."""
    aggregator.add_task(rounds=1, goal=1)
    aggregator.enrol(1)
    aggregator.connect()
    plan = aggregator.plan
    aggregator.disk.waits = True
    aggregator.join(1, plan)
    for step in (3, 3, 4):
        aggregator.update(1, plan, step)
    aggregator.settle()
    assert (aggregator.receipts, aggregator.disk.waiting) == ([], 1)
    aggregator.disk.waits = False
    aggregator.disk.go()
    aggregator.settle()
    said = [(receipt.verdict, receipt.reason) for receipt in aggregator.receipts]
    assert said == [
        (Verdict.ACCEPTED, ""),
        (Verdict.DUPLICATE, ""),
        (Verdict.REFUSED, "conflict"),
    ]
    assert len(aggregator.store.rounds.members("tiny", plan.plan_id)) == 1
    assert aggregator.store.rounds._logs == {}  # of rounds that are open
    (fold,) = aggregator.store.models.folds("tiny")
    assert fold.weight == 7


def test_a_fold_that_outlives_its_runner_enters_nothing(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refused something else meanwhile: all begins anew, the fold too."""
    fill_a_round(aggregator)
    with monkeypatch.context() as full:
        full.setattr(durable, "commit", refuse)
        aggregator.service.counters.count("something")
        aggregator.clock.move(60.0)
    aggregator.clock.move(60.0)
    assert aggregator.statuses[-1] == "running"
    assert aggregator.store.models.folds("tiny") == []
    aggregator.compute.waits = False
    aggregator.compute.go()
    aggregator.settle()
    assert [fold.version for fold in aggregator.store.models.folds("tiny")] == [2]
    assert faults(aggregator) == []


def test_a_state_that_another_task_stands_on_is_kept(aggregator: HandAggregator) -> None:
    """Both began with the same model."""
    for name in ("tiny", "other"):
        aggregator.add_task(name, rounds=1, goal=1)
    aggregator.enrol(1)
    aggregator.connect()
    states = aggregator.store.models.states
    (first,) = states.directory.iterdir()
    aggregator.accepted(1, aggregator.plan_of("tiny"))
    assert first in states.directory.iterdir()
    aggregator.accepted(1, aggregator.plan_of("other"), step=4)
    assert [aggregator.store.models.folded(name) for name in ("tiny", "other")] == [1, 1]
    assert first not in states.directory.iterdir()


def test_a_state_that_others_keep_from_being_erased_goes_later(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise Busy("the database")

    aggregator.add_task(rounds=1, goal=1)
    aggregator.enrol(1)
    aggregator.connect()
    aggregator.clock.move(2.0)
    monkeypatch.setattr(Models, "erase_state", busy)
    aggregator.accepted(1, aggregator.plan)
    states = aggregator.store.models.states.directory
    assert (aggregator.statuses, len(list(states.iterdir()))) == ([], 2)
    aggregator.clock.move(2.0)
    assert len(list(states.iterdir())) == 1


@pytest.mark.parametrize(("where", "what"), [(runner, "fold"), (Models, "erase_state")])
def test_a_disk_that_is_full_beside_the_loop_stops_all_and_is_tried_again(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch, where: object, what: str
) -> None:
    """While the files of a fold are made, or the last state is erased."""

    def refuse(*_: object) -> None:
        raise CannotWrite("a state", "the disk is full")

    aggregator.add_task(rounds=2, goal=1)
    aggregator.enrol(1)
    aggregator.connect()
    with monkeypatch.context() as full:
        full.setattr(where, what, refuse)
        aggregator.accepted(1, aggregator.plan)
        assert "the disk is full" in aggregator.statuses[-1]
    aggregator.clock.move(60.0)
    assert aggregator.statuses[-1] == "running"
    assert aggregator.store.models.folded("tiny") == 1
    assert len(list(aggregator.store.models.states.directory.iterdir())) == 1
    aggregator.accepted(1, aggregator.plan)
    assert aggregator.store.models.folded("tiny") == 2


def test_a_stop_does_not_wait_for_a_fold(aggregator: HandAggregator) -> None:
    """It is done after the next start."""
    fill_a_round(aggregator)
    done: list[bool] = []
    aggregator.service.stop(lambda: done.append(True))
    aggregator.settle()
    assert done == [True]
    aggregator.compute.go()
    aggregator.settle()
    assert aggregator.store.models.folds("tiny") == []
    aggregator.start()
    aggregator.settle()
    assert aggregator.store.models.folded("tiny") == 1
    assert faults(aggregator) == []


@pytest.mark.parametrize("keep", list(KeepUpdates))
@pytest.mark.parametrize("killed", [False, True])
def test_a_task_that_goes_on_keeps_its_last_rounds_only(
    tmp_path: Path, keep: KeepUpdates, killed: bool
) -> None:
    aggregator = HandAggregator(tmp_path / "state", keep_updates=keep, keep_rounds=2)
    aggregator.add_task(rounds=9)
    aggregator.enrol(1, 2)
    aggregator.connect()
    for number in range(9):
        plan = aggregator.plan
        aggregator.accepted(1, plan, step=number + 1)
        aggregator.accepted(2, plan, step=-2 * number)
        for message in aggregator.link.published:  # the MQTT broker has forgotten older models
            if message.done is not None:
                message.done()
        aggregator.settle()
        if killed:
            aggregator.start()
            aggregator.connect()
        aggregator.clock.move(LOOK_S)  # files are erased now and then
        assert faults(aggregator) == []
    folders = ("models", "sums", "states")
    left = {name: len(list((aggregator.directory / name).iterdir())) for name in folders}
    assert left["sums"] <= 4
    assert left["models"] <= 5
    assert left["states"] <= 3
    assert aggregator.rests[-1].version == 10
    aggregator.store.close()
