"""Sentences about what a task does and why not."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fedling_agent.conditions.condition import Reason
from fedling_agent.conditions.decision import Allowance
from fedling_agent.conditions.table import BATTERY
from fedling_agent.data.counting import Found
from fedling_agent.service import report
from fedling_agent.session import state
from fedling_agent.session.state import Dice, Fetch, Session, Spooled, Timing
from fedling_agent.store.ledger import Traffic
from fedling_native import dense
from fedling_protocol.wire.messages import Moment, TaskSpec
from tests.support.aggregator import make_model, make_plan

PLAN = make_plan(make_model((dense(4, 2),)), 3, min_examples=40)
LOW = Reason(BATTERY, BATTERY.code, 34, 40, unit="%")
NO = Allowance((LOW,), (LOW,), (LOW,), 720.0)
YES = Allowance(next_check_s=60.0)
FETCH = Fetch(1, b"h" * 32, 1000, None, Moment(0, 0, 1, True))
SPOOLED = Spooled(b"p" * 16, b"u" * 32)


FOUND = Found(windows=7, longest=500)


@dataclass
class FakeJob:
    total_steps: int = 80


@dataclass
class FakeRun:
    """As much of slot.Occupant as a sentence needs."""

    done: int = 12
    running: bool = True
    job: FakeJob = field(default_factory=FakeJob)
    lacks: float = 0.0

    def lacked_s(self, now: float) -> float:
        assert now == NOW
        return self.lacks


@dataclass
class FakeLive:
    session: Session
    allowance: Allowance | None = YES
    plan: Any = PLAN
    task: str = "watch"
    looked_at: float = 0.0
    failure: str = ""
    wanted: int = 40
    found: Found = FOUND
    new_wanted: int = 0
    new_found: int | None = None
    next_check_s: float | None = None


def session(**changes: Any) -> Session:
    return Session(Timing(), Dice(b"x" * 16))._replace(**changes)


NOW = 1000.0


def sentence(live: FakeLive, run: FakeRun | None = None) -> str:
    return report.sentence(live, run, NOW)  # type: ignore[arg-type]


def test_training_tells_round_and_batch() -> None:
    live = FakeLive(session(phase=state.Training(), begun=PLAN))
    assert sentence(live, FakeRun()) == "trains round 3 at batch 12 of 80"
    assert sentence(live, FakeRun(running=False)) == "waits for the training slot, round 3"


def test_training_without_a_processor_tells_so() -> None:
    live = FakeLive(session(phase=state.Training(), begun=PLAN))
    assert sentence(live, FakeRun(lacks=55.0)) == (
        "trains round 3 at batch 12 of 80, and has waited 55 s for a processor that others have: "
        "it takes what they leave; training.only_idle = false gives it a share"
    )


def test_paused_tells_why() -> None:
    live = FakeLive(session(phase=state.Paused(), begun=PLAN), NO)
    assert sentence(live, FakeRun()) == (
        "paused in round 3 at batch 12 of 80: battery 34 % < 40 %, next check in 12 min"
    )


@pytest.mark.parametrize(
    ("have", "words"), [(None, "asks to take part"), (b"u", "asks what became of its update")]
)
def test_joining_tells_what_it_asks(have: bytes | None, words: str) -> None:
    phase = state.Joining(PLAN.plan_id, have, b"n" * 8, 0, 1)
    assert sentence(FakeLive(session(phase=phase))) == words


@pytest.mark.parametrize(
    ("fetch", "words"),
    [(FETCH, "has a ticket, waits for the model"), (None, "has a ticket, waits")],
)
def test_ready_tells_what_it_waits_for(fetch: Fetch | None, words: str) -> None:
    phase = state.Ready()
    assert sentence(FakeLive(session(phase=phase, fetch=fetch))) == words


@pytest.mark.parametrize(
    ("sent", "words"), [(False, "sends its update"), (True, "waits for the receipt")]
)
def test_sending_tells_how_far_it_is(sent: bool, words: str) -> None:
    phase = state.Sending(PLAN.plan_id, sent, 1)
    assert sentence(FakeLive(session(phase=phase))) == words


def test_held_tells_how_often_it_was_sent_and_what_to_look_at() -> None:
    due = int((NOW + 7200) * 1000)
    phase = state.Held(PLAN.plan_id, due)
    sent = state.Sent(b"update", 4, due)
    assert sentence(FakeLive(session(phase=phase, sent=sent))) == (
        "sent its update 4 times, the aggregator has not got it: does the MQTT broker let this "
        "device write it? See fedling-agent check; next try in 2 h"
    )


def test_waiting_tells_what_it_was_told() -> None:
    due = int((NOW + 40) * 1000)
    phase = state.Waiting(PLAN.plan_id, None, "cohort full", due)
    assert sentence(FakeLive(session(phase=phase))) == (
        "told to wait: cohort full, asks again in 40 s"
    )


@pytest.mark.parametrize(
    ("changes", "allowance", "expected"),
    [
        ({}, YES, "no open plan"),
        ({}, NO, "no open plan"),
        ({"standstill": "firmware week"}, YES, "paused by the operator: firmware week"),
        ({"standstill": ""}, NO, "paused by the operator"),
        ({"offer": PLAN, "enough": True}, NO, "not training: battery 34 % < 40 %"),
        (
            {"offer": PLAN, "enough": False},
            YES,
            "not training: fewer than 40 examples: 7 are here",
        ),
        ({"spool": (SPOOLED,)}, YES, "an update waits to be sent"),
        ({"spool": (SPOOLED,)}, NO, "an update waits to be sent: battery 34 % < 40 %"),
        ({"fetch": FETCH}, NO, "a model waits to be fetched: battery 34 % < 40 %"),
    ],
)
def test_idle_tells_why(changes: dict[str, Any], allowance: Allowance, expected: str) -> None:
    assert sentence(FakeLive(session(**changes), allowance)).startswith(expected)


SPEC = PLAN.spec


@pytest.mark.parametrize(
    ("found", "spec", "words"),
    [
        (Found(), SPEC, "fewer than 40 examples: 0 are here"),
        (Found(39, 500), SPEC, "fewer than 40 examples: 39 are here"),
        (
            Found(0, SPEC.window - 1),
            replace(SPEC, labels=("up",)),
            f"the longest stretch of one label has {SPEC.window - 1} samples, "
            f"a window is {SPEC.window}",
        ),
        (
            Found(0, SPEC.window - 1),
            replace(SPEC, labels=()),
            f"the longest stretch without a hole has {SPEC.window - 1} samples, "
            f"a window is {SPEC.window}",
        ),
    ],
)
def test_too_few_examples_tell_what_is_there(found: Found, spec: TaskSpec, words: str) -> None:
    offer = replace(PLAN, spec=spec)
    live = FakeLive(session(offer=offer, enough=False), plan=offer, found=found)
    assert sentence(live) == f"not training: {words}"


def test_of_bytes_adds_up_days_rounds_and_the_rest() -> None:
    rows = [
        Traffic("2001-01-01", b"a" * 16, 10, 1),
        Traffic("2001-01-02", b"a" * 16, 20, 2),
        Traffic("2001-01-02", None, 5, 7),
    ]
    facts = report.of_bytes(rows, "2001-01-02")
    assert facts["total"] == {"sent": 35, "received": 10}
    assert facts["today"] == {"sent": 25, "received": 9}
    assert facts["of_no_round"] == {"sent": 5, "received": 7}
    assert facts["rounds"] == {(b"a" * 16).hex(): {"sent": 30, "received": 3}}


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0 s"), (89, "89 s"), (720, "12 min"), (7200, "2 h")]
)
def test_span_is_what_people_say(seconds: float, words: str) -> None:
    assert report.span(seconds) == words
