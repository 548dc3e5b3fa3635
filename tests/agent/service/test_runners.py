"""Which tasks a device takes part in, and what it says of the others."""

from dataclasses import replace

import pytest

from fedling_agent.service.runners import CHANGE_S, MOST_CHANGES, MOST_TASKS
from fedling_agent.service.service import AGAIN_S
from fedling_agent.session import events as ev
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Chunk, Plan
from fedling_protocol.wire.topics import Address
from tests.support.device import make_model
from tests.support.service import TOPICS, HandService


def numbered(plan: Plan, number: int) -> Plan:
    """The plan of another task: it has an id of its own."""
    return replace(plan, plan_id=number.to_bytes(16, "little"))


def foreign(plan: Plan) -> Plan:
    """The plan of a task for a stream that the device does not have."""
    return replace(numbered(plan, 98), spec=replace(plan.spec, stream="ankle"))


def test_no_more_tasks_than_one_device_can_work_on(device: HandService) -> None:
    plan, runners = device.offer(), device.service.runners
    taken = [runners.see(f"task-{i}", numbered(plan, i)) for i in range(1, MOST_TASKS + 2)]
    assert taken == [True] * (MOST_TASKS - 1) + [False, False]
    assert len(runners) == MOST_TASKS
    assert runners.declined == {
        f"task-{i}": "this device works on 16 tasks already" for i in (MOST_TASKS, MOST_TASKS + 1)
    }
    assert runners.see("task-1", numbered(plan, 1))  # one of those that it has


def test_what_is_declined_is_remembered_for_so_many_tasks(device: HandService) -> None:
    plan, runners = foreign(device.offer()), device.service.runners
    for i in range(3 * MOST_TASKS):
        assert not runners.see(f"task-{i}", plan)
    assert list(runners.declined) == [f"task-{i}" for i in range(MOST_TASKS)]
    assert not runners.see("task-0", replace(plan, spec=replace(plan.spec, stream="knee")))
    assert runners.declined["task-0"].startswith('agent.toml names no stream "knee", of ')


def test_task_that_was_declined_is_taken_once_it_suits(device: HandService) -> None:
    plan, runners = device.offer(), device.service.runners
    assert not runners.see("other", foreign(plan))
    assert runners.see("other", numbered(plan, 99))
    assert runners.declined == {}
    assert [runner.task for runner in runners] == ["watch", "other"]


def test_other_channels_are_a_reason(device: HandService) -> None:
    plan = device.offer()
    wide = replace(numbered(plan, 97), spec=replace(plan.spec, channels=plan.spec.channels + 1))
    assert not device.service.runners.see("wide", wide)
    assert device.service.runners.declined["wide"].startswith("its stream has ")


def test_close_ends_every_task(device: HandService) -> None:
    plan, runners = device.offer(), device.service.runners
    runners.see("other", numbered(plan, 99))
    ended = list(runners)
    device.clock.settle()
    runners.close()
    before = [one.session for one in ended]
    device.clock.move(3600.0)
    assert len(before) == 2
    assert [one.session for one in ended] == before


def test_a_fault_at_an_event_ends_that_task_and_no_other(
    device: HandService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: ev.Event) -> None:
        raise KeyError("x")

    plan, runners = device.offer(), device.service.runners
    runners.see("other", numbered(plan, 99))
    monkeypatch.setattr(runners.find("watch"), "give", fail)
    runners.give_all(ev.Connected())
    assert list(runners.halts.halted) == ["watch"]
    assert [runner.task for runner in runners] == ["other"]


def test_nothing_is_begun_while_the_disk_is_tried(device: HandService) -> None:
    plan, runners = device.offer(), device.service.runners
    runners.close()
    assert runners.see("other", numbered(plan, 99))  # seen again once the disk works
    assert list(runners) == []
    runners.restore()
    assert runners.see("other", numbered(plan, 99))
    assert [runner.task for runner in runners] == ["other"]


def test_plans_that_follow_one_another_too_fast_are_passed_over_and_asked_for_again(
    device: HandService,
) -> None:
    """Each costs a write and a count of examples."""
    plan, written = device.offer(), device.service.store.lives
    device.link.subscribed.clear()
    for version in range(2, MOST_CHANGES + 100):
        device.service.runners.see("watch", replace(plan, base_version=version))
    device.clock.settle()
    assert written.seen()["watch"].version == MOST_CHANGES
    assert device.link.subscribed == []
    device.clock.move(CHANGE_S)
    assert "fedling/1/test/+/plan/+" in device.link.subscribed
    assert device.service.runners.see("watch", replace(plan, base_version=MOST_CHANGES + 100))
    device.clock.settle()
    assert written.seen()["watch"].version == MOST_CHANGES + 100


@pytest.mark.parametrize("done", ["seen", "trained", "sent"])
def test_plan_id_of_another_task_is_refused(device: HandService, done: str) -> None:
    """Else what becomes of one would erase the other's update."""
    plan = device.offer() if done == "seen" else device.begin()
    if done == "sent":
        device.children[0].finish()
        device.settle(lambda: device.updates)
    waiting = device.store.spool.entries()
    other = replace(plan, spec=replace(plan.spec, task="other"))
    device.hear(TOPICS.of(Kind.PLAN, "other", other.kind), other)
    assert device.service.books.counters()["refused: shape"] == 1
    assert [runner.task for runner in device.service.runners] == ["watch"]
    assert device.store.spool.entries() == waiting
    device.crash()
    device.connect()
    device.hear(TOPICS.of(Kind.PLAN, "other", other.kind), other)
    assert device.store.spool.entries() == waiting
    assert done == "seen" or [runner.task for runner in device.service.runners] == ["watch"]


def test_end_of_a_plan_ends_nothing_of_another_task(device: HandService) -> None:
    plan = device.begin()
    device.children[0].finish()
    device.settle(lambda: device.updates)
    device.store.spool.end("other", plan.plan_id, None, None, "over", 0)
    (entry,) = device.store.spool.entries("watch")
    assert device.store.spool.envelope(entry)


def test_closed_it_asks_for_no_plan_that_was_passed_over(device: HandService) -> None:
    plan, runners = device.offer(), device.service.runners
    device.clock.move(AGAIN_S)
    for version in range(2, MOST_CHANGES + 10):
        runners.see("watch", replace(plan, base_version=version))
    runners.close()
    device.link.subscribed.clear()
    device.clock.move(2 * CHANGE_S)
    assert device.link.subscribed == []


def test_closed_it_takes_in_what_comes_and_makes_nothing_of_it(device: HandService) -> None:
    """It was asked for: it is no hostile message."""
    plan, runners = device.offer(), device.service.runners
    runners.close()
    assert runners.see("watch", plan)
    assert runners.model("watch", make_model(), 1)
    assert runners.chunk("watch", Chunk(b"w" * 32, 10, b"data"), Address(Kind.CHUNK))
    runners.again("watch")
    runners.give("watch", ev.Tick())
    assert (len(runners), runners.find("watch")) == (0, None)


def test_version_is_that_of_the_newest_model_of_all_tasks(device: HandService) -> None:
    runners = device.service.runners
    assert runners.version == 0
    plan = device.offer(model=make_model(7))
    device.settle(lambda: device.store.models.newest("watch"))
    assert runners.version == 7
    device.hear(TOPICS.of(Kind.PLAN, "other", plan.kind), numbered(plan, 99))
    assert runners.version == 7
    device.crash()
    assert device.service.runners.version == 7
