"""Traces are pure functions of the seed; the fake sysfs says what the weather is."""

import itertools
from pathlib import Path

from fedling_sim.world import Climate, FakeDevice, Trace, Weather


def weathers(seed: int, device: int, *, step: float = 0.25, seconds: float = 300) -> list[Weather]:
    trace = Trace(seed, device, Climate())
    return [trace.at(i * step) for i in range(int(seconds / step))]


def test_trace_same_seed_same_world() -> None:
    assert weathers(1, 3) == weathers(1, 3)
    assert weathers(1, 3) != weathers(2, 3)
    assert weathers(1, 3) != weathers(1, 4)


def test_trace_does_not_depend_on_how_often_it_is_read() -> None:
    coarse = weathers(5, 0, step=1.0)
    fine = weathers(5, 0, step=0.25)[::4]
    assert [w.mains for w in coarse] == [w.mains for w in fine]
    assert [w.network for w in coarse] == [w.network for w in fine]
    assert max(abs(a.battery - b.battery) for a, b in zip(coarse, fine, strict=True)) <= 1


def test_trace_battery_charges_on_mains_and_drains_off_it() -> None:
    seen = weathers(7, 1)
    for before, after in itertools.pairwise(seen):
        if before.mains and after.mains:
            assert after.battery >= before.battery
        if not before.mains and not after.mains:
            assert after.battery <= before.battery
    assert {w.mains for w in seen} == {True, False}
    assert {w.network for w in seen} == {True, False}
    assert len({w.temperature for w in seen}) == 2


def test_fake_device_shows_the_weather(tmp_path: Path) -> None:
    device = FakeDevice(tmp_path)
    device.show(Weather(mains=False, battery=34, temperature=45, network=True))
    supply = device.sysfs / "class/power_supply"
    assert (supply / "AC/online").read_text() == "0\n"
    assert (supply / "BAT0/capacity").read_text() == "34\n"
    device.show(Weather(mains=True, battery=35, temperature=85, network=False))
    assert (supply / "BAT0/status").read_text() == "Charging\n"
    assert (device.sysfs / "class/thermal/thermal_zone0/temp").read_text() == "85000\n"
    assert not list(device.sysfs.rglob("*.new"))
