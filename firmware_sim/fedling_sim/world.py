"""A simulated device's surroundings over time: power, heat, network; shown as a fake sysfs.

A trace is a pure function of (seed, device, second): the same seed sees the same world.
"""

import hashlib
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fedling_protocol.classes import dataclass
from fedling_protocol.settings import setting


def _span(shortest: float, longest: float, help: str) -> Any:
    return setting((shortest, longest), unit="s", low=2, high=2, help=help)


@dataclass(frozen=True, slots=True)
class Climate:
    """How surroundings change. Spans are [shortest, longest], drawn evenly."""

    plugged_s: tuple[float, ...] = _span(20.0, 60.0, "how long a device stays on mains")
    unplugged_s: tuple[float, ...] = _span(6.0, 20.0, "how long a device stays on battery")
    connected_s: tuple[float, ...] = _span(40.0, 120.0, "how long a device stays connected")
    cut_s: tuple[float, ...] = _span(2.0, 6.0, "how long a device stays cut off")
    cool_s: tuple[float, ...] = _span(60.0, 180.0, "how long a device stays cool")
    hot_s: tuple[float, ...] = _span(3.0, 8.0, "how long a device stays hot")
    charge_per_s: float = setting(
        6.0, help="how fast a battery charges, percent points a second", low=0
    )
    drain_per_s: float = setting(
        4.0, help="how fast a battery drains, percent points a second", low=0
    )
    first_battery: tuple[float, ...] = setting(
        (45.0, 100.0), help="the range of a battery's charge at the start, percent", low=2, high=2
    )
    cool: int = setting(
        45, help="how warm a device is when cool", unit="degrees Celsius", low=-40, high=150
    )
    hot: int = setting(
        85, help="how warm a device is when hot", unit="degrees Celsius", low=-40, high=150
    )

    def __post_init__(self) -> None:
        for name in ("plugged_s", "unplugged_s", "connected_s", "cut_s", "cool_s", "hot_s"):
            shortest, longest = getattr(self, name)
            if not 0 < shortest <= longest:
                raise ValueError(f"{name}: allowed: [shortest, longest] above 0")


@dataclass(frozen=True, slots=True)
class Weather:
    """The surroundings of one device at one moment."""

    mains: bool
    battery: int  # percent
    temperature: int  # degrees Celsius
    network: bool


class Trace:
    """The weather of one device, second by second; time may only go forward."""

    def __init__(self, seed: int, device: int, climate: Climate) -> None:
        self._climate = climate
        self._mains = _Switch(_dice(seed, device, "mains"), climate.plugged_s, climate.unplugged_s)
        self._network = _Switch(_dice(seed, device, "network"), climate.connected_s, climate.cut_s)
        self._cool = _Switch(_dice(seed, device, "heat"), climate.cool_s, climate.hot_s)
        self._battery = _dice(seed, device, "battery").uniform(*climate.first_battery)
        self._now = 0.0

    def at(self, second: float) -> Weather:
        """The weather at `second` after the start; `second` never decreases from call to call."""
        for plugged, span in self._mains.spans(self._now, second):
            slope = self._climate.charge_per_s if plugged else -self._climate.drain_per_s
            self._battery = min(100.0, max(3.0, self._battery + slope * span))
        self._now = second
        cool = self._cool.at(second)
        return Weather(
            mains=self._mains.at(second),
            battery=int(self._battery),
            temperature=self._climate.cool if cool else self._climate.hot,
            network=self._network.at(second),
        )


def _dice(seed: int, device: int, what: str) -> random.Random:
    digest = hashlib.sha256(f"{seed}/{device}/{what}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


class _Switch:
    """A switch, on and off by turns; first on, from somewhere in the middle of its span."""

    def __init__(self, dice: random.Random, on_s: Sequence[float], off_s: Sequence[float]) -> None:
        self._dice = dice
        self._length = {True: on_s, False: off_s}
        self._on = True
        self._until = dice.uniform(*on_s) * dice.random()

    def at(self, second: float) -> bool:
        for _ in self.spans(second, second):
            pass
        return self._on

    def spans(self, start: float, end: float) -> Iterator[tuple[bool, float]]:
        """The stretches from start to end as (on, seconds), leaving the switch at `end`."""
        while self._until <= end:
            yield self._on, max(0.0, self._until - start)
            start = max(start, self._until)
            self._on = not self._on
            self._until += self._dice.uniform(*self._length[self._on])
        yield self._on, end - start


class FakeDevice:
    """A sysfs of one device in a directory, as the agent's readers expect it: power and heat.

    A network is there while the device reaches the MQTT broker, which the proxy decides.
    """

    def __init__(self, root: Path) -> None:
        self.sysfs = root / "sys"
        self._written: dict[Path, str] = {}

    def show(self, weather: Weather) -> None:
        """Write what has changed; each file is replaced at once, so no reader sees a half."""
        supply = self.sysfs / "class/power_supply"
        status = "Charging" if weather.mains else "Discharging"
        self._write(supply / "AC/type", "Mains")
        self._write(supply / "AC/online", "1" if weather.mains else "0")
        self._write(supply / "BAT0/type", "Battery")
        self._write(supply / "BAT0/status", status)
        self._write(supply / "BAT0/capacity", str(weather.battery))
        zone = self.sysfs / "class/thermal/thermal_zone0"
        self._write(zone / "type", "cpu-thermal")
        self._write(zone / "temp", f"{weather.temperature}000")

    def _write(self, path: Path, text: str) -> None:
        if self._written.get(path) == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.write_text(text + "\n")
        os.replace(new, path)
        self._written[path] = text
