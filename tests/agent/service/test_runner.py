"""One task's shell while its disk is slow: what comes meanwhile is neither lost nor done twice."""

import pytest

from fedling_agent.session import events as ev
from fedling_agent.training.process import Asked
from fedling_protocol.disk.errors import CannotWrite, Missing
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Join, Plan, State, StateCode, Verdict
from fedling_sim.world import Weather
from tests.support.service import GOOD, TOPICS, HandService

EMPTY = Weather(mains=False, battery=5, temperature=40, network=True)


def receipt_on_a_slow_disk(device: HandService) -> Plan:
    """The round is over, and that is not written down yet."""
    plan = device.begin()
    device.children[0].finish()
    device.settle(lambda: device.updates)
    ((_, name),) = device.updates
    device.disk.waits = True
    device.receipt(plan, name, Verdict.ACCEPTED)
    device.settle()
    assert device.disk.waiting == 1
    return plan


def go_on(device: HandService) -> None:
    device.disk.waits = False
    device.disk.go()
    device.settle()


def show(device: HandService, weather: Weather) -> None:
    """And have it seen, now and when it has lasted."""
    device.world.show(weather)
    device.clock.move(1)
    device.runner.look()
    device.clock.move(15)
    device.runner.look()
    device.settle()


# --- while a write holds the next actions back ---------------------------------------------------


def test_plan_seen_while_the_receipt_is_written_is_taken_up_when_conditions_allow(
    device: HandService,
) -> None:
    receipt_on_a_slow_disk(device)
    device.world.show(EMPTY)
    device.clock.move(1)
    plan = device.offer(2)
    go_on(device)
    assert device.sent(Join)[-1].plan_id != plan.plan_id
    device.world.show(GOOD)
    device.clock.move(300)
    assert device.sent(Join)[-1].plan_id == plan.plan_id


def test_plan_seen_again_while_its_end_is_written_is_not_taken_up_again(
    device: HandService,
) -> None:
    plan = receipt_on_a_slow_disk(device)
    asked = len(device.sent(Join))
    device.hear(TOPICS.of(Kind.PLAN, "watch", plan.kind), plan)
    go_on(device)
    device.clock.move(300)
    assert device.runner.session.offer is None
    assert len(device.sent(Join)) == asked


def test_what_is_decided_after_a_slow_write_is_told_to_the_fleet(device: HandService) -> None:
    receipt_on_a_slow_disk(device)
    device.offer(2)
    device.clock.move(6)
    go_on(device)
    device.clock.move(6)
    assert device.sent(State)[-1].code == StateCode.WAITING


def test_conditions_that_change_twice_during_a_write_are_as_they_are_after_it(
    device: HandService,
) -> None:
    receipt_on_a_slow_disk(device)
    device.world.show(EMPTY)
    device.clock.move(1)
    device.runner.look()
    device.settle()
    device.world.show(GOOD)
    device.clock.move(device.config.policy.dwell_s + 1)
    device.runner.look()
    device.settle()
    go_on(device)
    assert device.runner.allowance is not None
    assert device.runner.allowance.train
    assert device.runner.session.train


def test_time_that_comes_during_a_write_is_told_once(device: HandService) -> None:
    receipt_on_a_slow_disk(device)
    device.offer(2)
    device.clock.move(4 * 3600)
    go_on(device)
    assert device.phase == "Joining"


def test_link_lost_and_back_while_the_join_is_written(device: HandService) -> None:
    device.disk.waits = True
    device.offer()
    device.settle(lambda: device.disk.waiting)
    device.link.connected = False
    device.service.on_disconnected("lost", 1.0)
    go_on(device)
    assert device.sent(Join) == []
    device.connect()
    plan = device.offer()
    assert [join.plan_id for join in device.sent(Join)] == [plan.plan_id]


def test_update_that_cannot_be_written_down_lets_nothing_follow_it(device: HandService) -> None:
    device.begin()
    device.disk.waits = True
    device.children[0].finish()
    device.settle(lambda: device.disk.waiting)
    device.disk.go(1)  # it is spooled
    device.settle(lambda: device.disk.waiting)
    device.service.on_disconnected("lost", 1.0)
    device.service.on_connected()
    device.settle()
    device.disk.broken = CannotWrite("the log of what was sent", "the disk is full")
    device.disk.go()
    device.settle()
    assert device.updates == []
    assert list(device.service.runners) == []
    assert device.disk.waiting == 0


