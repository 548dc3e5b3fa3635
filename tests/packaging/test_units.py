"""What the systemd units promise; `make check-units` holds them to systemd itself."""

from pathlib import Path

import pytest

from fedling_agent import config as agent
from fedling_agent.training.yielding import NICEST
from fedling_broker import config as broker
from fedling_protocol.disk.ownership import Unit
from tests.support.distributions import ROOT

UNITS = sorted(ROOT.glob("*/systemd/*.service"))


def keys(unit: Path) -> dict[str, str]:
    lines = [line for line in unit.read_text().splitlines() if not line.startswith(("#", "["))]
    return {key: value for key, sign, value in (line.partition("=") for line in lines) if sign}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_comes_back_after_every_end_but_a_wrong_configuration(unit: Path) -> None:
    """systemd calls SIGHUP, SIGINT, SIGTERM and SIGPIPE clean: on-failure left them ended."""
    found = keys(unit)
    assert (found["Restart"], found["RestartPreventExitStatus"]) == ("always", "77 78")
    assert found["StartLimitIntervalSec"] == "0"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_reloads_without_a_program_that_a_small_system_lacks(unit: Path) -> None:
    """/bin/kill is of procps; a shell's own is everywhere."""
    assert keys(unit)["ExecReload"] == "sh -c 'kill -HUP $MAINPID'"


@pytest.mark.parametrize("ours", [agent.UNIT, broker.UNIT], ids=lambda ours: ours.user)
def test_unit_runs_as_the_user_that_its_file_makes(ours: Unit) -> None:
    """By systemd.make_user(), which is given the name; so the file has it, too."""
    (file,) = ROOT.glob(f"*/systemd/{ours.user}.conf")
    made = file.read_text().splitlines()[-1].split()
    assert made[:3] == ["u", ours.user, "-"]
    assert made[-1] == str(ours.state)
    found = keys(file.parent / f"{ours.state.name}.service")
    assert (found["User"], found["StateDirectory"]) == (ours.user, ours.state.name)


def test_both_units_are_here() -> None:
    assert [unit.stem for unit in UNITS] == ["fedling-agent", "fedling-broker"]


def test_agent_itself_is_not_idle_and_its_training_may_be_made_so() -> None:
    """An idle service starves on a busy machine: watchdog, leases, `status`, predictions."""
    unit = ROOT / "agent/systemd/fedling-agent.service"
    found = keys(unit)
    assert not {"CPUSchedulingPolicy", "IOSchedulingClass", "CPUWeight"} & set(found)
    assert int(found["Nice"]) < NICEST
    filters = [line for line in unit.read_text().splitlines() if line.startswith("SystemCallFil")]
    allowed = filters[-1].removeprefix("SystemCallFilter=").split()
    assert allowed == ["sched_setscheduler", "setpriority", "ioprio_set"]
    assert "@resources" in filters[-2]
