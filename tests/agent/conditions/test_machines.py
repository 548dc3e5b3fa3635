"""Real machines: what each says of its power and heat, and what is right (machines/README.md)."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from fedling_agent.conditions import watcher
from fedling_agent.conditions.condition import Lack, Readings, Signal
from fedling_agent.conditions.decision import Memory, decide
from fedling_agent.conditions.policy import Policy
from fedling_agent.conditions.table import TABLE
from fedling_protocol import settings
from tests.support.conditions import Machine

MACHINES = sorted((Path(__file__).parent / "machines").glob("*.toml"))
LACKS = {
    Lack.ABSENT: "absent",
    Lack.UNTOLD: "unknown",
    Lack.UNREADABLE: "unknown",
    Lack.SILENT: "unread",
}


def build(root: Path, told: dict[str, Any]) -> Machine:
    """The tree that a file describes."""
    machine = Machine(root, tuple(told.get("policy_zones", ())))
    for name, uevent in told.get("supplies", {}).items():
        machine.put(machine.power / name / "uevent", uevent)
        for line in uevent.split("\n")[:-1]:
            key, _, value = line.removeprefix("POWER_SUPPLY_").partition("=")
            attribute(machine, machine.power / name / key.lower(), value)
    for number, zone in told.get("zones", {}).items():
        kind, _, temp = zone.rpartition(" ")
        folder = machine.thermal / f"thermal_zone{number}"
        attribute(machine, folder / "type", kind)
        attribute(machine, folder / "temp", temp)
    for number in range(told.get("cooling_devices", 0)):
        attribute(machine, machine.thermal / f"cooling_device{number}/type", "Processor")
    return machine


def attribute(machine: Machine, path: Path, value: str) -> None:
    if value == "!":  # opens, and cannot be read
        path.mkdir(parents=True)
    else:
        machine.put(path, value + "\n")


def said(signal: Signal) -> object:
    return LACKS[signal.lack] if signal.lack is not None else signal.value


@pytest.mark.parametrize("file", MACHINES, ids=lambda file: file.stem)
def test_machine(file: Path, tmp_path: Path) -> None:
    told = tomllib.loads(file.read_text())
    right = told["right"]
    machine = build(tmp_path, told)
    signals = watcher.read(TABLE, machine.roots)
    found = {name: said(signals[name]) for name in ("mains", "battery", "temperature")}
    policy = settings.read({"dwell_s": 0.0}, "agent.toml", Policy)
    allowance, _ = decide(policy, None, Readings(signals, 0.0), Memory())
    assert found | {"train": allowance.train} == right, allowance.sentence
    assert told.get("says", "") in allowance.sentence


def test_machines_are_many_and_each_says_where_it_is_from() -> None:
    assert len(MACHINES) >= 40
    for file in MACHINES:
        told = tomllib.loads(file.read_text())
        assert told["machine"]
        assert told["source"]
        assert set(told) <= {
            *("machine", "source", "policy_zones", "cooling_devices", "says"),
            *("right", "supplies", "zones"),
        }
