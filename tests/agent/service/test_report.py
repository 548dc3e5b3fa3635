"""Sentences about what a task does and why not."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fedling_agent.conditions.condition import Lack, Readings, Reason, Signal
from fedling_agent.conditions.decision import Allowance
from fedling_agent.conditions.owner import Owner, Pause
from fedling_agent.conditions.table import BATTERY, MAINS, TRAFFIC, WORK
from fedling_agent.conditions.used import Used
from fedling_agent.config import AgentConfig
from fedling_agent.data.counting import Found
from fedling_agent.service import report
from fedling_agent.service.control import Json
from fedling_agent.session import state
from fedling_agent.session.state import Dice, Fetch, Session, Spooled, Timing
from fedling_agent.store.ledger import Traffic
from fedling_native import dense
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.wire.messages import Moment, PlanKind, TaskSpec
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
class FakePersonal:
    doing: str = "rests"


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
    personal: FakePersonal = field(default_factory=FakePersonal)


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


def test_round_of_statistics_and_round_that_is_not_known_have_their_own_words() -> None:
    statistics = replace(PLAN, kind=PlanKind.STATISTICS, round=0)
    counts = FakeLive(session(phase=state.Training(), begun=statistics))
    assert sentence(counts) == "counts its samples for the fleet's statistics"
    paused = FakeLive(session(phase=state.Paused(), begun=statistics))
    assert sentence(paused) == "paused in the round of statistics"
    assert sentence(FakeLive(session(phase=state.Training()))) == "trains a round"


def test_conditions_are_told_of_who_they_hinder() -> None:
    """A ticket waits for them as a training does; a question does not."""
    ready = FakeLive(session(phase=state.Ready()), NO)
    assert sentence(ready).startswith("has a ticket, waits: battery 34 % < 40 %")
    sending = FakeLive(session(phase=state.Sending(PLAN.plan_id, False, 1)), NO)
    assert sentence(sending) == "sends its update"
    assert sentence(FakeLive(session(phase=state.Ready()), None)) == "has a ticket, waits"


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
        ({"fetch": FETCH}, YES, "no open plan"),
        ({"offer": PLAN, "enough": True}, YES, "about to ask"),
        ({"offer": PLAN, "enough": True}, None, "about to ask"),
    ],
)
def test_idle_tells_why(
    changes: dict[str, Any], allowance: Allowance | None, expected: str
) -> None:
    later = ", next check in 12 min" if "battery" in expected else ""
    assert sentence(FakeLive(session(**changes), allowance)) == expected + later


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
    rows.append(Traffic("", None, 100, 50))  # of days that are not kept one by one
    assert report.of_bytes(rows, "2001-01-02") == {
        "total": {"sent": 135, "received": 60},
        "today": {"sent": 25, "received": 9},
        "earlier": {"sent": 100, "received": 50},
        "of_no_round": {"sent": 5, "received": 7},
        "rounds": {(b"a" * 16).hex(): {"sent": 30, "received": 3}},
    }
    assert report.of_bytes([], "2001-01-02")["of_no_round"] == {"sent": 0, "received": 0}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((-3, "0 s"), (0.4, "0 s"), (89, "89 s"), (90, "2 min"), (720, "12 min")),
        *((5399, "90 min"), (5400, "2 h"), (7200, "2 h")),
    ],
)
def test_span_is_what_people_say(seconds: float, words: str) -> None:
    assert report.span(seconds) == words


@pytest.mark.parametrize(
    ("wanted", "found", "words"),
    [
        (5, 0, "no new examples since its last update that was accepted"),
        (5, 1, "fewer than 5 new examples since its last update that was accepted: 1 are here"),
    ],
)
def test_too_few_new_examples_tell_what_is_there(wanted: int, found: int, words: str) -> None:
    """They are told before all examples, which are too few as well."""
    short = session(offer=PLAN, enough=False)
    assert sentence(FakeLive(short, new_wanted=wanted, new_found=found)) == f"not training: {words}"


@pytest.mark.parametrize(
    ("known", "since_s", "words"),
    [
        (False, report.PATIENCE_S - 1, ""),
        (True, report.PATIENCE_S, "; fedling-agent check says why"),
        (
            False,
            report.PATIENCE_S,
            ", nor an aggregator of fleet home: is that its name?; fedling-agent check says why",
        ),
    ],
)
def test_no_plan_is_a_fault_when_patience_is_over(known: bool, since_s: float, words: str) -> None:
    assert report.no_plan_words("home", known, since_s) == f"no plan was seen yet{words}"


# --- for programs --------------------------------------------------------------------------------

LOW_FACTS = {
    "code": "battery-low",
    "condition": "battery",
    "value": 34,
    "limit": 40,
    "resume": None,
    "unit": "%",
    "asker": None,
    "source": "",
    "detail": "",
    "sentence": "battery 34 % < 40 %",
}


def of_live(live: Any, run: Any = None) -> Json:
    return report.of_live(live, run, NOW)


def test_of_live_tells_a_task_whole() -> None:
    offered = FakeLive(session(offer=PLAN, phase=state.Ready()), NO, looked_at=NOW - 20)
    offered.next_check_s, offered.failure = 60.0, "it failed"
    assert of_live(offered) == {
        "phase": "ready",
        "doing": "has a ticket, waits: battery 34 % < 40 %, next check in 12 min",
        "why_not": [LOW_FACTS],
        "next_check_s": 40.0,
        "plan": PLAN.plan_id.hex(),
        "round": 3,
        "progress": None,
        "too_few_new": None,
        "failure": "it failed",
        "personal_doing": "rests",
    }
    trains = FakeLive(session(begun=PLAN, phase=state.Training()), None, looked_at=NOW - 20)
    trains.next_check_s, trains.new_wanted, trains.new_found = 10.0, 5, 2
    told = of_live(trains, FakeRun())
    assert told["phase"] == "training"
    assert told["plan"] == PLAN.plan_id.hex()
    assert told["why_not"] == []
    assert told["next_check_s"] == 0.0  # it is due
    assert told["progress"] == {"done": 12, "total": 80}
    assert told["too_few_new"] == {"wanted": 5, "found": 2}
    idle = of_live(FakeLive(session()))
    assert [idle[key] for key in ("plan", "round", "next_check_s")] == [None] * 3


def test_of_allowance_tells_each_thing_by_itself() -> None:
    hot = replace(LOW, value=1)
    allowance = Allowance((), (LOW,), (LOW, hot), 720.0)
    assert report.of_allowance(allowance) == {
        "train": True,
        "transfer": False,
        "send": False,
        "why_not_train": [],
        "why_not_transfer": [LOW_FACTS],
        "why_not_send": [LOW_FACTS, {**LOW_FACTS, "value": 1, "sentence": "battery 1 % < 40 %"}],
        "sentence": allowance.sentence,
    }


def test_of_readings_tells_a_value_or_why_there_is_none() -> None:
    signals = {
        "battery": Signal(34, "/sys/capacity", detail="of two"),
        "mains": Signal(None, "/sys", Lack.ABSENT, "no supply"),
    }
    told = report.of_readings((BATTERY, MAINS), Readings(signals, 0.0))
    assert told == {
        "battery": {
            "value": 34,
            "unit": "%",
            "source": "/sys/capacity",
            "lack": None,
            "reason": "of two",
        },
        "mains": {
            "value": None,
            "unit": "",
            "source": "/sys",
            "lack": "absent",
            "reason": "no supply",
        },
    }


def test_of_used_tells_what_is_used_of_what_is_given() -> None:
    used = Used()
    used.work(90.0)
    used.move(2_500_000)
    policy = AgentConfig("home", "0" * 64, MqttSettings("localhost")).policy
    told = report.of_used(policy, used)
    assert told["work"] == {"used": 1.5, "limit": policy.own(WORK).value, "unit": WORK.unit}
    assert told["traffic"] == {"used": 2.5, "limit": policy.own(TRAFFIC).value, "unit": "MB"}


def test_of_pause_tells_until_when_by_the_clock_as_it_is_now() -> None:
    owner = Owner(lambda: NOW, lambda: 1_790_000_000.6)
    assert report.of_pause(owner) is None
    owner.pause = Pause("guests", None)
    assert report.of_pause(owner) == {"reason": "guests", "left_s": None, "until_s": None}
    owner.pause = Pause("guests", NOW + 60)
    assert report.of_pause(owner) == {
        "reason": "guests",
        "left_s": 60.0,
        "until_s": 1_790_000_061,
    }
