"""However an aggregator answers, a device asks a bounded number of times a day."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.session.events import (
    Allowed,
    AskPlan,
    Connected,
    Event,
    PlanSeen,
    ReceiptSeen,
    RestSeen,
    SendJoin,
    Tick,
    TicketSeen,
)
from fedling_agent.session.machine import LEAST_LOOK_MS, MOST_JOINS
from fedling_agent.session.state import Spooled, due
from fedling_protocol.wire.messages import Answer, Receipt, Ticket, Verdict
from tests.support.session import ALL, ENTRY, PLAN, REST, RETRY, Device

DAY_MS = 86_400_000
HOSTILE = ("wait", "go", "late", "plan", "rest", "nothing")


class Hostile:
    """An aggregator that answers at once, and never as one should."""

    def __init__(self, answers: list[str], spool: tuple[Spooled, ...]) -> None:
        self.device = Device(spool=spool)
        self._answers = answers
        self._plans = 0
        self.joins = self.asks = 0

    def play(self) -> None:
        device = self.device
        until = device.now + DAY_MS
        todo: list[Event] = [ALL, Connected(), self._plan()]
        while device.now < until:
            while todo:
                for action in device.give(todo.pop(0)):
                    if isinstance(action, SendJoin):
                        self.joins += 1
                        todo += self._answer(action)
                    elif isinstance(action, AskPlan):
                        self.asks += 1
                        todo.append(RestSeen(replace(REST, look_again_s=0), held=True))
            time = due(device.state)
            if time is None:
                return
            assert time > device.now, "it would be ticked for ever"
            device.now = time
            todo.append(Tick())

    def _plan(self) -> PlanSeen:
        """Its model never comes."""
        self._plans += 1
        number = self._plans
        plan = replace(PLAN, plan_id=b"plan %d" % number, round=number, base_version=number)
        return PlanSeen(plan, finished=False, held=False)

    def _answer(self, join: SendJoin) -> list[Event]:
        match self._answers[self.joins % len(self._answers)]:
            case "wait":
                return [TicketSeen(Ticket(join.plan_id, join.nonce, Answer.WAIT, 0, "full"))]
            case "go":
                return [TicketSeen(Ticket(join.plan_id, join.nonce, Answer.GO, 1, ""))]
            case "late":
                about = Receipt(join.plan_id, b"another", Verdict.LATE, "", None)
                return [ReceiptSeen(about), self._plan()]
            case "plan":
                return [self._plan()]
            case "rest":
                rest = replace(REST, version=10**9, look_again_s=0)
                return [RestSeen(rest, held=False), self._plan()]
        return []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=6), st.booleans())
def test_joins_and_asks_of_a_day_are_bounded(answers: list[str], spooled: bool) -> None:
    hostile = Hostile(answers, (ENTRY,) if spooled else ())
    hostile.play()
    assert hostile.joins <= MOST_JOINS + DAY_MS // RETRY
    assert hostile.asks <= DAY_MS // LEAST_LOOK_MS + hostile.joins


def test_a_rest_of_no_seconds_is_looked_at_once_a_minute() -> None:
    device = Device()
    device.give(ALL, Connected(), RestSeen(replace(REST, look_again_s=0), held=True))
    before = device.now
    assert device.wait() == [AskPlan()]
    assert device.now - before >= LEAST_LOOK_MS


@pytest.mark.parametrize("transfer", [False, True])
def test_plans_are_not_asked_for_while_nothing_could_come_of_them(transfer: bool) -> None:
    device = Device()
    device.give(
        ALL, Connected(), RestSeen(REST, held=True), Allowed(True, transfer, transfer, True)
    )
    assert (due(device.state) is not None) == transfer
    device.now += DAY_MS
    assert device.give(Tick()) == ([AskPlan()] if transfer else [])
