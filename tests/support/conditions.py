"""Fakes of what conditions depend on: a machine's files, readings, a clock, a worker."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fedling_agent.conditions.condition import (
    Bound,
    Condition,
    Direction,
    Lack,
    Readings,
    Roots,
    Signal,
    Value,
)
from fedling_agent.conditions.policy import Policy
from fedling_protocol import settings

T = TypeVar("T")


class Machine:
    """A folder that looks like the kernel's."""

    def __init__(self, root: Path, zones: tuple[str, ...] = ()) -> None:
        self.roots = Roots(root / "sys", root / "proc", zones)
        self.power = root / "sys/class/power_supply"
        self.thermal = root / "sys/class/thermal"

    def put(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def supply(self, name: str, **files: str) -> None:
        for file, text in files.items():
            self.put(self.power / name / file, text + "\n")

    def zone(self, number: int, temp: str, kind: str = "cpu-thermal") -> None:
        self.put(self.thermal / f"thermal_zone{number}/type", kind + "\n")
        self.put(self.thermal / f"thermal_zone{number}/temp", temp + "\n")


def policy(*, make: type[Policy] = Policy, **keys: Value | list[str]) -> Policy:
    """As [policy] with these keys would be; without a dwell unless one is given."""
    return settings.read({"dwell_s": 0.0} | keys, "agent.toml", make)


def signal(value: Value | None, source: str, lack: Lack = Lack.ABSENT, detail: str = "") -> Signal:
    return Signal(value, source) if value is not None else Signal(None, source, lack, detail)


def readings(
    *,
    pause: bool | Signal | None = False,
    mains: bool | Signal | None = False,
    battery: int | Signal | None = 80,
    temperature: float | Signal | None = 40.0,
    network: bool | Signal | None = True,
    unmetered: bool | Signal | None = True,
    load: float | Signal | None = 0.0,
    unattended: bool | Signal | None = True,
    work: float | Signal | None = 0.0,
    traffic: float | Signal | None = 0.0,
    off_hours: bool | Signal | None = False,
    at: float = 1000,
) -> Readings:
    """All good, on battery; None: there is no such hardware."""
    given = {
        "pause": pause,
        "mains": mains,
        "battery": battery,
        "temperature": temperature,
        "network": network,
        "unmetered": unmetered,
        "load": load,
        "unattended": unattended,
        "work": work,
        "traffic": traffic,
        "off_hours": off_hours,
    }
    return Readings(
        {n: v if isinstance(v, Signal) else signal(v, f"/{n}") for n, v in given.items()}, at
    )


# A condition that fedling does not have: one row, and its reader.
MOISTURE = Condition(
    name="moisture",
    unit="g/m3",
    read=lambda roots: Signal(int((roots.sys / "moisture").read_text()), f"{roots.sys}/moisture"),
    trains=True,
    transfers=False,
    limit=Bound(
        Direction.AT_MOST,
        default=9,
        resume=7,
        low=0,
        high=100,
        help="train only up to here",
        resume_help="once it was too moist, only up to here",
    ),
    code="too-moist",
    word="too moist",
    meaning="the air is above its limit",
)


class FakeWorker:
    """Runs a call when the test says so: until then it hangs."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def do(
        self, call: Callable[[], T], then: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> None:
        self.calls.append(lambda: then(call()))

    def run(self) -> None:
        """Run the first call, and tell."""
        self.calls.pop(0)()

    def close(self) -> None:
        pass
