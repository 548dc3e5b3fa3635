"""Where devices find this machine; ports that are taken, in a sentence."""

import ipaddress
import socket

import pytest

from fedling_broker.mosquitto.process import free_port
from fedling_broker.up import addresses
from fedling_protocol.exits import Failure
from fedling_protocol.wire.names import is_host
from tests.support.tools import absent


def test_own_address_is_one_of_this_machine() -> None:
    address = addresses.own_address()
    ipaddress.ip_address(address)
    with socket.socket() as probe:
        probe.bind((address, 0))  # another machine's cannot be


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("address", ["loopback", "all"])
def test_check_free_names_the_port_that_is_taken(
    family: socket.AddressFamily, address: str
) -> None:
    places = {
        (socket.AF_INET, "loopback"): "127.0.0.1",
        (socket.AF_INET, "all"): "",
        (socket.AF_INET6, "loopback"): "::1",
        (socket.AF_INET6, "all"): "::",
    }
    free = free_port()
    try:
        other = socket.create_server((places[family, address], 0), family=family)
    except OSError:
        absent("an address of IPv6")
    with other:
        taken = other.getsockname()[1]
        with pytest.raises(Failure, match=f"listens on port {taken}: end it, or take another"):
            addresses.check_free(free, taken)
    addresses.check_free(free, taken)


@pytest.mark.parametrize("hostname", ["pi", "pi.example.org", "with space", "ü", ""])
def test_names_are_what_a_certificate_can_hold(
    hostname: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: hostname)
    names = addresses.names("home.fedling", "198.51.100.1")
    assert names[:2] == ["home.fedling", "198.51.100.1"]
    assert len(set(names)) == len(names)
    assert all(is_host(name) for name in names)
