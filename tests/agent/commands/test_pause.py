"""pause and resume without a service, and what other commands say of it: whatever the date is."""

import json
import time
from pathlib import Path

import pytest

from fedling_agent.commands import uptime
from fedling_agent.commands.status import EVERY_S
from fedling_agent.conditions.owner import LONGEST_S
from fedling_agent.service.diary import MEANINGS
from fedling_agent.store.database import PROGRAM
from fedling_agent.store.spells import Course, Why
from fedling_agent.store.store import Store
from fedling_protocol.disk import lock
from fedling_protocol.exits import Exit
from tests.support.agent import Agent

NOWHERE = 1
HOUR_S = 3600


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds since boot, as commands hear of them."""
    seconds = [1000.0]
    monkeypatch.setattr("fedling_agent.commands.uptime.up_s", lambda: seconds[0])
    return seconds


@pytest.fixture
def agent(tmp_path: Path, up: list[float]) -> Agent:
    agent = Agent(tmp_path / "device", NOWHERE)
    agent.run("init")
    return agent


def test_pause_is_kept_told_and_ended(agent: Agent, up: list[float]) -> None:
    said = agent.run("pause", "2h", "--reason", "guests").stdout
    assert said.startswith("paused by its owner until ")
    assert said.endswith(": guests\n")
    up[0] += HOUR_S
    status = agent.json("status")
    assert status["pause"]["left_s"] == HOUR_S
    assert status["doing"].startswith("the service does not run; paused by its owner until ")
    assert status["doing"].endswith(": guests")
    (reason,) = agent.json("conditions")["own"]["why_not_train"]
    assert (reason["code"], reason["value"], reason["asker"]) == ("paused-by-owner", True, "owner")
    assert agent.run("resume").stdout == "takes part again, as conditions allow\n"
    assert agent.json("resume") == {"was_paused": False}
    assert agent.json("status")["pause"] is None
    assert agent.json("conditions")["own"]["train"] is True


def test_pause_without_an_end(agent: Agent, up: list[float]) -> None:
    assert agent.json("pause") == {"pause": {"reason": "", "left_s": None, "until_s": None}}
    up[0] += 10 * LONGEST_S
    assert agent.json("conditions")["own"]["send"] is False
    assert agent.json("conditions")["own"]["transfer"] is True
    assert "pause         yes: until fedling-agent resume" in agent.run("conditions").stdout


def test_pause_is_as_long_as_it_was_asked_to_be_whatever_the_date_says(
    agent: Agent, up: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.run("pause", "60m")
    for year_s in (130.0, 2_400_000_000.0, 1_795_000_000.0):
        monkeypatch.setattr(time, "time", lambda year_s=year_s: year_s)
        up[0] += 1000
        told = agent.json("status")["pause"]
        assert told["until_s"] == year_s + told["left_s"]
    assert told["left_s"] == HOUR_S - 3000
    up[0] = 5.0  # rebooted; what was not written down counts anew
    assert agent.json("status")["pause"]["left_s"] == HOUR_S - 5


@pytest.mark.parametrize("word", ["0s", "2", "2 weeks", "-1h", "367d", "1e3s", "٣h", "2h30m"])
def test_time_that_cannot_be_read_is_named(agent: Agent, word: str) -> None:
    result = agent.run("pause", "--", word, code=Exit.USAGE)
    assert "allowed: a time as 90s, 30m, 2h or 7d, at most 366d" in result.stderr


def test_reason_that_cannot_be_shown_is_refused(agent: Agent) -> None:
    result = agent.run("pause", "--reason", "\x1b[2J", code=Exit.FAILED)
    assert "allowed: 200 printable characters" in result.stderr
    assert agent.json("status").get("pause") is None


def test_nothing_is_made_where_there_is_no_device(tmp_path: Path) -> None:
    nobody = Agent(tmp_path / "nobody", NOWHERE)
    for verb in ("pause", "resume"):
        assert "no device yet" in nobody.run(verb, code=Exit.NOT_FOUND).stderr
    assert not nobody.state.exists()


def test_who_works_in_the_state_is_waited_for_by_the_caller(agent: Agent) -> None:
    with lock.exclusive(agent.state, PROGRAM):
        assert agent.run("pause", code=Exit.TRY_LATER).stderr


# --- conditions --explain ---


def begun(agent: Agent, *spells: tuple[int, float, Course]) -> None:
    """Spells, each of a run, at a time since boot."""
    store = Store(agent.state)
    for run, up_s, course in spells:
        why: Why = ({"code": "no-open-round", "sentence": MEANINGS["no-open-round"]},)
        wall_ms = 1_790_000_000_000 + int(1000 * up_s)
        store.spells.add(run, course, why, int(1000 * up_s), int(1000 * up_s), wall_ms)
    store.close()


def test_explain_without_a_service_is_a_plain_table(
    agent: Agent, up: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    begun(agent, (1, 1000, Course.NOTHING), (1, 1600, Course.TRAINS), (2, 1690, Course.OFF))
    up[0] = 2000.0
    monkeypatch.setattr(time, "time", lambda: 1_790_002_000.0)
    why = MEANINGS["no-open-round"]
    assert agent.run("conditions", "--explain", "24h").stdout.splitlines() == [
        "FROM                 TO                   FOR     VERDICT        WHY",
        f"2026-09-21 14:30:00  2026-09-21 14:40:00  10 min  nothing to do  {why}",
        f"2026-09-21 14:40:00  not known                    trains         {why}",
        f"2026-09-21 14:41:30  now                  5 min   off            {why}",
    ]
    listed = agent.json("conditions", "--explain", "6m")
    assert [one["verdict"] for one in listed] == ["trains", "off"]


def test_explain_of_a_device_that_never_ran(agent: Agent) -> None:
    Store(agent.state).close()
    assert agent.run("conditions", "--explain", "1h").stdout == "the service has not run\n"
    assert agent.json("conditions", "--explain", "1h") == []


# --- --watch ---


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_watch_reads_again_at_the_interval_of_the_service(
    agent: Agent, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    result = agent.run("conditions", "--watch", *words, code=Exit.INTERRUPTED)
    assert slept == [0.1, 0.1, 0.1]  # policy.check_s of this agent
    assert "\x1b" not in result.stdout
    if words:
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert [line["own"]["train"] for line in lines] == [True] * 3
    else:
        assert result.stdout.count("may train") == 3


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_watched_status_is_told_as_it_is_each_time(
    agent: Agent, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            store = Store(agent.state)
            store.pauses.begin(None, "guests", uptime.up_ms())
            store.close()
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    result = agent.run("status", "--watch", *words, code=Exit.INTERRUPTED)
    assert slept == [EVERY_S, EVERY_S]
    assert "\x1b" not in result.stdout
    if words:
        first, second = (json.loads(line) for line in result.stdout.splitlines())
        assert first.get("pause") is None
        assert second["pause"]["reason"] == "guests"
    else:
        first, second = result.stdout.split("again every 5 s")[:2]
        assert "guests" not in first
        assert "paused by its owner until fedling-agent resume: guests" in second
