"""Reads power, heat and network from sysfs and procfs: cheap, pure, never surprised.

What stands in those files is not trusted: a value that cannot be read, or that no such hardware
gives, is absent with its reason. Files are opened without blocking and read up to a limit.
"""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

LONGEST_VALUE = 64  # bytes of a sysfs attribute that we read
LONGEST_TABLE = 65_536  # bytes of a routing table; a default route stands near its beginning
MOST_ENTRIES = 64  # supplies or zones that are looked at

BATTERIES = ("Battery", "UPS")
ON_MAINS = {"Charging": True, "Full": True, "Not charging": True, "Discharging": False}
COLDEST, HOTTEST = -60.0, 200.0  # degrees Celsius that a sensor of a running board may tell
ROUTE_UP, ROUTE_REJECT = 0x1, 0x200  # linux/route.h


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the kernel's files are; tests and the simulator have their own."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")


@dataclass(frozen=True, slots=True)
class Signal(Generic[T]):
    """One value as read, or why there is none."""

    value: T | None
    source: str  # the file that told it, or that was looked for
    reason: str = ""  # why value is None
    broken: bool = False  # the hardware is there, what it says is of no use


@dataclass(frozen=True, slots=True)
class Readings:
    """All signals of one moment."""

    mains: Signal[bool]
    battery: Signal[int]  # percent, of the emptiest
    temperature: Signal[float]  # degrees Celsius, of the hottest zone
    network: Signal[bool]  # a default route over an interface that is up
    at_ns: int  # CLOCK_MONOTONIC when the reading began


def read(roots: Roots) -> Readings:
    """Read everything now. Raises nothing; takes well below a millisecond."""
    at_ns = time.monotonic_ns()
    sys, proc = str(roots.sys), str(roots.proc)
    supplies = list(_supplies(f"{sys}/class/power_supply"))
    mains, battery = _mains(supplies, sys), _battery(supplies, sys)
    return Readings(mains, battery, _temperature(sys), _network(sys, proc), at_ns)


class _Unreadable(Exception):
    """The reason in words."""


def _mains(supplies: list[tuple[str, str]], sys: str) -> Signal[bool]:
    """Any supply that is online; without one, what the batteries say of their charging."""
    plugs = [(path, kind) for path, kind in supplies if kind not in BATTERIES]
    if plugs:
        return _any((_online(path), f"{path}/online") for path, _ in plugs)
    if supplies:
        return _any((_charged(path), f"{path}/status") for path, _ in supplies)
    return Signal(None, f"{sys}/class/power_supply", "no power supply is listed")


def _any(answers: "Iterable[tuple[bool | _Unreadable, str]]") -> Signal[bool]:
    """True if one says so; unknown if none does and one cannot be read."""
    result: Signal[bool] | None = None
    for answer, source in answers:
        if answer is True:
            return Signal(True, source)
        if isinstance(answer, _Unreadable):
            result = Signal(None, source, str(answer), broken=True)
        elif result is None:
            result = Signal(False, source)
    assert result is not None
    return result


def _online(path: str) -> "bool | _Unreadable":
    try:
        return _integer(f"{path}/online", 0, 2) > 0  # 2: online, programmable
    except _Unreadable as error:
        return error


def _charged(path: str) -> "bool | _Unreadable":
    try:
        status = _text(f"{path}/status")
    except _Unreadable as error:
        return error
    if status not in ON_MAINS:
        return _Unreadable(f"status {_shown(status)}")
    return ON_MAINS[status]


def _battery(supplies: list[tuple[str, str]], sys: str) -> Signal[int]:
    lowest: Signal[int] = Signal(None, f"{sys}/class/power_supply", "no battery is listed")
    for path, kind in supplies:
        if kind not in BATTERIES:
            continue
        source = f"{path}/capacity"
        try:
            percent = _integer(source, 0, 100)
        except _Unreadable as error:
            return Signal(None, source, str(error), broken=True)
        if lowest.value is None or percent < lowest.value:
            lowest = Signal(percent, source)
    return lowest