# --- training ------------------------------------------------------------------------------------


def test_set_that_cannot_be_written_any_more_is_no_failure_of_a_task_that_ended(
    device: HandService, caplog: pytest.LogCaptureFixture
) -> None:
    plan = device.offer()
    device.disk.waits = True
    device.go(plan)
    device.settle(lambda: device.disk.waiting)
    device.service.runners.close()
    device.disk.broken = Missing("the base model went with the task")
    go_on(device)
    assert "training failed" not in caplog.text


def test_lease_refused_by_a_callback_that_came_late_pauses_the_child(device: HandService) -> None:
    """It asks once: a refusal that the session does not hear of would leave it waiting for ever."""
    device.begin()
    child = device.children[0]
    assert child.tell is not None
    device.world.show(EMPTY)
    device.sensors.waits = True
    device.service.watcher.refresh(lambda _: None)

    def hold_the_loop(_readings: object) -> None:
        device.world.show(GOOD)
        device.clock.stall(5)

    device.service.watcher.refresh(hold_the_loop)
    child.tell(Asked())
    device.sensors.go()
    device.clock.settle()
    device.sensors.waits = False
    device.sensors.go()
    device.settle(lambda: len(child.did) > 1)
    assert child.did == ["start", "stop"]


def test_update_that_is_being_signed_is_not_trained_again(device: HandService) -> None:
    plan = device.begin()
    device.disk.waits = True
    device.children[0].finish()
    device.settle(lambda: device.disk.waiting)
    show(device, EMPTY)
    assert device.phase == "Paused"
    show(device, GOOD)
    device.clock.move(60)
    assert device.phase == "Training"
    go_on(device)
    device.clock.move(60)
    assert len(device.children) == 1
    assert device.runner.failure == ""
    assert [entry.plan_id for entry in device.store.spool.entries()] == [plan.plan_id]


def test_set_that_is_moved_while_training_is_paused_is_frozen_when_it_goes_on(
    device: HandService,
) -> None:
    plan = device.offer()
    device.disk.waits = True
    device.go(plan)
    device.settle(lambda: device.disk.waiting)
    show(device, EMPTY)
    assert device.phase == "Paused"
    with device.store.database.transaction("a test") as connection:
        connection.execute("UPDATE recordings SET revision = revision + 1")
    go_on(device)
    assert device.children == []
    assert device.store.plans.in_work() == []
    show(device, GOOD)
    device.clock.move(60)
    device.settle(lambda: device.children)
    assert [child.did for child in device.children] == [["start"]]


def test_set_that_is_moved_while_it_is_written_is_frozen_again(device: HandService) -> None:
    plan = device.offer()
    device.disk.waits = True
    device.go(plan)
    device.settle(lambda: device.disk.waiting)
    with device.store.database.transaction("a test") as connection:
        connection.execute("UPDATE recordings SET revision = revision + 1")
    go_on(device)
    device.settle(lambda: device.children)
    assert device.store.plans.frozen("watch") == plan
    assert [child.did for child in device.children] == [["start"]]


def test_plan_superseded_while_its_set_is_written_makes_room_for_the_next(
    device: HandService,
) -> None:
    first = device.offer()
    device.disk.waits = True
    device.go(first)
    device.settle(lambda: device.disk.waiting)
    second = device.offer(2)
    go_on(device)
    assert device.children == []
    assert device.store.plans.is_finished(first.plan_id)
    device.go(second)
    device.settle(lambda: device.children)
    assert device.children[0].job.plan_id == second.plan_id


# --- the end -------------------------------------------------------------------------------------


def test_close_leaves_no_timer_and_reads_no_sensor(device: HandService) -> None:
    device.begin()
    before = device.clock.waiting
    runner = device.runner
    runner.close()
    assert device.clock.waiting < before
    device.sensors.waits = True
    device.clock.move(3000)
    runner.give(ev.Tick())
    assert device.sensors.waiting == 0


def test_erasure_ends_training_and_spool(device: HandService) -> None:
    plan = device.begin()
    device.runner.give(ev.Erase())
    device.settle()
    assert device.children[0].did[-1] == "kill"
    assert device.store.plans.is_finished(plan.plan_id)
    assert device.store.plans.in_work() == []
