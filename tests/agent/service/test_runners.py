"""Which tasks a device takes part in, and what it says of the others."""

from dataclasses import replace

from fedling_agent.service.runners import MOST_TASKS
from fedling_protocol.wire.messages import Plan
from tests.support.service import HandService


def foreign(plan: Plan) -> Plan:
    """The plan of a task for a stream that the device does not have."""
    return replace(plan, spec=replace(plan.spec, stream="ankle"))


def test_no_more_tasks_than_one_device_can_work_on(device: HandService) -> None:
    plan, runners = device.offer(), device.service.runners
    taken = [runners.see(f"task-{i}", plan) for i in range(1, MOST_TASKS + 2)]
    assert taken == [True] * (MOST_TASKS - 1) + [False, False]
    assert len(runners) == MOST_TASKS
    assert runners.declined == {
        f"task-{i}": "this device works on 16 tasks already" for i in (MOST_TASKS, MOST_TASKS + 1)
    }
    assert runners.see("task-1", plan)  # one of those that it has


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
    assert runners.see("other", plan)
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
