"""No command is misled by a clock that says 1970, 2046, or each in turn."""

import json
import time
from pathlib import Path

import pytest

from fedling_agent import cli
from fedling_agent.store.store import Store
from fedling_protocol.exits import Exit
from tests.support.agent import Agent, rows

NOWHERE = 1
YEAR_1970, YEAR_2026, YEAR_2046 = 130.0, 1_795_000_000.0, 2_400_000_000.0
DAY_S = 86_400.0


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    agent = Agent(tmp_path / "device", NOWHERE, settings="[store]\nage_days = 30")
    assert command(agent, "init") == Exit.OK
    monkeypatch.setattr(time, "time", lambda: YEAR_2026)
    return agent


def command(agent: Agent, *words: str) -> int:
    """In this process, where the test makes the time."""
    return cli.main([*words, "--config", str(agent.config)])


def ingest(agent: Agent, name: str) -> int:
    file = agent.directory / f"{name}.csv"
    file.write_text(rows(1, 20).replace("r0", name))
    return command(agent, "ingest", "wrist", str(file))


@pytest.mark.parametrize(
    "clock",
    [
        (YEAR_1970, YEAR_2026, YEAR_2046, YEAR_2026, YEAR_1970),
        (YEAR_2046, YEAR_1970, YEAR_2026, YEAR_2046, YEAR_2046),
    ],
)
@pytest.mark.parametrize(
    "words",
    [
        ("status",), ("check",), ("conditions",), ("sent",), ("replay",), ("init",),
        ("recordings", "list"), ("label", "wrist", "walk", "--past", "60s"),
        ("predict", "/dev/null"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_command_erases_by_a_date(
    agent: Agent,
    words: tuple[str, ...],
    clock: tuple[float, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, now in zip("abcde", clock, strict=True):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert ingest(agent, name) == Exit.OK
        assert "had to go" not in capsys.readouterr().out
        command(agent, *words)
    store = Store(agent.state, read_only=True)
    assert {r.id for r in store.recordings.newest("wrist")} == set("abcde")
    store.close()
    assert "Traceback" not in capsys.readouterr().err


def test_age_is_time_that_the_device_ran_and_is_told(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    up = [5.0]
    monkeypatch.setattr("fedling_agent.commands.uptime.up_ms", lambda: int(up[0] * 1000))
    ingest(agent, "a")
    up[0] += 29 * DAY_S
    ingest(agent, "b")
    up[0] = 2 * DAY_S  # rebooted
    capsys.readouterr()
    ingest(agent, "c")
    assert "20 older samples had to go, 1 recordings with them (a)" in capsys.readouterr().out
    command(agent, "status", "--json")
    assert json.loads(capsys.readouterr().out)["streams"]["wrist"]["evicted"] == 20
    command(agent, "status")
    assert "20 older samples had to go, in all" in capsys.readouterr().out
