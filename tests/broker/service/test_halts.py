"""What is wrong with one task stops that task: the file is named, others go on, it comes back."""

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest

from fedling_broker.rounds import events as ev
from fedling_broker.service import notices, runner
from fedling_broker.store.rounds import LOST
from fedling_broker.store.store import Store
from fedling_broker.tasks.task_file import parse_task
from fedling_broker.verify import verify
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.runtime.halts import LONGEST_S
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Answer, Plan, Verdict
from tests.support.hand_aggregator import TOPICS, HandAggregator, key_of
from tests.support.waiting import until

SICK, WELL = "tiny", "other"
LONG = LONGEST_S + 5.0


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = (zero, cut, flip, empty, folder, Path.unlink)
Damage = Callable[[Path], None]


@pytest.fixture
def aggregator(tmp_path: Path) -> Iterator[HandAggregator]:
    """Two tasks in their second round; they have different weights, so no file is shared."""
    aggregator = HandAggregator(tmp_path / "state")
    for task in (SICK, WELL):
        aggregator.add_task(task, rounds=6)
    aggregator.enrol(1, 2, 3)
    aggregator.connect()
    play(aggregator, SICK, 700)
    play(aggregator, WELL, 1500)
    yield aggregator
    aggregator.store.close()


def play(aggregator: HandAggregator, task: str, step: int = 3, plan: Plan | None = None) -> Plan:
    """Both devices take part in a round, which ends it."""
    plan = plan or aggregator.plan_of(task)
    for number in (1, 2):
        aggregator.accepted(number, plan, step)
    return plan


def goes_on(aggregator: HandAggregator, task: str) -> bool:
    """Whether a whole round can be held."""
    before = aggregator.store.models.folded(task)
    play(aggregator, task)
    return aggregator.store.models.folded(task) == before + 1


def told(aggregator: HandAggregator) -> str:
    """What `task list` says of the sick one."""
    return str(notices.read(aggregator.directory, aggregator.clock.wall()).get(SICK, ""))


def model_of(aggregator: HandAggregator) -> Path:
    models = aggregator.store.models
    return models.weights.path(models.newest(SICK).model_hash)


def state_of(aggregator: HandAggregator) -> Path:
    models = aggregator.store.models
    return models.states.path(models.newest_state(SICK))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("find", [model_of, state_of])
def test_a_damaged_file_stops_one_task_until_it_is_put_back(
    aggregator: HandAggregator, find: Callable[[HandAggregator], Path], damage: Damage
) -> None:
    path, plan = find(aggregator), aggregator.plan_of(SICK)
    kept = path.read_bytes()
    damage(path)
    for _ in range(2):  # after a restart it is the same
        aggregator.start()
        aggregator.connect()
        play(aggregator, SICK, plan=plan)
        aggregator.clock.move(1.0)
        assert path.name in told(aggregator)
        assert "model rollback tiny VERSION" in told(aggregator)
        assert goes_on(aggregator, WELL)
    if path.is_dir():
        path.rmdir()
    path.write_bytes(kept)
    aggregator.clock.move(LONG)
    assert told(aggregator) == ""
    if find is model_of:
        assert goes_on(aggregator, SICK)
    assert aggregator.store.models.folded(SICK) == 2


@pytest.mark.parametrize("find", [model_of, state_of])
def test_a_task_goes_on_from_an_older_model(
    aggregator: HandAggregator, find: Callable[[HandAggregator], Path]
) -> None:
    """As `model rollback` does, in a process of its own, without any backup."""
    find(aggregator).unlink()
    plan = aggregator.plan_of(SICK)
    aggregator.start()
    aggregator.connect()
    play(aggregator, SICK, plan=plan)
    aggregator.clock.move(1.0)
    assert "stopped" in told(aggregator)
    other = Store(aggregator.directory)
    first = other.models.rows(SICK)[0]
    row = other.tasks.find(SICK)
    assert row is not None
    other.roll_back(parse_task(row.text, SICK).spec, first.version)
    other.close()
    aggregator.clock.move(2.0)
    assert told(aggregator) == ""
    assert goes_on(aggregator, SICK)


