"""What powers this machine, and how full its batteries are: docs/power.md has it as a table.

Batteries are asked first: a plug says that something is plugged in, not that it is enough, nor that
there is a battery at all (/sys/class/power_supply; Documentation/ABI/testing/sysfs-class-power).
"""

import os
from collections.abc import Iterator, Sequence

from fedling_agent.conditions import files
from fedling_agent.conditions.condition import Roots, Signal, absent, unreadable, untold
from fedling_agent.conditions.files import Unreadable
from fedling_protocol.classes import dataclass

BATTERIES = ("Battery", "UPS")
TELLING = {"Charging", "Discharging", "Full", "Not charging"}  # not: Unknown
MOST_CAPACITY = 200  # percent: gauges say 117 of a full battery; beyond this it is nonsense
WRITTEN_AGAIN = "status"  # the file by whose age we know that the owner's program lives
OLD_S = 600.0
MOST_FULL = 10**12  # microwatt-hours or microampere-hours of any battery
# What the percents are made of where capacity does not tell, and by what batteries are weighed.
GAUGES = (
    ("energy_now", "energy_full"),
    ("energy_now", "energy_full_design"),
    ("charge_now", "charge_full"),
    ("charge_now", "charge_full_design"),
)


def mains(roots: Roots) -> Signal:
    """Whether what is plugged in powers this machine: the rows of docs/power.md, in their order."""
    try:
        found = _look(roots)
    except Unreadable as error:
        return unreadable(_folder(roots), str(error))
    if not found.batteries:
        return _without_battery(found)
    said = _statuses(found.batteries)
    if not said.keys() & TELLING:
        said |= _statuses(found.plugs)
    if "Discharging" in said:
        return Signal(False, said["Discharging"])
    if "Charging" in said:
        return Signal(True, said["Charging"])
    online = next((path for path in found.plugs if _online(path)), None)
    if online is not None:
        return Signal(True, f"{online}/online")
    words = ", ".join(said) or "no status"
    return untold(f"{found.batteries[0]}/status", f"{words}, and no plug is online")


def battery(roots: Roots) -> Signal:
    """Percent of charge, of all batteries together where they tell their size; else the least."""
    try:
        found = _look(roots)
    except Unreadable as error:
        return unreadable(_folder(roots), str(error))
    if not found.batteries:
        return absent(found.folder, "no battery is listed")
    told = {path: percent for path in found.batteries if (percent := _percent(path))}
    if not told:
        return _no_percent(found.batteries[0])
    mute = [os.path.basename(path) for path in found.batteries if path not in told]
    detail = f"{', '.join(mute)} says nothing" if mute else ""
    sizes = _sizes(list(told))
    if len(told) == 1 or not sizes:
        least = min(told.values(), key=lambda percent: percent.value)
        return Signal(int(least.value), least.source, detail=detail)
    charge = sum(p.value * size for p, size in zip(told.values(), sizes, strict=True))
    return Signal(int(charge / sum(sizes)), found.folder, detail=detail)


# --- what is there ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Supplies:
    """The folders of what powers this machine."""

    folder: str
    batteries: list[str]
    plugs: list[str]  # all others: mains, USB, wireless


def _folder(roots: Roots) -> str:
    return f"{roots.sys}/class/power_supply"


def _look(roots: Roots) -> _Supplies:
    """List what counts. Raises Unreadable if there are more than anybody has, or the owner's are
    not kept up."""
    folder = _folder(roots)
    names = files.names(folder)
    if len(names) > files.MOST_ENTRIES:
        raise Unreadable(f"{len(names)} supplies are listed, {files.MOST_ENTRIES} at most are read")
    found = list(_counting([f"{folder}/{name}" for name in names]))
    if roots.supplies:
        found += _counting(_own(roots.supplies))
    return _Supplies(
        folder,
        [path for path, kind in found if kind in BATTERIES],
        [path for path, kind in found if kind not in BATTERIES],
    )


def _own(folder: str) -> list[str]:
    """List the supplies that a program of the owner's keeps up: what it says no more, nobody says.

    Raises Unreadable.
    """
    names = files.names(folder)[: files.MOST_ENTRIES]
    if not names:
        raise Unreadable(f"policy.supplies: nothing is listed in {folder}")
    for name in names:
        told = f"{folder}/{name}/{WRITTEN_AGAIN}"
        try:
            age_s = files.age_s(told)
        except Unreadable as error:
            raise Unreadable(f"policy.supplies: {told}: {error}") from None
        if abs(age_s) > OLD_S:
            raise Unreadable(f"policy.supplies: {told} was written {age_s:.0f} s ago")
    return [f"{folder}/{name}" for name in names]


def _counting(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """List path and type of each supply that counts: not those of mice, nor of an empty bay."""
    for path in paths:
        kind = _said(path, "type")
        empty_bay = kind in BATTERIES and _said(path, "present") == "0"
        if kind and not empty_bay and _said(path, "scope") != "Device":
            yield path, kind


def _said(path: str, attribute: str) -> str:
    """What an attribute says; empty if it says nothing."""
    try:
        return files.text(f"{path}/{attribute}")
    except Unreadable:
        return ""


def _without_battery(found: _Supplies) -> Signal:
    """What runs without a battery is on mains, whatever stands beside its USB ports."""
    if not found.plugs:
        return absent(found.folder, "no power supply of this machine is listed")
    return Signal(True, found.folder, detail="there is no battery")


# --- one supply ------------------------------------------------------------------------------


def _statuses(paths: Sequence[str]) -> dict[str, str]:
    """List what supplies say of their charge, each word with a file that says it."""
    said = {_said(path, "status"): f"{path}/status" for path in reversed(paths)}
    return {word: source for word, source in said.items() if word}


def _online(path: str) -> bool:
    try:
        return files.integer(f"{path}/online", 0, 2) > 0  # 2: online, programmable
    except Unreadable:
        return False


@dataclass(frozen=True, slots=True)
class _Percent:
    """How full a battery is, 0 to 100, and the file that told it."""

    value: float
    source: str


def _percent(path: str) -> _Percent | None:
    """How full a battery is; None if it does not tell."""
    capacity = _number(path, "capacity", MOST_CAPACITY)
    if capacity is not None:
        return _Percent(min(capacity, 100), f"{path}/capacity")
    for now_name, full_name in GAUGES:
        now, full = _number(path, now_name, MOST_FULL), _number(path, full_name, MOST_FULL)
        if now is not None and full:
            return _Percent(min(100 * now / full, 100), f"{path}/{now_name}")
    return None


def _sizes(paths: Sequence[str]) -> list[int]:
    """List the sizes of batteries in one unit; nothing if one of them does not tell."""
    for name in dict.fromkeys(full for _, full in GAUGES):
        sizes = [_number(path, name, MOST_FULL) or 0 for path in paths]
        if all(sizes):
            return sizes
    return []


def _number(path: str, attribute: str, most: int) -> int | None:
    try:
        return files.integer(f"{path}/{attribute}", 0, most)
    except Unreadable:
        return None


def _no_percent(path: str) -> Signal:
    """Say what the attribute says that should tell it."""
    source = f"{path}/capacity"
    try:
        reason = files.shown(files.text(source))
    except Unreadable as error:
        reason = str(error)
    return unreadable(source, f"{reason}, and no energy or charge tells the percent")
