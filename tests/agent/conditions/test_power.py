"""What powers the machine, from fake sysfs."""

from pathlib import Path

import pytest

from fedling_agent.conditions import power
from fedling_agent.conditions.condition import Lack, Signal
from tests.support.conditions import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def mains(machine: Machine) -> Signal:
    return power.mains(machine.roots)


def battery(machine: Machine) -> Signal:
    return power.battery(machine.roots)


def test_nothing_there_is_absent_not_broken(machine: Machine) -> None:
    signals = (mains(machine), battery(machine))
    assert [s.lack for s in signals] == [Lack.ABSENT] * 2
    assert not any(s.broken for s in signals)
    assert mains(machine).detail == "no power supply is listed"


def test_laptop(machine: Machine) -> None:
    machine.supply("AC", type="Mains", online="1")
    machine.supply("BAT0", type="Battery", capacity="34", status="Charging", scope="System")
    assert mains(machine).value is True
    assert battery(machine) == Signal(34, f"{machine.power}/BAT0/capacity")
    machine.supply("AC", online="0")
    assert mains(machine).value is False


def test_batteries_of_mice_are_skipped(machine: Machine) -> None:
    machine.supply("hid", type="Battery", scope="Device", capacity="3", status="Discharging")
    assert mains(machine).lack is battery(machine).lack is Lack.ABSENT


@pytest.mark.parametrize("order", [("80", "20"), ("20", "80")])
def test_emptiest_battery_counts(machine: Machine, order: tuple[str, str]) -> None:
    machine.supply("BAT0", type="Battery", capacity=order[0], status="Discharging")
    machine.supply("ups", type="UPS", capacity=order[1], status="Discharging")
    assert battery(machine).value == 20


@pytest.mark.parametrize(
    ("status", "expected"),
    [("Charging", True), ("Full", True), ("Not charging", True), ("Discharging", False)],
)
def test_battery_without_a_plug_tells_by_its_status(
    machine: Machine, status: str, expected: bool
) -> None:
    machine.supply("BAT0", type="Battery", capacity="80", status=status)
    assert mains(machine).value is expected


@pytest.mark.parametrize("capacity", ["-1", "101", "", "abc", "1e1", "9" * 100])
def test_impossible_capacity_is_broken(machine: Machine, capacity: str) -> None:
    machine.supply("BAT0", type="Battery", capacity=capacity, status="Discharging")
    found = battery(machine)
    assert found.value is None
    assert found.broken
    assert found.detail


def test_any_plug_is_enough_and_an_unreadable_one_is_told(machine: Machine) -> None:
    machine.supply("usb", type="USB", online="yes")
    machine.supply("AC", type="Mains", online="0")
    assert mains(machine).lack is Lack.UNREADABLE
    machine.supply("AC", online="1")
    assert mains(machine).value is True
