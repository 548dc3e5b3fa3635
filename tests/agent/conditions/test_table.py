"""The rows, and that a new one is nothing but a row."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.commands import check, conditions
from fedling_agent.commands.installation import Installation
from fedling_agent.conditions import watcher
from fedling_agent.conditions.condition import Bound, Code, Direction, Readings
from fedling_agent.conditions.decision import Memory, decide
from fedling_agent.conditions.policy import Policy, with_keys_of
from fedling_agent.conditions.table import TABLE
from fedling_agent.config import AgentConfig, PathSettings
from fedling_agent.service import report
from fedling_protocol import settings
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.disk.errors import Missing
from fedling_protocol.settings import SettingsError
from tests.support.conditions import MOISTURE, Machine, policy, readings

MOIST = (*TABLE, MOISTURE)
MoistPolicy = with_keys_of(MOIST)(Policy)


def test_names_and_codes_are_unique() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert len({row.code for row in TABLE} | set(Code)) == len(TABLE) + len(Code)


def test_every_row_gates_something() -> None:
    assert all(row.trains or row.transfers or row.sends for row in TABLE)


# --- a row more ------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.put(machine.roots.sys / "moisture", "12\n")
    return machine


def installed(machine: Machine, own: Policy, tmp_path: Path) -> Installation:
    roots = machine.roots
    config = AgentConfig(
        "test",
        "0" * 64,
        MqttSettings("127.0.0.1"),
        policy=own,
        paths=PathSettings(roots.sys),
    )
    return Installation(tmp_path / "agent.toml", config, tmp_path)


def test_new_row_has_keys_in_the_policy() -> None:
    mine = settings.parse("moisture = 20\nmoisture_resume = 18", "agent.toml", MoistPolicy)
    assert mine.own(MOISTURE).value == 20
    assert mine.own(MOISTURE).resume == 18
    with pytest.raises(SettingsError, match="moisture = 101: allowed: 0 to 100 g/m3"):
        settings.parse("moisture = 101", "agent.toml", MoistPolicy)
    with pytest.raises(SettingsError, match="moisture_resume: allowed: 9"):
        settings.parse("moisture_resume = 11", "agent.toml", MoistPolicy)


def test_new_row_gates_with_hysteresis_and_sentence(machine: Machine) -> None:
    mine = policy(make=MoistPolicy)
    signals = watcher.read(MOIST, machine.roots)
    moist, memory = decide(mine, None, Readings(signals, 1.0), Memory())
    assert (moist.train, moist.transfer) == (False, True)
    assert moist.sentence.startswith("moisture 12 g/m3 > 9 g/m3, ")
    machine.put(machine.roots.sys / "moisture", "8")
    signals = watcher.read(MOIST, machine.roots)
    still, _ = decide(mine, None, Readings(signals, 2.0), memory)
    assert report.of_allowance(still)["why_not_train"] == [
        {
            "code": "too-moist",
            "condition": "moisture",
            "value": 8,
            "limit": 9,
            "resume": 7,
            "unit": "g/m3",
            "asker": "policy",
            "source": f"{machine.roots.sys}/moisture",
            "detail": "",
            "sentence": "moisture 8 g/m3 > 7 g/m3 (it was above 9 g/m3)",
        }
    ]


def test_new_row_is_among_the_conditions(
    machine: Machine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = installed(machine, policy(make=MoistPolicy), tmp_path)
    monkeypatch.setattr("fedling_agent.commands.installation.find", lambda _args: where)
    conditions.run(argparse.Namespace(json=False, watch=False, explain=None))
    assert f"moisture      12 g/m3 ({machine.roots.sys}/moisture)" in capsys.readouterr().out
    conditions.run(argparse.Namespace(json=True, watch=False, explain=None))
    facts = json.loads(capsys.readouterr().out)
    assert facts["signals"]["moisture"]["value"] == 12
    assert facts["own"]["why_not_train"][0]["code"] == "too-moist"


def test_new_row_is_checked(machine: Machine, tmp_path: Path) -> None:
    where = installed(machine, policy(make=MoistPolicy), tmp_path)
    assert check.CHECKS["conditions"](where) == "readable"
    (machine.roots.sys / "moisture").unlink()
    with pytest.raises(Missing, match="moisture: FileNotFoundError"):
        check.CHECKS["conditions"](where)


def test_new_row_of_the_other_direction() -> None:
    limit = Bound(Direction.AT_LEAST, 20, 25, 0, 100, "train from here", "later from here")
    dry = replace(MOISTURE, limit=limit, unit="%")
    mine = policy(make=with_keys_of((*TABLE, dry))(Policy))
    given = readings()
    signals = dict(given.signals) | {"moisture": replace(given.signals["battery"], value=19)}
    allowance, _ = decide(mine, None, Readings(signals, 1.0), Memory())
    assert allowance.sentence == "moisture 19 % < 20 %, next check in 60 s"