def _temperature(sys: str) -> Signal[float]:
    """Zones that cannot be read do not count: a radio that is off has one."""
    folder = f"{sys}/class/thermal"
    hottest: Signal[float] = Signal(None, folder, "no thermal zone is listed")
    for name in _names(folder):
        if not name.startswith("thermal_zone"):
            continue
        source = f"{folder}/{name}/temp"
        try:
            degrees = _integer(source, int(COLDEST * 1000), int(HOTTEST * 1000)) / 1000
        except _Unreadable as error:
            if hottest.value is None:
                hottest = Signal(None, source, str(error), broken=True)
            continue
        if hottest.value is None or degrees > hottest.value:
            hottest = Signal(degrees, source)
    return hottest


def _network(sys: str, proc: str) -> Signal[bool]:
    """Whether a default route, of either family, leaves by an interface that is up."""
    tables = ((f"{proc}/net/route", _routes4), (f"{proc}/net/ipv6_route", _routes6))
    problems = []
    for source, routes in tables:
        try:
            interfaces = routes(_content(source, LONGEST_TABLE))
        except _Unreadable as error:
            problems.append(str(error))
            continue
        for interface in interfaces:
            if _is_up(sys, interface):
                return Signal(True, source)
    if len(problems) == len(tables):
        return Signal(None, tables[0][0], problems[0], broken=True)
    return Signal(False, tables[0][0])


def _routes4(table: str) -> list[str]:
    """Interfaces of default routes: destination and mask are zero."""
    found = []
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) >= 8 and words[1] == words[7] == "0" * 8 and _leads_out(words[3]):
            found.append(words[0])
    return found


def _routes6(table: str) -> list[str]:
    """Interfaces of default routes: destination and prefix length are zero."""
    found = []
    for line in table.splitlines():
        words = line.split()
        if len(words) >= 10 and words[0] == "0" * 32 and words[1] == "00" and _leads_out(words[8]):
            found.append(words[9])
    return found


def _leads_out(flags: str) -> bool:
    try:
        value = int(flags, 16)
    except ValueError:
        return False
    return bool(value & ROUTE_UP) and not value & ROUTE_REJECT


def _is_up(sys: str, interface: str) -> bool:
    """Point-to-point interfaces (LTE, VPN) never tell more than "unknown"."""
    if interface in ("lo", ".", "..") or "/" in interface:
        return False
    try:
        return _text(f"{sys}/class/net/{interface}/operstate") in ("up", "unknown")
    except _Unreadable:
        return False


def _supplies(folder: str) -> Iterator[tuple[str, str]]:
    """Path and type of what powers this machine; batteries of mice and the like are skipped."""
    for name in _names(folder):
        path = f"{folder}/{name}"
        try:
            kind = _text(f"{path}/type")
        except _Unreadable:
            continue
        try:
            scope = _text(f"{path}/scope")
        except _Unreadable:
            scope = "System"
        if scope != "Device":
            yield path, kind


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:MOST_ENTRIES]
    except OSError:
        return []


def _integer(path: str, low: int, high: int) -> int:
    text = _text(path)
    try:
        value = int(text)
    except ValueError:
        raise _Unreadable(f"{_shown(text)} is not a number") from None
    if not low <= value <= high:
        raise _Unreadable(f"{value} is not {low} to {high}")
    return value


def _text(path: str) -> str:
    return _content(path, LONGEST_VALUE).strip()


def _content(path: str, longest: int) -> str:
    """The beginning of a file as text; nothing in it can block, exhaust or break us."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            data = os.read(handle, longest)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:  # ValueError: a NUL in a name
        reason = error.strerror if isinstance(error, OSError) else None
        raise _Unreadable(reason or "cannot be read") from None
    return data.decode("ascii", "replace")


def _shown(text: str) -> str:
    return repr(text[:16])