def test_devices_of_a_stopped_task_are_told_to_wait(aggregator: HandAggregator) -> None:
    """A receipt would be the last word on updates that may still count."""
    plan = aggregator.plan_of(SICK)
    aggregator.join(1, plan)
    aggregator.settle()
    kept = model_of(aggregator).read_bytes()
    path = model_of(aggregator)
    zero(path)
    aggregator.start()
    aggregator.connect()
    receipts = len(aggregator.receipts)
    aggregator.join(1, plan)
    aggregator.update(1, plan)
    aggregator.settle()
    assert aggregator.tickets[-1].answer is Answer.WAIT
    assert aggregator.tickets[-1].reason == "the task is stopped"
    assert len(aggregator.receipts) == receipts
    aggregator.join(1, plan, key=True)
    aggregator.settle()
    one = device_id(key_of(1).public)  # its certificate goes before the answer
    topics = [TOPICS.of(Kind.KEYS, one), TOPICS.of(Kind.TICKET, SICK, one)]
    assert [p.topic for p in aggregator.link.published[-2:]] == topics
    path.write_bytes(kept)
    aggregator.clock.move(LONG)
    aggregator.update(1, plan)
    aggregator.settle()
    assert aggregator.receipts[-1].verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("damage", [zero, flip, cut])
def test_a_round_goes_on_without_an_update_that_is_damaged(
    aggregator: HandAggregator, damage: Damage
) -> None:
    """It stays accepted, as its device was told; journal and `round verify` know of it."""
    plan = aggregator.plan_of(SICK)
    aggregator.accepted(1, plan)
    log = aggregator.store.rounds.log(plan.plan_id)
    damage(log)
    assert str(log) in faults(aggregator)[0]
    aggregator.start()
    aggregator.connect()
    aggregator.accepted(2, plan)
    assert aggregator.store.models.folded(SICK) == 2
    rows = aggregator.store.rounds.decisions(SICK, plan.plan_id)
    assert sorted((row.verdict, row.reason) for row in rows) == [
        ("accepted", ""),
        ("accepted", LOST),
    ]
    (fold,) = [fold for fold in aggregator.store.models.folds(SICK) if fold.round == plan.round]
    assert fold.weight == 7
    assert faults(aggregator) == []
    aggregator.join(1, plan)
    aggregator.settle()
    assert aggregator.receipts[-1].verdict is Verdict.ACCEPTED


def fail_to_read(monkeypatch: pytest.MonkeyPatch, log: Path) -> None:
    """What a card says of a page that it cannot give now, or never will: of the first update."""
    real = os.pread

    def pread(handle: int, size: int, first: int) -> bytes:
        if first == 0 and os.path.samestat(os.fstat(handle), log.stat()):
            raise OSError(errno.EIO, "Input/output error")
        return real(handle, size, first)

    monkeypatch.setattr("fedling_broker.store.update_log.os.pread", pread)


