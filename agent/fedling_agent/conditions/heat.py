"""How hot this machine is (/sys/class/thermal)."""

from collections.abc import Iterator, Sequence

from fedling_agent.conditions import files
from fedling_agent.conditions.condition import Roots, Signal, absent, unread, unreadable
from fedling_agent.conditions.files import Unreadable
from fedling_protocol.classes import dataclass

COLDEST, HOTTEST = -60, 200  # degrees Celsius that a sensor of a running board may tell
LEAST_MILLI = 1000  # what is below this, and not below HOTTEST, is neither unit: tenths, perhaps
LEAVE_OUT = "-"  # before the type of a zone in policy.zones
MOST_NAMED = 8  # zones in a sentence


def temperature(roots: Roots) -> Signal:
    """Degrees Celsius of the hottest zone that policy.zones does not leave out.

    One that cannot be read does not count: a radio that is off has one. What was not looked at is
    no permission, nor is a zone that the owner has named and that tells nothing.
    """
    folder = f"{roots.sys}/class/thermal"
    listed = list(_zones(folder))
    takes = any(not name.startswith(LEAVE_OUT) for name in roots.zones)
    zones = [zone for zone in listed if _is_wanted(zone, roots.zones, takes)]
    left = len(zones) - files.MOST_ENTRIES
    if left > 0:
        said = f"{left} of {len(zones)} zones are not read"
        return unread(folder, f"{said}; name those that matter in policy.zones")
    found = _hottest(zones) if zones else _none_wanted(folder, listed, takes)
    if takes and found.value is None:
        return unread(found.source, found.detail)
    return found


@dataclass(frozen=True, slots=True)
class _Zone:
    """One zone: its folder, and its type, by which people know it."""

    path: str
    kind: str


def _zones(folder: str) -> Iterator[_Zone]:
    for name in files.names(folder, "thermal_zone"):
        try:
            kind = files.text(f"{folder}/{name}/type")
        except Unreadable:
            kind = name
        yield _Zone(f"{folder}/{name}", kind)


def _is_wanted(zone: _Zone, named: Sequence[str], takes: bool) -> bool:
    """Whether policy.zones takes a zone: it names it, or takes none and does not leave it out."""
    return zone.kind in named if takes else f"{LEAVE_OUT}{zone.kind}" not in named


def _none_wanted(folder: str, listed: Sequence[_Zone], takes: bool) -> Signal:
    """Say why no zone is asked."""
    if not listed:
        return absent(folder, "no thermal zone is listed")
    if not takes:
        return absent(folder, "policy.zones leaves out all thermal zones")
    here = ", ".join(dict.fromkeys(zone.kind for zone in listed[:MOST_NAMED]))
    return absent(folder, f"no zone is called as policy.zones says; there are {here}")


def _hottest(zones: Sequence[_Zone]) -> Signal:
    """The hottest zone's degrees. One that cannot be read does not count, if another can."""
    told: list[tuple[float, _Zone]] = []
    broken: list[Signal] = []
    for zone in zones:
        source = f"{zone.path}/temp"
        try:
            told.append((_degrees(source), zone))
        except Unreadable as error:
            broken.append(unreadable(source, f"{zone.kind}: {error}"))
    if not told:
        return broken[0]
    degrees, zone = max(told, key=lambda one: one[0])
    return Signal(degrees, f"{zone.path}/temp", detail=zone.kind)


def _degrees(source: str) -> float:
    """Read a temperature: the kernel tells thousandths, drivers of some boards whole degrees."""
    value = files.integer(source, COLDEST * 1000, HOTTEST * 1000)
    if COLDEST <= value <= HOTTEST:
        return float(value)
    if abs(value) < LEAST_MILLI:
        raise Unreadable(f"{value} is neither degrees nor thousandths of them")
    return value / 1000
