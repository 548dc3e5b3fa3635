"""How hot it is, from fake sysfs. Real machines: test_machines.py."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.conditions import files
from fedling_agent.conditions.condition import Lack
from fedling_agent.conditions.heat import temperature
from tests.support.conditions import Machine


def test_nothing_there_is_absent(tmp_path: Path) -> None:
    assert temperature(Machine(tmp_path).roots).lack is Lack.ABSENT


def test_hottest_zone_counts_and_unreadable_ones_do_not(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.zone(0, "41500")
    machine.zone(1, "81200", "gpu")
    machine.zone(2, "999999999")
    machine.zone(3, "warm")
    found = temperature(machine.roots)
    assert (found.value, found.detail) == (81.2, "gpu")
    assert found.source.endswith("thermal_zone1/temp")


def test_no_readable_zone_is_broken(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.zone(0, "warm")
    found = temperature(machine.roots)
    assert (found.value, found.lack) == (None, Lack.UNREADABLE)
    assert found.detail == "cpu-thermal: 'warm' is not a number"


@pytest.mark.parametrize(
    ("temp", "degrees"),
    [
        ("41500", 41.5),
        ("0", 0.0),
        ("86", 86.0),
        ("-5", -5.0),
        ("-12500", -12.5),
        ("1000", 1.0),
        ("200000", 200.0),
        ("430", None),  # tenths, or half a degree: nobody can tell
        ("-273", None),
        ("200001", None),
    ],
)
def test_degrees_and_thousandths_are_told_apart(
    tmp_path: Path, temp: str, degrees: float | None
) -> None:
    machine = Machine(tmp_path)
    machine.zone(0, temp)
    assert temperature(machine.roots).value == degrees


@pytest.mark.parametrize("hot", [0, 9, 10, 99, 127, 255])
def test_hot_zone_is_found_wherever_it_stands(tmp_path: Path, hot: int) -> None:
    machine = Machine(tmp_path)
    for number in range(files.MOST_ENTRIES):
        machine.zone(number, "97000" if number == hot else "30000")
        machine.put(machine.thermal / f"cooling_device{number}/type", "Processor")
    assert temperature(machine.roots).value == 97.0


def test_zones_that_are_not_read_are_no_permission_and_can_be_chosen(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for number in range(files.MOST_ENTRIES + 3):
        machine.zone(number, "30000", f"zone {number}")
    found = temperature(machine.roots)
    assert (found.value, found.lack) == (None, Lack.SILENT)
    assert found.detail == "3 of 259 zones are not read; name those that matter in policy.zones"
    assert temperature(Machine(tmp_path, ("zone 7",)).roots).detail == "zone 7"


@pytest.mark.parametrize(
    ("zones", "value", "lack"),
    [
        ((), 125.0, None),
        (("-dead",), 80.0, None),
        (("cpu",), 50.0, None),
        (("cpu", "gpu"), 80.0, None),
        (("-dead", "-cpu", "-gpu"), None, Lack.ABSENT),
        (("nowhere",), None, Lack.SILENT),
    ],
)
def test_policy_takes_or_leaves_out_zones(
    tmp_path: Path, zones: tuple[str, ...], value: float | None, lack: Lack | None
) -> None:
    machine = Machine(tmp_path, zones)
    for number, (kind, temp) in enumerate([("cpu", "50000"), ("gpu", "80000"), ("dead", "125000")]):
        machine.zone(number, temp, kind)
    found = temperature(machine.roots)
    assert (found.value, found.lack) == (value, lack)


def test_zone_that_the_owner_named_and_that_tells_nothing_is_no_permission(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ("cpu",))
    assert temperature(machine.roots).lack is Lack.SILENT
    machine.zone(0, "warm", "cpu")
    machine.zone(1, "30000", "gpu")
    found = temperature(machine.roots)
    assert (found.lack, found.detail) == (Lack.SILENT, "cpu: 'warm' is not a number")
    assert temperature(Machine(tmp_path, ("-gpu",)).roots).lack is Lack.UNREADABLE


@given(st.lists(st.text(alphabet="ab019", min_size=1, max_size=6), unique=True, max_size=20))
def test_names_are_all_there_in_the_order_of_people(found: list[str]) -> None:
    numbered = sorted((f"zone{number}" for number in range(120)), key=files._by_number)
    assert numbered == [f"zone{number}" for number in range(120)]
    assert sorted(sorted(found, key=files._by_number)) == sorted(found)
