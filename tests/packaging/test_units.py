"""What the systemd units promise; `make check-units` holds them to systemd itself."""

from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parent.parent.parent / "packaging/systemd").glob("*.service"))


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


def test_both_units_are_here() -> None:
    assert [unit.stem for unit in UNITS] == ["fedling-agent", "fedling-broker"]
