"""A device leaves a machine that is busy for others alone, and its own training is no reason to."""

import time
from pathlib import Path

import pytest

from fedling_agent.conditions.condition import Lack, Roots, Signal
from fedling_agent.conditions.decision import Memory, decide
from fedling_agent.conditions.load import LEAST_S, load
from fedling_agent.conditions.used import Used
from fedling_agent.conditions.words import sentence
from tests.support.conditions import policy, readings

IDLE = "cpu 0 0 0 {idle} 0 0 0 0 0 0\n"


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    (tmp_path / "stat").write_text(IDLE.format(idle=100))
    return Roots(proc=tmp_path, used=Used())


def busy(percent: float) -> Signal:
    return Signal(percent, "/proc/stat", detail="in the last 60 s")


def test_reading_comes_after_some_seconds(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    told = load(roots)
    assert (told.lack, told.detail) == (Lack.UNTOLD, "not watched for 5 s yet")
    monkeypatch.setattr(time, "monotonic", lambda: 1060.0)
    (roots.proc / "stat").write_text("cpu 3000 0 0 3100 0 0 0 0 0 0\n")
    told = load(roots)
    assert isinstance(told.value, float)
    assert told.source == f"{roots.proc}/stat"
    assert told.detail == "in the last 60 s"
    assert 0 <= told.value <= 50.0


def test_outside_of_the_service_nobody_watches(roots: Roots) -> None:
    assert load(Roots(proc=roots.proc)).lack is Lack.ABSENT
    assert LEAST_S > 0


def test_what_cannot_be_read_is_no_permission_if_it_was_asked_for(tmp_path: Path) -> None:
    told = load(Roots(proc=tmp_path, used=Used()))
    assert (told.lack, told.detail) == (Lack.UNREADABLE, "No such file or directory")
    for own, train in ((policy(), True), (policy(load=60), False)):
        allowance, _ = decide(own, None, readings(load=told), Memory())
        assert allowance.train is train


def test_by_default_a_busy_machine_trains() -> None:
    allowance, _ = decide(policy(), None, readings(load=busy(100.0)), Memory())
    assert allowance.train


def test_busy_machine_trains_nothing_until_it_is_well_below() -> None:
    own, memory = policy(load=60, load_resume=40), Memory()
    said = []
    for at, percent in enumerate((60.0, 60.1, 40.1, 40.0)):
        found = readings(load=busy(percent), at=1000 + at)
        allowance, memory = decide(own, None, found, memory)
        assert allowance.transfer
        said.append([(reason.code, sentence(reason)) for reason in allowance.train_reasons])
    words = "what others use of all processors, in the last 60 s"
    assert said == [
        [],
        [("machine-busy", f"load 60.1 % > 60 %: {words}")],
        [("machine-busy", f"load 40.1 % > 40 % (it was above 60 %): {words}")],
        [],
    ]
