"""An update that nobody answers is sent less and less often: SPEC.md section 5, row D21."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.session.events import (
    Allowed,
    Connected,
    Disconnected,
    Erase,
    PlanSeen,
    SendJoin,
    SendUpdate,
    Tick,
    UpdateSent,
)
from fedling_agent.session.machine import step
from fedling_agent.session.state import Held, Idle, Joining, Sending, Timing, code, due
from fedling_protocol.wire.messages import Answer, StateCode
from tests.support.session import ALL, ENTRY, NEXT, RETRY, SEEN, Device

DAY = 86_400_000
CAP = Timing().resend_longest_ms


class Drops:
    """A device whose updates an MQTT broker acknowledges and drops; it writes down when it sent."""

    def __init__(self) -> None:
        self.device = Device(spool=(ENTRY,))
        self.sends: list[int] = []
        self.give(ALL)
        self.give(Connected())

    def give(self, event: object) -> None:
        device = self.device
        device.state, actions = step(device.state, event, device.now)  # type: ignore[arg-type]
        for action in actions:
            if action == SendUpdate(ENTRY.plan_id, ENTRY.update_hash):
                self.sends.append(device.now)

    def go(self) -> None:
        if isinstance(self.device.state.phase, Joining):
            before = len(self.sends)
            actions = self.device.answer(Answer.GO, 600)
            self.sends += [self.device.now] * actions.count(
                SendUpdate(ENTRY.plan_id, ENTRY.update_hash)
            )
            assert len(self.sends) <= before + 1

    def acknowledge(self) -> None:
        self.give(UpdateSent(ENTRY.plan_id))

    def reconnect(self) -> None:
        self.give(Disconnected())
        self.give(Connected())
        self.give(SEEN)

    def tick(self) -> None:
        self.device.now = max(self.device.now, due(self.device.state) or 0)
        self.give(Tick())

    def forbid(self) -> None:
        """Conditions fail for a second: what was not sent wholly is no sending."""
        phase = self.device.state.phase
        if isinstance(phase, Sending) and not phase.sent:
            self.sends.pop()
        self.give(Allowed(True, False, False, True))
        self.device.now += 1000
        self.give(ALL)

    def see_plan(self) -> None:
        self.give(PlanSeen(NEXT, finished=False, held=True))

    def live(self) -> None:
        """As on a healthy connection: every join is answered, every message acknowledged."""
        self.go()
        self.acknowledge()
        self.tick()


def shortest(times: int) -> int:
    """The least milliseconds between a sending and the next one."""
    return 0 if times == 1 else min(CAP, RETRY << (times - 1)) // 2


EVENTS = st.sampled_from(["go", "acknowledge", "reconnect", "tick", "forbid", "see_plan", "live"])


@given(st.lists(EVENTS, max_size=200))
def test_d21_no_ticket_and_no_reconnect_makes_the_next_sending_sooner(names: list[str]) -> None:
    drops = Drops()
    for name in names:
        getattr(drops, name)()
    gaps = [b - a for a, b in zip(drops.sends, drops.sends[1:], strict=False)]
    for times, gap in enumerate(gaps, 1):
        assert gap >= shortest(times), (times, gaps)


@given(st.lists(EVENTS, max_size=100))
def test_d21_it_is_sent_again_in_the_end(names: list[str]) -> None:
    """Whoever mends the MQTT broker need not come to the device."""
    drops = Drops()
    for name in names:
        getattr(drops, name)()
    before, begin = len(drops.sends), drops.device.now
    for _ in range(20):
        drops.live()
    assert len(drops.sends) > before
    assert drops.sends[before] - begin <= 2 * CAP


def test_d21_a_day_of_nobody_costs_a_few_sendings() -> None:
    """It were 1,600 to 2,600: every 33 to 59 s."""
    drops = Drops()
    begin = drops.device.now
    while drops.device.now < begin + 3 * DAY:
        drops.live()
    of_days = [sum(n * DAY <= at - begin < (n + 1) * DAY for at in drops.sends) for n in range(3)]
    assert of_days[0] <= 14
    assert 4 <= of_days[2] <= 8


def held() -> Drops:
    drops = Drops()
    while not isinstance(drops.device.state.phase, Held):
        drops.live()
        drops.go()
    return drops


def test_d21_what_is_held_is_asked_about_when_a_new_plan_is_seen() -> None:
    """The plan of the update is closed by then: one small message gets it out of the way."""
    drops = held()
    actions = drops.device.give(PlanSeen(NEXT, finished=False, held=True))
    assert [a.have for a in actions if isinstance(a, SendJoin)] == [ENTRY.update_hash]


def test_d21_receipt_ends_it() -> None:
    drops = held()
    drops.device.receipt()
    assert drops.device.state.phase == Idle()
    assert drops.device.state.spool == ()


def test_d21_owner_who_erases_ends_it() -> None:
    drops = held()
    drops.device.give(Erase())
    assert drops.device.state.phase == Idle()


def test_d21_held_is_waiting_for_the_fleet() -> None:
    assert code(held().device.state) is StateCode.WAITING


@pytest.mark.parametrize("event", [Disconnected(), SEEN, Tick()])
def test_d21_nothing_small_ends_it(event: object) -> None:
    drops = held()
    before = drops.device.state.phase
    drops.give(event)
    assert drops.device.state.phase == before


def test_d21_update_of_which_more_came_through_is_not_held() -> None:
    """In chunks over a link that is cut again and again; what is here is told by the ticket."""
    device = Device(spool=(ENTRY,))
    device.give(ALL, Connected(), SEEN)
    for here in (b"", b"\x01", b"\x03", b"\x13"):
        assert device.answer(Answer.GO, 600, here=here) == [
            SendUpdate(ENTRY.plan_id, ENTRY.update_hash, here)
        ]
        device.give(Disconnected(), Connected(), SEEN)
    device.answer(Answer.GO, 600, here=b"\x13")
    assert isinstance(device.state.phase, Sending)
    device.give(Disconnected(), Connected(), SEEN)
    device.answer(Answer.GO, 600, here=b"\x13")
    assert isinstance(device.state.phase, Held)


def test_d21_less_that_is_here_than_before_is_no_progress() -> None:
    """The aggregator was begun again, and cuts otherwise."""
    device = Device(spool=(ENTRY,))
    device.give(ALL, Connected(), SEEN)
    device.answer(Answer.GO, 600, here=b"\x07")
    for here in (b"\x03", b"\x05"):
        device.give(Disconnected(), Connected(), SEEN)
        device.answer(Answer.GO, 600, here=here)
    assert isinstance(device.state.phase, Held)
