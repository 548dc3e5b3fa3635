"""`fedling-agent label`: the last minute, the next one, or from when to when."""

import time

import pytest

from fedling_protocol.exits import Exit
from fedling_protocol.moments import moment
from tests.agent.commands.test_ingest import HEADER, Pipe
from tests.support.agent import Agent

HOUR_S = 3600


def counts(agent: Agent) -> dict[str, int]:
    """Samples of each label."""
    totals: dict[str, int] = {}
    for recording in agent.json("recordings", "list"):
        for label, samples in recording["labels"].items():
            totals[label] = totals.get(label, 0) + samples
    return totals


def timed(count: int, begin_s: float) -> str:
    """Rows of a sensor with a clock, a second apart."""
    lines = "".join(f"r,{begin_s + n:.3f},{n / 100},0\n" for n in range(count))
    return "recording,time,x,y\n" + lines


def test_a_button_says_what_the_last_minute_was(agent: Agent) -> None:
    """Of a pipe that runs: its rows wait for each other, and are in no store yet."""
    pipe = Pipe(agent, "--label", "nothing")
    pipe.say("recording,x,y\ndoor,0,0\ndoor,0,1\n")
    pipe.until(2)
    pipe.say("door,1,1\n" * 50)
    said = agent.run("label", "wrist", "walk", "--past", "60s", "--coming", "60s").stdout
    assert said.startswith(("walk: 2 samples of 1 recordings", "walk: 52 samples of 1 recordings"))
    assert "those of this time that come within 10 min of it are, too" in said
    pipe.until(52)
    pipe.process.terminate()
    pipe.end(Exit.INTERRUPTED)
    assert counts(agent) == {"walk": 52}


def test_the_next_minute(agent: Agent) -> None:
    assert agent.json("label", "wrist", "walk", "--coming", "1m") == {
        "label": "walk", "samples": 0, "recordings": 0, "to_come": True,
        "newest_ms": None,
    }  # fmt: skip
    agent.run("ingest", "wrist", text=HEADER + "a,sit,1,1\n" * 7)
    assert counts(agent) == {"walk": 7}


def test_from_when_to_when(agent: Agent) -> None:
    begin_s = int(time.time()) - HOUR_S
    agent.run("ingest", "wrist", text=timed(600, begin_s))
    words = ("--from", moment(begin_s + 100), "--to", moment(begin_s + 160))
    assert agent.json("label", "wrist", "walk", *words)["samples"] == 60
    assert agent.json("label", "wrist", "hop", "--from", moment(begin_s + 150))["samples"] == 450
    assert counts(agent) == {"walk": 50, "hop": 450}
    assert agent.run("label", "wrist", "", "--past", "2h").stdout.startswith(
        "no label: 600 samples of 1 recordings"
    )
    assert counts(agent) == {}
    said = agent.run("label", "wrist", "walk", "--past", "10s").stdout
    assert f"; the newest that is stored was taken {moment(begin_s + 599)}" in said


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), Exit.FAILED, "which samples? Name a recording, or a time"),
        (("--first", "3"), Exit.FAILED, "which samples? Name a recording, or a time"),
        (("--recording", "r", "--first", "3", "--past", "1m"), Exit.FAILED, "not by both"),
        (("--to", "12:00"), Exit.FAILED, "--from says it"),
        (("--from", "12:00", "--past", "1m"), Exit.FAILED, "seen from now"),
        (("--from", "2026-03-02", "--to", "2026-03-01"), Exit.FAILED, "ends before it begins"),
        (("--from", "noon"), Exit.FAILED, "allowed: a time of day as 14:05"),
        (("--past", "1m", "--coming", "367d"), Exit.USAGE, "367d: allowed"),
        (("--from", "2026-01-01", "--to", "2099-01-01"), Exit.FAILED, "366 days from now"),
        (("--past", "60"), Exit.USAGE, "60: allowed: a time as 90s"),
        (("--past", "1m", "--recording", "x"), Exit.NOT_FOUND, "no recording x"),
    ],
)
def test_what_cannot_be_meant_is_said(
    agent: Agent, words: tuple[str, ...], code: Exit, says: str
) -> None:
    agent.run("ingest", "wrist", text=HEADER + "r,sit,1,1\n" * 7)
    assert says in agent.run("label", "wrist", "walk", *words, code=code).stderr
    assert counts(agent) == {"sit": 7}
