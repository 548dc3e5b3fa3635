"""What powers the machine: docs/power.md, row by row. Real machines: test_machines.py."""

import os
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.conditions import files, power
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
    assert mains(machine).detail == "no power supply of this machine is listed"


def test_sources_name_the_file_that_told(machine: Machine) -> None:
    machine.supply("AC", type="Mains", online="1")
    machine.supply("BAT0", type="Battery", capacity="34", status="Charging", scope="System")
    assert mains(machine) == Signal(True, f"{machine.power}/BAT0/status")
    assert battery(machine) == Signal(34, f"{machine.power}/BAT0/capacity")
    machine.supply("BAT0", status="Not charging")
    assert mains(machine) == Signal(True, f"{machine.power}/AC/online")
    machine.supply("AC", online="0")
    assert mains(machine).detail == "Not charging, and no plug is online"


STATUSES = ("Charging", "Discharging", "Full", "Not charging", "Unknown", None)


def right(batteries: tuple[str | None, ...], charger: str | None, online: str) -> bool | None:
    """docs/power.md, rows 3 to 6, as anyone would write them down."""
    mute = not {"Charging", "Discharging", "Full", "Not charging"} & set(batteries)
    said = {charger} if mute else set(batteries)
    if "Discharging" in said:
        return False
    if "Charging" in said:
        return True
    return True if online == "1" else None


@pytest.mark.parametrize("online", ["0", "1", "yes"])
def test_every_row_of_the_table(machine: Machine, online: str) -> None:
    for one, two, charger in product(STATUSES, STATUSES, STATUSES):
        machine.supply("AC", type="Mains", online=online)
        for name, kind, status in (("BAT0", "Battery", one), ("BAT1", "UPS", two)):
            machine.supply(name, type=kind, status=status or "")
        machine.supply("charger", type="USB", online="0", status=charger or "")
        found = mains(machine)
        assert found.value is right((one, two), charger, online), (one, two, charger, found)
        assert found.lack is (Lack.UNTOLD if found.value is None else None)
        assert not found.broken


@pytest.mark.parametrize(("attribute", "value"), [("scope", "Device"), ("present", "0")])
def test_batteries_that_do_not_count(machine: Machine, attribute: str, value: str) -> None:
    machine.supply("hid", type="Battery", capacity="3", status="Discharging", **{attribute: value})
    assert mains(machine).lack is battery(machine).lack is Lack.ABSENT
    machine.supply("usb", type="USB", online="0")
    found = mains(machine)
    assert (found.value, found.detail) == (True, "there is no battery")


@pytest.mark.parametrize("order", [("80", "20"), ("20", "80")])
def test_emptiest_battery_counts_where_sizes_are_not_told(
    machine: Machine, order: tuple[str, str]
) -> None:
    machine.supply("BAT0", type="Battery", capacity=order[0], status="Discharging")
    machine.supply("ups", type="UPS", capacity=order[1], energy_full="10", status="Discharging")
    assert battery(machine).value == 20


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 10**7)), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_charge_of_all_is_what_they_hold_by_what_they_could(cells: list[tuple[int, int]]) -> None:
    with TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        for number, (now, full) in enumerate(cells):
            machine.supply(
                f"BAT{number}",
                type="Battery",
                energy_now=str(min(now, full)),
                energy_full=str(full),
            )
        value = battery(machine).value
    held = sum(min(now, full) for now, full in cells)
    assert value is not None
    assert abs(value - 100 * held / sum(full for _, full in cells)) <= 1


@pytest.mark.parametrize(
    ("told", "percent"),
    [
        ({"capacity": "117"}, 100),
        ({"capacity": "0"}, 0),
        ({"capacity": "201", "energy_now": "1", "energy_full": "4"}, 25),
        ({"capacity": "-1", "charge_now": "3", "charge_full_design": "4"}, 75),
        ({"energy_now": "5", "energy_full": "0", "energy_full_design": "10"}, 50),
        ({"energy_now": "11", "energy_full": "10"}, 100),
        ({"charge_now": "2", "charge_full": "3"}, 66),
    ],
)
def test_percent(machine: Machine, told: dict[str, str], percent: int) -> None:
    machine.supply("BAT0", type="Battery", status="Discharging", **told)
    assert battery(machine).value == percent


@pytest.mark.parametrize("capacity", ["-1", "201", "", "abc", "1e1", "9" * 100])
def test_impossible_capacity_is_broken(machine: Machine, capacity: str) -> None:
    machine.supply("BAT0", type="Battery", capacity=capacity, status="Discharging")
    found = battery(machine)
    assert (found.value, found.lack) == (None, Lack.UNREADABLE)
    assert "no energy or charge tells the percent" in found.detail


def test_battery_that_says_nothing_is_named_beside_one_that_does(machine: Machine) -> None:
    machine.supply("bq24190-battery", type="Battery", status="Discharging")
    machine.supply("max170xx_battery", type="Battery", status="Discharging", capacity="90")
    found = battery(machine)
    assert (found.value, found.detail) == (90, "bq24190-battery says nothing")


def test_more_supplies_than_anybody_has_are_broken_not_absent(machine: Machine) -> None:
    for number in range(files.MOST_ENTRIES + 1):
        machine.supply(f"usb{number}", type="USB", online="1")
    for found in (mains(machine), battery(machine)):
        assert found.lack is Lack.UNREADABLE
        assert found.detail == "257 supplies are listed, 256 at most are read"


# --- a UPS hat without a driver --------------------------------------------------------------


@pytest.fixture
def hat(tmp_path: Path) -> Path:
    """What a program of the owner's keeps up."""
    folder = tmp_path / "ups" / "hat"
    folder.mkdir(parents=True)
    for name, says in (("type", "UPS"), ("status", "Discharging"), ("capacity", "64")):
        (folder / name).write_text(f"{says}\n")
    return folder


def test_a_hat_without_a_driver_is_believed_where_the_owner_says_so(
    machine: Machine, hat: Path
) -> None:
    roots = replace(machine.roots, supplies=str(hat.parent))
    assert power.mains(roots) == Signal(False, f"{hat}/status")
    assert power.battery(roots) == Signal(64, f"{hat}/capacity")
    (hat / "status").write_text("Charging\n")
    assert power.mains(roots).value is True
    machine.supply("BAT0", type="Battery", status="Discharging", capacity="80")
    assert power.mains(roots).value is False  # one of both is being emptied
    assert power.battery(roots).value == 64  # they do not tell their sizes: the emptier one


@pytest.mark.parametrize("age_s", [-3600, 601, 86_400])
def test_a_hats_program_that_died_is_no_permission(machine: Machine, hat: Path, age_s: int) -> None:
    roots = replace(machine.roots, supplies=str(hat.parent))
    (hat / "status").write_text("Charging\n")
    now = time.time()
    os.utime(hat / "status", (now, now - age_s))
    for found in (power.mains(roots), power.battery(roots)):
        assert found.lack is Lack.UNREADABLE
        assert f"{hat}/status was written" in found.detail


def test_a_folder_of_the_owners_that_is_not_there_is_no_permission(
    machine: Machine, hat: Path
) -> None:
    nowhere = replace(machine.roots, supplies=f"{hat.parent}/nothing")
    assert power.mains(nowhere).lack is Lack.UNREADABLE
    assert "nothing is listed" in power.mains(nowhere).detail
    (hat / "status").unlink()
    mute = replace(machine.roots, supplies=str(hat.parent))
    assert "No such file" in power.mains(mute).detail
