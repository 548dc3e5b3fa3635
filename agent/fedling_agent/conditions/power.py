"""What powers this machine, and how full its batteries are (/sys/class/power_supply)."""

from collections.abc import Iterable, Iterator

from fedling_agent.conditions import files
from fedling_agent.conditions.condition import Roots, Signal, absent, unreadable
from fedling_agent.conditions.files import Unreadable

BATTERIES = ("Battery", "UPS")
ON_MAINS = {"Charging": True, "Full": True, "Not charging": True, "Discharging": False}


def mains(roots: Roots) -> Signal:
    """True if any supply is online; without one, what the batteries say of their charging."""
    folder = _folder(roots)
    supplies = list(_supplies(folder))
    plugs = [path for path, kind in supplies if kind not in BATTERIES]
    if plugs:
        return _any((_online(path), f"{path}/online") for path in plugs)
    if supplies:
        return _any((_charged(path), f"{path}/status") for path, _ in supplies)
    return absent(folder, "no power supply is listed")


def battery(roots: Roots) -> Signal:
    """Percent of charge in the emptiest battery."""
    folder = _folder(roots)
    lowest: tuple[int, str] | None = None
    for path, kind in _supplies(folder):
        if kind not in BATTERIES:
            continue
        source = f"{path}/capacity"
        try:
            percent = files.integer(source, 0, 100)
        except Unreadable as error:
            return unreadable(source, str(error))
        lowest = min(lowest or (percent, source), (percent, source))
    return Signal(*lowest) if lowest else absent(folder, "no battery is listed")


def _folder(roots: Roots) -> str:
    return f"{roots.sys}/class/power_supply"


def _any(answers: "Iterable[tuple[bool | Unreadable, str]]") -> Signal:
    """True if one of them says so; unknown if none does and one cannot be read."""
    result: Signal | None = None
    for answer, source in answers:
        if answer is True:
            return Signal(True, source)
        if isinstance(answer, Unreadable):
            result = unreadable(source, str(answer))
        elif result is None:
            result = Signal(False, source)
    assert result is not None
    return result


def _online(path: str) -> "bool | Unreadable":
    try:
        return files.integer(f"{path}/online", 0, 2) > 0  # 2: online, programmable
    except Unreadable as error:
        return error


def _charged(path: str) -> "bool | Unreadable":
    try:
        status = files.text(f"{path}/status")
    except Unreadable as error:
        return error
    if status not in ON_MAINS:
        return Unreadable(f"status {files.shown(status)}")
    return ON_MAINS[status]


def _supplies(folder: str) -> Iterator[tuple[str, str]]:
    """List path and type of what powers this machine, without batteries of mice and the like."""
    for name in files.names(folder):
        path = f"{folder}/{name}"
        try:
            kind = files.text(f"{path}/type")
        except Unreadable:
            continue
        try:
            scope = files.text(f"{path}/scope")
        except Unreadable:
            scope = "System"
        if scope != "Device":
            yield path, kind
