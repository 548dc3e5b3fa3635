"""Which tasks a device takes part in, and what it says of the others."""

from dataclasses import replace

import pytest

from fedling_agent.service.runners import CHANGE_S, MOST_CHANGES, MOST_TASKS
from fedling_protocol.wire.messages import Plan
from fedling_protocol.wire.refused import Refused
from tests.support.service import HandService


def foreign(plan: Plan) -> Plan:
    """The plan of a task for a stream that the device does not have."""
    return replace(plan, spec=replace(plan.spec, stream="ankle"))


def of(task: str, plan: Plan) -> Plan:
    """The like of it for another task: no two have one id."""
    return replace(plan, plan_id=task.encode().ljust(16))


def test_no_more_tasks_than_one_device_can_work_on(device: HandService) -> None:
    plan, runners = device.offer(), device.service.runners
    taken = [runners.see(f"task-{i}", of(f"task-{i}", plan)) for i in range(1, MOST_TASKS + 2)]
    assert taken == [True] * (MOST_TASKS - 1) + [False, False]
    assert len(runners) == MOST_TASKS
    assert runners.declined == {
        f"task-{i}": "this device works on 16 tasks already" for i in (MOST_TASKS, MOST_TASKS + 1)
    }
    assert runners.see("task-1", of("task-1", plan))  # one of those that it has


def test_what_is_declined_is_remembered_for_so_many_tasks(device: HandService) -> None:
    plan, runners = foreign(device.offer()), device.service.runners
    for i in range(3 * MOST_TASKS):
        assert not runners.see(f"task-{i}", plan)
    assert list(runners.declined) == [f"task-{i}" for i in range(MOST_TASKS)]
    assert not runners.see("task-0", replace(plan, spec=replace(plan.spec, stream="knee")))
    assert runners.declined["task-0"] == 'agent.toml names no stream "knee"'


def test_task_that_was_declined_is_taken_once_it_suits(device: HandService) -> None:
    plan, runners = device.offer(), device.service.runners
    assert not runners.see("other", foreign(plan))
    assert runners.see("other", of("other", plan))
    assert runners.declined == {}
    assert [runner.task for runner in runners] == ["watch", "other"]


def test_other_channels_are_a_reason(device: HandService) -> None:
    plan = device.offer()
    wide = replace(plan, spec=replace(plan.spec, channels=plan.spec.channels + 1))
    assert not device.service.runners.see("wide", wide)
    assert device.service.runners.declined["wide"].startswith("its stream has ")


def test_nothing_is_begun_while_the_disk_is_tried(device: HandService) -> None:
    plan, runners = device.offer(), device.service.runners
    runners.close()
    assert runners.see("other", plan)  # seen again once the disk works
    assert list(runners) == []
    runners.restore()
    assert runners.see("other", plan)
    assert [runner.task for runner in runners] == ["other"]


def test_plan_with_the_id_of_another_task_s_is_refused(device: HandService) -> None:
    """Files and rows have the id alone: its end was that of the other task's update."""
    plan, runners = device.begin(), device.service.runners
    with pytest.raises(Refused, match="another task's plan"):
        runners.see("other", plan)
    device.crash()
    device.connect()
    with pytest.raises(Refused, match="another task's plan"):
        device.service.runners.see("other", plan)


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
