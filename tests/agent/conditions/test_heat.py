"""How hot it is, from fake sysfs."""

from pathlib import Path

from fedling_agent.conditions.condition import Lack
from fedling_agent.conditions.heat import temperature
from tests.support.conditions import Machine


def test_nothing_there_is_absent(tmp_path: Path) -> None:
    assert temperature(Machine(tmp_path).roots).lack is Lack.ABSENT


def test_hottest_zone_counts_and_unreadable_ones_do_not(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.zone(0, "41500")
    machine.zone(1, "81200")
    machine.zone(2, "999999999")
    machine.zone(3, "warm")
    found = temperature(machine.roots)
    assert found.value == 81.2
    assert found.source.endswith("thermal_zone1/temp")


def test_no_readable_zone_is_broken(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.zone(0, "warm")
    found = temperature(machine.roots)
    assert found.value is None
    assert found.lack is Lack.UNREADABLE
