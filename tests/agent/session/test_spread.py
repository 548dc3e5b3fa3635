"""Joins of a fleet are spread over what the plan says (SPEC.md section 5, D2 and D3)."""

from dataclasses import replace

from fedling_agent.session.events import (
    Allowed,
    Connected,
    Disconnected,
    PlanSeen,
    RestSeen,
    SendJoin,
    Tick,
    UpdateSpooled,
)
from fedling_agent.session.state import Idle, Spooled, Timing, due, restore
from fedling_protocol.wire.messages import Answer
from tests.support.session import ALL, ENTRY, PLAN, REST, SEEN, Device, joins

SPREAD = replace(PLAN, spread_s=60)
SPREAD_SEEN = PlanSeen(SPREAD, finished=False, held=True)


def seeded(number: int, spool: tuple[Spooled, ...] = ()) -> Device:
    device = Device(spool=spool)
    device.state = restore(Timing(), b"seed %d" % number, None, spool)
    return device


def waits(device: Device) -> int:
    """Milliseconds to its join."""
    began = device.now
    assert device.state.phase == Idle()
    assert len(joins(device.wait())) == 1
    return device.now - began


def test_devices_join_at_times_all_over_the_spread() -> None:
    found = []
    for number in range(200):
        device = seeded(number)
        assert joins(device.give(ALL, Connected(), SPREAD_SEEN)) == []
        found.append(waits(device))
    assert all(0 < wait <= 60_000 for wait in found)
    assert [sum(a <= w < a + 15_000 for w in found) > 30 for a in range(0, 60_000, 15_000)] == [
        True
    ] * 4


def test_a_plan_without_spread_is_joined_at_once() -> None:
    assert len(joins(seeded(1).give(ALL, Connected(), SEEN))) == 1


def test_the_same_plan_again_does_not_begin_a_new_wait() -> None:
    device = seeded(1)
    device.give(ALL, Connected(), SPREAD_SEEN)
    first = due(device.state)
    device.now += 1
    device.give(SPREAD_SEEN)
    assert due(device.state) == first
    device.wait()
    device.answer(Answer.WAIT, 5, "cohort full")
    again = due(device.state)
    device.give(SPREAD_SEEN)
    assert due(device.state) == again


def test_a_fleet_that_reconnects_asks_about_its_updates_one_after_another() -> None:
    found = []
    for number in range(50):
        device = seeded(number)
        device.give(ALL, Connected(), SPREAD_SEEN)
        device.wait()
        device.answer(Answer.GO, 600)
        device.give(Disconnected(), UpdateSpooled(b"plan 1", b"update 1"))
        device.now += 10_000
        assert joins(device.give(Connected())) == []
        began = device.now
        (join,) = joins(device.wait())
        assert join.have == b"update 1"
        found.append(device.now - began)
    assert max(found) > 45_000
    assert min(found) < 15_000


def test_a_reconnect_before_its_join_does_not_make_it_wait_twice() -> None:
    device = seeded(3)
    device.give(ALL, Connected(), SPREAD_SEEN)
    first = due(device.state)
    device.give(Disconnected(), Connected(), SPREAD_SEEN)
    assert due(device.state) == first


def test_what_a_device_was_told_last_counts() -> None:
    device = seeded(3)
    device.give(ALL, Connected(), SPREAD_SEEN)
    device.give(RestSeen(REST, held=True))
    device.give(
        PlanSeen(replace(SEEN.plan, plan_id=b"plan 3", round=3, base_version=3), False, True)
    )
    assert device.state.spread_ms == 0


def test_forbidden_joins_wait_for_both() -> None:
    device = seeded(4)
    device.give(Allowed(False, False, False, True), Connected(), SPREAD_SEEN)
    assert device.wait() == []
    assert due(device.state) is None
    assert len(joins(device.give(ALL))) == 1


def test_a_spooled_update_of_a_plan_that_was_not_seen_is_asked_about_at_once() -> None:
    device = seeded(5, (ENTRY,))
    (action,) = device.give(ALL, Connected())
    assert isinstance(action, SendJoin)
    assert device.give(Tick()) == []
