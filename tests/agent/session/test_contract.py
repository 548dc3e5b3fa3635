"""What every step of a session keeps to, whatever the event."""

from collections.abc import Callable

import pytest

from fedling_agent.session.events import (
    Connected,
    Disconnected,
    Enrolled,
    Event,
    ModelStored,
    PlanSeen,
    ReceiptSeen,
    RestSeen,
    StartTraining,
    Tick,
    TicketSeen,
    TrainingFailed,
    UpdateSent,
    UpdateSpooled,
)
from fedling_agent.session.machine import jitter, step
from fedling_agent.session.state import (
    Dice,
    Paused,
    Timing,
    code,
    due,
)
from fedling_protocol.wire.messages import Answer, Receipt, StateCode, Ticket, Verdict
from tests.support.session import (
    ALL,
    NEXT,
    PLAN,
    REST,
    Device,
    joining,
    sending,
    training,
)


def test_restore_goes_on_with_the_plan_in_work() -> None:
    device = Device(begun=PLAN)
    assert device.state.phase == Paused()
    assert device.give(ALL) == [StartTraining(PLAN)]


def test_step_leaves_the_old_state_alone() -> None:
    device = joining()
    before = tuple(device.state)
    step(device.state, Disconnected(), device.now)
    assert device.state == before


def test_step_gives_the_same_twice() -> None:
    device = joining()
    device.now = due(device.state) or 0
    once, twice = (step(device.state, Tick(), device.now) for _ in range(2))
    assert once == twice


def test_tick_too_early_is_harmless() -> None:
    resting, fetching = Device(), Device()
    resting.give(ALL, Connected(), RestSeen(REST, held=True))
    fetching.give(ALL, Connected(), RestSeen(REST, held=False))
    for device in (Device(), resting, fetching, joining(), training(), sending()):
        before = device.state
        assert device.give(Tick()) == []
        assert device.state == before


@pytest.mark.parametrize(
    "event",
    [
        Enrolled(),
        TicketSeen(Ticket(b"plan 7", b"nonce", Answer.GO, 600, "")),
        ReceiptSeen(Receipt(b"plan 7", b"update", Verdict.LATE, "", None)),
        ModelStored(7, b"model 7"),
        UpdateSent(b"plan 7"),
        UpdateSpooled(b"plan 7", b"update"),
        TrainingFailed(b"plan 7", ""),
    ],
)
@pytest.mark.parametrize("make", [Device, joining, training, sending])
def test_event_that_nothing_waits_for_is_harmless(make: Callable[[], Device], event: Event) -> None:
    device = make()
    before = device.state
    assert device.give(event) == []
    assert device.state == before


def test_dice_are_thrown_anew_each_time() -> None:
    device = Device()
    thrown = [device.state.dice.thrown]
    device.give(ALL, Connected(), RestSeen(REST, held=True))
    thrown.append(device.state.dice.thrown)
    device.give(PlanSeen(NEXT, False, True))
    thrown.append(device.state.dice.thrown)
    device.answer(Answer.WAIT, 60, "cohort full")
    thrown.append(device.state.dice.thrown)
    device.wait()
    thrown.append(device.state.dice.thrown)
    assert thrown == [0, 1, 2, 3, 4]


def test_code_tells_little() -> None:
    codes = [code(device.state) for device in (Device(), joining(), training(), sending())]
    assert codes == [StateCode.IDLE, StateCode.WAITING, StateCode.TRAINING, StateCode.SENDING]


def test_dice_never_repeat() -> None:
    dice, seen = Dice(b"seed"), set()
    for _ in range(1000):
        value, dice = dice.throw()
        seen.add(value[:8])
    assert len(seen) == 1000


def test_jitter_is_full() -> None:
    lowest, highest = bytes(32), b"\xff" * 32
    assert jitter(Timing(100), lowest, 3) == 0
    values = [jitter(Timing(100), Dice(b"seed", i).throw()[0], 3) for i in range(2000)]
    assert min(values) < 10
    assert max(values) > 790
    assert max(values) <= 800
    assert jitter(Timing(100), highest, 10**6) <= Timing().longest_ms
