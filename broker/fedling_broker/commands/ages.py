"""What of the fleet's keys needs the operator: ends that are near, a root key that lies about."""

from collections.abc import Sequence

from fedling_broker.authority import directory
from fedling_broker.authority.roles import OFFICES, role_of
from fedling_broker.config import Config
from fedling_broker.store.devices import Certified, Devices
from fedling_protocol.moments import day


def faults(devices: Devices, now_s: int) -> list[str]:
    """Say which certificates are over by which devices believe the fleet. now_s: Unix time"""
    return [
        f"the certificate of the {one.id} is over since {day(one.term.until_s)}, and devices"
        f" ignore it: {_way_out(one)}"
        for one in _offices(devices)
        if 0 < one.term.until_s < now_s
    ]


def notes(found: Config, devices: Devices, now_s: int) -> list[str]:
    """Say what is soon to be done. now_s: Unix time"""
    words = [
        f"the certificate of the {one.id} ends on {day(one.term.until_s)}: {_way_out(one)}"
        for one in _offices(devices)
        if 0 < one.term.due_s(role_of(one.id)) < now_s <= one.term.until_s
    ]
    over = [one for one in devices.certified() if 0 < one.term.until_s < now_s]
    if over:
        words.append(f"{len(over)} devices have certificates that are over: {_some(over)}")
    root = found.authority / directory.ROOT_KEY
    if root.exists():
        words.append(
            f"the root key lies in {root}: who has it has the fleet; take it away:"
            " fedling-broker authority take-root FILE"
        )
    return words


def _offices(devices: Devices) -> list[Certified]:
    return [found for owner in OFFICES if (found := devices.find(owner)) is not None]


def _way_out(one: Certified) -> str:
    return f"fedling-broker authority rotate {one.id} --root-key FILE"


def _some(devices: Sequence[Certified], most: int = 5) -> str:
    named = [one.term.name or one.id for one in devices[:most]]
    return ", ".join(named + ["..."] * (len(devices) > most))