def test_an_update_that_the_disk_does_not_give_now_is_waited_for(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was receipted: the task stops, and counts it when it can be read again."""
    plan = aggregator.plan_of(SICK)
    aggregator.accepted(1, plan)
    log = aggregator.store.rounds.log(plan.plan_id)
    with monkeypatch.context() as failing:
        fail_to_read(failing, log)
        aggregator.start()
        aggregator.connect()
        aggregator.accepted(2, plan)
        assert f"{log}: cannot be read: Input/output error" in told(aggregator)
        assert goes_on(aggregator, WELL)
    aggregator.clock.move(LONG)
    assert told(aggregator) == ""
    assert aggregator.store.models.folded(SICK) == 2
    rows = aggregator.store.rounds.decisions(SICK, plan.plan_id)
    assert [(row.verdict, row.reason) for row in rows] == [("accepted", "")] * 2
    assert faults(aggregator) == []


def test_an_update_that_the_disk_does_not_give_for_long_is_lost(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that is gone for good stops no task for ever."""
    plan = aggregator.plan_of(SICK)
    aggregator.accepted(1, plan)
    log = aggregator.store.rounds.log(plan.plan_id)
    monkeypatch.setattr(aggregator.store.rounds, "_now", lambda: next(hours))
    fail_to_read(monkeypatch, log)
    aggregator.accepted(2, plan)
    assert str(log) in told(aggregator)
    aggregator.clock.move(LONG)
    reasons = [row.reason for row in aggregator.store.rounds.decisions(SICK, plan.plan_id)]
    assert sorted(reasons) == ["", LOST]


hours = itertools.count(0.0, 3600.0)


def faults(aggregator: HandAggregator) -> list[str]:
    """What `round verify` says."""
    row = aggregator.store.tasks.find(SICK)
    assert row is not None
    checks = verify(aggregator.store, parse_task(row.text, SICK), b"s" * 32)
    return [check.fault for check in checks if check.fault]


def test_an_update_that_can_be_read_again_counts_after_all(aggregator: HandAggregator) -> None:
    """What is damaged is written down at the end of the round only: a disk may read it tomorrow."""
    plan = aggregator.plan_of(SICK)
    aggregator.accepted(1, plan)
    log = aggregator.store.rounds.log(plan.plan_id)
    kept = log.read_bytes()
    zero(log)
    aggregator.start()
    aggregator.connect()
    log.write_bytes(kept)
    aggregator.start()
    aggregator.connect()
    aggregator.accepted(2, plan)
    rows = aggregator.store.rounds.decisions(SICK, plan.plan_id)
    assert [row.reason for row in rows] == ["", ""]


def test_a_round_of_which_nothing_is_left_stops_its_task(aggregator: HandAggregator) -> None:
    plan = aggregator.plan_of(SICK)
    aggregator.compute.waits = True
    for number in (1, 2):
        aggregator.accepted(number, plan)
    log = aggregator.store.rounds.log(plan.plan_id)
    shutil.move(log, kept := log.with_name("away"))
    shutil.copy(kept, aggregator.directory / "kept")
    aggregator.start()
    aggregator.connect()
    aggregator.clock.move(1.0)
    assert f"{log.name}: none of its 2 updates is whole" in told(aggregator)
    assert goes_on(aggregator, WELL)
    shutil.copy(aggregator.directory / "kept", log)
    aggregator.clock.move(LONG)
    assert aggregator.store.models.folded(SICK) == 2


def test_a_task_text_that_this_version_refuses_stops_that_task(aggregator: HandAggregator) -> None:
    row = aggregator.store.tasks.find(SICK)
    assert row is not None
    other = Store(aggregator.directory)
    other.tasks.change(SICK, row.text.replace("epochs", "epoch_count"), None)
    other.close()
    aggregator.start()
    aggregator.connect()
    assert "epoch_count" in told(aggregator)
    assert "task update tiny FILE" in told(aggregator)
    assert goes_on(aggregator, WELL)
    aggregator.store.tasks.change(SICK, row.text, None)
    aggregator.clock.move(LONG)
    assert goes_on(aggregator, SICK)


ERRORS = (OSError(errno.EIO, "Input/output error"), AssertionError(), Exception("x"))


@pytest.mark.parametrize(
    ("action", "error"),
    list(zip(runner.PERFORM, cycle(ERRORS), strict=False)),
    ids=lambda one: one.__name__ if isinstance(one, type) else type(one).__name__,
)
def test_whatever_an_action_raises_stops_one_task_and_is_undone(
    aggregator: HandAggregator,
    monkeypatch: pytest.MonkeyPatch,
    action: type[ev.Action],
    error: Exception,
) -> None:
    perform, raised = runner.PERFORM[action], list[bool]()

    def fail(self: runner.RoundsRunner, asked: ev.Action) -> None:
        perform(self, asked)  # what it did is undone
        if self.task.name == SICK:
            raised.append(True)
            raise error

    with monkeypatch.context() as broken:
        broken.setitem(runner.PERFORM, action, fail)
        aggregator.connect()
        plan = aggregator.plan_of(SICK)
        aggregator.update(3, plan)  # no ticket
        for number in (1, 2):
            aggregator.accepted(number, plan)
        aggregator.clock.move(30.0)
        assert goes_on(aggregator, WELL)
    aggregator.clock.move(LONG)
    assert raised or action is ev.PublishRest
    assert told(aggregator) == ""

    def turn(_: float) -> None:
        assert goes_on(aggregator, SICK) or aggregator.store.models.folded(SICK) == 2

    until(lambda: aggregator.store.models.folded(SICK) == 4, turn)
    assert faults(aggregator) == []


def test_a_message_that_waits_while_its_task_is_tried_again_is_not_refused(
    aggregator: HandAggregator,
) -> None:
    """ "unknown plan" is final: the device would throw its update away."""
    plan = aggregator.plan_of(SICK)
    aggregator.join(1, plan)
    aggregator.settle()
    aggregator.service._halt(SICK, RuntimeError("planted"))
    aggregator.settle()
    aggregator.disk.waits = True  # a turn is being committed: what comes waits for the next one
    aggregator.service.turns.run(lambda: aggregator.store.rounds.grow(SICK, plan.plan_id, 1))
    aggregator.settle()
    aggregator.update(1, plan)
    aggregator.clock.move(LONGEST_S)
    aggregator.disk.waits = False
    aggregator.disk.go()
    aggregator.settle()
    assert [receipt.reason for receipt in aggregator.receipts if "unknown" in receipt.reason] == []
    assert aggregator.service.runners.find(SICK) is not None


def test_a_task_that_is_halted_while_the_disk_is_tried_goes_on(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next try falls into a time in which nothing is begun, and all the rest goes on."""
    with monkeypatch.context() as full:
        full.setattr(durable, "commit", refuse)
        aggregator.join(1, aggregator.plan_of(WELL))
        aggregator.settle()
    aggregator.disk.waits = True
    until(lambda: aggregator.disk.waiting, lambda _: aggregator.clock.move(1.0))
    aggregator.service.runners.halt(SICK, OSError(errno.EIO, "Input/output error"))
    aggregator.clock.move(10.0)
    assert aggregator.service.runners.find(SICK) is None
    aggregator.disk.waits = False
    while aggregator.disk.waiting:
        aggregator.disk.go()
        aggregator.settle()
    assert goes_on(aggregator, WELL)
    aggregator.clock.move(10.0)
    assert goes_on(aggregator, SICK)


def test_an_update_to_a_task_that_fails_as_soon_as_the_disk_is_well_is_not_refused(
    aggregator: HandAggregator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped twice: before the disk was well, and after the look that began it again."""
    plan, broken = aggregator.plan_of(SICK), OSError(errno.EIO, "Input/output error")
    aggregator.join(1, plan)
    aggregator.settle()
    with monkeypatch.context() as full:
        full.setattr(durable, "commit", refuse)
        aggregator.join(1, aggregator.plan_of(WELL))
        aggregator.settle()
        aggregator.service._halt(SICK, broken)
    until(lambda: aggregator.service.recovery.stall is None, lambda _: aggregator.clock.move(0.01))
    assert aggregator.service.runners.find(SICK) is not None
    aggregator.service._halt(SICK, broken)
    aggregator.update(1, plan)
    aggregator.settle()
    assert [receipt.reason for receipt in aggregator.receipts if "unknown" in receipt.reason] == []
    assert "Input/output error" in told(aggregator)
    aggregator.clock.move(LONG)
    aggregator.accepted(1, plan)


def refuse(*_: object, **__: object) -> None:
    raise CannotWrite("the database", "the disk is full")
