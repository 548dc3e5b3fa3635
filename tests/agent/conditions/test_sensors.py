"""Signals from fake sysfs and procfs, whatever stands in them."""

import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedling_agent.conditions.sensors import Readings, Roots, read

ROUTE4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
DEFAULT4 = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
LOCAL4 = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
ZERO = "0" * 32
DEFAULT6 = f"{ZERO} 00 {ZERO} 00 fe80{'0' * 28} 00000400 00000001 00000000 00000003 eth0\n"
REJECT6 = f"{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200 lo\n"


class Machine:
    """A folder that looks like the kernel's."""

    def __init__(self, root: Path) -> None:
        self.roots = Roots(root / "sys", root / "proc")
        self.power = root / "sys/class/power_supply"
        self.thermal = root / "sys/class/thermal"

    def put(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def supply(self, name: str, **files: str) -> None:
        for file, text in files.items():
            self.put(self.power / name / file, text + "\n")

    def zone(self, number: int, temp: str) -> None:
        self.put(self.thermal / f"thermal_zone{number}/temp", temp + "\n")

    def network(self, table4: str | None, table6: str | None = "", state: str = "up") -> None:
        self.put(self.roots.sys / "class/net/eth0/operstate", state + "\n")
        for name, table in (("route", table4), ("ipv6_route", table6)):
            if table is not None:
                self.put(self.roots.proc / "net" / name, table)

    def read(self) -> Readings:
        return read(self.roots)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_nothing_there_is_absent_not_broken(machine: Machine) -> None:
    readings = machine.read()
    signals = (readings.mains, readings.battery, readings.temperature)
    assert [s.value for s in signals] == [None] * 3
    assert not any(s.broken for s in signals)
    assert readings.mains.reason == "no power supply is listed"
    assert readings.network.broken


def test_laptop(machine: Machine) -> None:
    machine.supply("AC", type="Mains", online="1")
    machine.supply("BAT0", type="Battery", capacity="34", status="Charging", scope="System")
    readings = machine.read()
    assert readings.mains.value is True
    assert readings.battery.value == 34
    machine.supply("AC", online="0")
    assert machine.read().mains.value is False


def test_batteries_of_mice_are_skipped(machine: Machine) -> None:
    machine.supply("hid", type="Battery", scope="Device", capacity="3", status="Discharging")
    assert machine.read().battery.value is None
    assert machine.read().mains.value is None


def test_emptiest_battery_counts(machine: Machine) -> None:
    machine.supply("BAT0", type="Battery", capacity="80", status="Discharging")
    machine.supply("ups", type="UPS", capacity="20", status="Discharging")
    assert machine.read().battery.value == 20


@pytest.mark.parametrize(
    ("status", "mains"),
    [("Charging", True), ("Full", True), ("Not charging", True), ("Discharging", False)],
)
def test_battery_without_a_plug_tells_by_its_status(
    machine: Machine, status: str, mains: bool
) -> None:
    machine.supply("BAT0", type="Battery", capacity="80", status=status)
    assert machine.read().mains.value is mains


@pytest.mark.parametrize("capacity", ["-1", "101", "", "abc", "1e1", "9" * 100])
def test_impossible_capacity_is_broken(machine: Machine, capacity: str) -> None:
    machine.supply("BAT0", type="Battery", capacity=capacity, status="Discharging")
    battery = machine.read().battery
    assert battery.value is None
    assert battery.broken
    assert battery.reason


def test_any_plug_is_enough_and_an_unreadable_one_is_told(machine: Machine) -> None:
    machine.supply("usb", type="USB", online="yes")
    machine.supply("AC", type="Mains", online="0")
    assert machine.read().mains.broken
    machine.supply("AC", online="1")
    assert machine.read().mains.value is True


def test_hottest_zone_counts_and_unreadable_ones_do_not(machine: Machine) -> None:
    machine.zone(0, "41500")
    machine.zone(1, "81200")
    machine.zone(2, "999999999")
    machine.zone(3, "warm")
    assert machine.read().temperature.value == 81.2


def test_no_readable_zone(machine: Machine) -> None:
    machine.zone(0, "warm")
    temperature = machine.read().temperature
    assert temperature.value is None
    assert temperature.broken


@pytest.mark.parametrize(
    ("table4", "table6", "state", "up"),
    [
        (ROUTE4 + LOCAL4 + DEFAULT4, "", "up", True),
        (ROUTE4 + DEFAULT4, None, "unknown", True),
        (ROUTE4 + DEFAULT4, "", "down", False),
        (ROUTE4 + LOCAL4, "", "up", False),
        (ROUTE4 + DEFAULT4.replace("0003", "0002"), "", "up", False),
        (ROUTE4, DEFAULT6, "up", True),
        (None, DEFAULT6, "up", True),
        (ROUTE4, REJECT6, "up", False),
        (ROUTE4 + DEFAULT4.replace("eth0", "../../class/net/eth0"), "", "up", False),
        ("\0" * 5000, "\0\0\0", "up", False),
    ],
)
def test_network(
    machine: Machine, table4: str | None, table6: str | None, state: str, up: bool
) -> None:
    machine.network(table4, table6, state)
    assert machine.read().network.value is up


def test_what_would_block_or_exhaust_does_not(machine: Machine) -> None:
    machine.supply("BAT0", type="Battery", status="Discharging")
    os.mkfifo(machine.power / "BAT0/capacity")
    machine.thermal.mkdir(parents=True)
    (machine.thermal / "thermal_zone0").symlink_to("thermal_zone0")
    machine.network(ROUTE4)
    os.unlink(machine.roots.proc / "net/route")
    (machine.roots.proc / "net/route").symlink_to("/dev/zero")
    readings = machine.read()
    assert readings.battery.broken
    assert readings.temperature.value is None
    assert readings.network.value is False


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.binary(max_size=80))
def test_no_bytes_raise(seed: int, junk: bytes) -> None:
    rng = random.Random(seed)
    with TemporaryDirectory() as folder:
        machine = Machine(Path(folder))
        machine.supply("AC", type="Mains", online="1")
        machine.supply("BAT0", type="Battery", capacity="50", status="Full", scope="System")
        machine.zone(0, "40000")
        machine.network(ROUTE4 + DEFAULT4, DEFAULT6)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        for path in rng.sample(files, 3):
            path.write_bytes(junk)
        readings = machine.read()
    for signal in (readings.mains, readings.battery, readings.temperature, readings.network):
        assert (signal.value is None) == bool(signal.reason)
