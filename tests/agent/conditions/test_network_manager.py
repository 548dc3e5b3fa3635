"""What NetworkManager says of an interface, played on a real bus.

The real one (1.42) was asked by hand, in a container with a systemd of its own: it takes hold of
what network there is.
"""

from contextlib import closing

import pytest

from fedling_agent.conditions.bus import Bus
from fedling_agent.conditions.condition import Roots
from fedling_agent.conditions.decision import Memory, decide
from fedling_agent.conditions.network import unmetered
from fedling_agent.conditions.network_manager import SERVICE, meters
from fedling_agent.conditions.policy import Policy
from fedling_agent.conditions.words import sentence
from fedling_protocol.net.way import Way
from tests.support.bus import DBus, Variant, played
from tests.support.conditions import policy, readings

DEVICE = f"/{SERVICE.replace('.', '/')}/Devices/2"


class Manager:
    """NetworkManager, as it has one device, lo."""

    def __init__(self, metered: Variant) -> None:
        self.metered = metered
        self.device: Variant = "o", DEVICE

    def __call__(self, path: str, method: str, arguments: tuple[object, ...]) -> Variant:
        told: dict[object, Variant] = {
            ("/org/freedesktop/NetworkManager", "GetDeviceByIpIface", ("lo",)): self.device,
            (DEVICE, "Get", (f"{SERVICE}.Device", "Metered")): ("v", self.metered),
        }
        return told[path, method, arguments]


def ask(dbus: DBus, manager: Manager, interface: str = "lo") -> bool:
    with played(dbus, SERVICE, manager), closing(Bus()) as bus:
        return meters(bus, interface)


@pytest.mark.parametrize(
    ("told", "metered"), [(0, False), (1, True), (2, False), (3, True), (4, False), (5, False)]
)
def test_mark_of_a_device(dbus: DBus, told: int, metered: bool) -> None:
    assert ask(dbus, Manager(("u", told))) is metered


def test_interface_that_it_does_not_know_is_not_metered(dbus: DBus) -> None:
    assert not ask(dbus, Manager(("u", 1)), "wg0")


@pytest.mark.parametrize("told", [("i", 1), ("b", True), ("s", "1")])
def test_mark_of_another_type_is_none(dbus: DBus, told: Variant) -> None:
    assert not ask(dbus, Manager(told))


def test_device_of_another_type_is_none(dbus: DBus) -> None:
    manager = Manager(("u", 1))
    manager.device = ("s", DEVICE)
    assert not ask(dbus, manager)


@pytest.mark.usefixtures("dbus")
def test_where_it_does_not_run_nothing_is_metered() -> None:
    with closing(Bus()) as bus:
        assert not meters(bus, "lo")


def test_what_the_owner_names_is_metered_whatever_it_says(dbus: DBus) -> None:
    with played(dbus, SERVICE, Manager(("u", 2))) as called, closing(Bus()) as bus:
        found = unmetered(Roots(metered=("l*",), way=Way("127.0.0.1", 1883), bus=bus))
        assert (found.value, found.detail) == (False, "lo, one of policy.metered")
        assert called == []


def test_transfers_wait_while_it_says_so(dbus: DBus) -> None:
    with played(dbus, SERVICE, Manager(("u", 3))), closing(Bus()) as bus:
        roots = Roots(metered=Policy().metered, way=Way("127.0.0.1", 1883), bus=bus)
        found = unmetered(roots)
    allowance, _ = decide(policy(), None, readings(unmetered=found), Memory())
    assert allowance.train
    (reason,) = allowance.transfer_reasons
    assert sentence(reason) == (
        "metered: the way to 127.0.0.1:1883 leaves by lo, metered for NetworkManager"
        " (policy.unmetered = false lets it)"
    )
    allowance, _ = decide(policy(unmetered=False), None, readings(unmetered=found), Memory())
    assert allowance.transfer
