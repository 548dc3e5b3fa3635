"""Whether there is a network: the connection itself, else the kernel's route to the broker. And by
which interface it leaves."""

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fedling_agent.conditions.condition import Lack, Roots, Signal
from fedling_agent.conditions.network import network, unmetered
from fedling_agent.conditions.policy import Policy
from fedling_protocol.net import interface
from fedling_protocol.net.way import Found, Way
from tests.support.tools import absent, own_network

LOOPBACK = Found(socket.AF_INET, socket.SOCK_STREAM, 6, ("127.0.0.1", 1883))
NOWHERE = Found(socket.AF_INET, socket.SOCK_STREAM, 6, ("240.0.0.1", 1883))  # reserved: no route


def ask(way: Way) -> Signal:
    return network(Roots(Path("/absent"), way=way))


def test_without_a_broker_it_is_no_matter() -> None:
    assert network(Roots()).lack is Lack.ABSENT


def test_connected_is_enough_whatever_the_routes_are() -> None:
    way = Way("broker.test", 1883)
    way.connected, way.failure, way.addresses = True, "gone", (NOWHERE,)
    assert ask(way) == Signal(True, "broker.test:1883", detail="connected")


def test_address_is_asked_for_its_route() -> None:
    found = ask(Way("127.0.0.1", 1883))
    assert (found.value, found.detail) == (True, "a route from 127.0.0.1")


def test_one_address_with_a_route_is_enough() -> None:
    way = Way("broker.test", 1883)
    way.addresses = (NOWHERE, LOOPBACK)
    assert ask(way).value is True


def test_name_that_was_never_looked_up_is_no_objection_and_one_that_failed_is() -> None:
    way = Way("broker.test", 1883)
    assert ask(way).lack is Lack.UNTOLD
    way.failure = "the look-up of broker.test failed: Name or service not known"
    assert (ask(way).value, ask(way).detail) == (False, way.failure)
    way.addresses = (LOOPBACK,)  # an old address is asked for, though the name server is gone
    assert ask(way).value is True


def test_asking_looks_no_name_up(monkeypatch: pytest.MonkeyPatch) -> None:
    way = Way("broker.test", 1883)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    ask(way)


# --- in a network that the test makes --------------------------------------------------------

ASK = """
import json, sys
from pathlib import Path
from fedling_agent.conditions.condition import Roots
from fedling_agent.conditions import network
from fedling_protocol.net.way import Way
read, *hosts = sys.argv[1:]
roots = [Roots(metered=("wwan*", "ppp0"), way=Way(host, 1883)) for host in hosts]
found = [getattr(network, read)(of) for of in roots]
print(json.dumps([[signal.value, signal.detail] for signal in found]))
"""
LINK = "ip link add w type veth peer name p; ip link set p up; ip link set w up; "
LINE = "route add 2001:db8:1:$i::/64 dev w"
MANY = f'for i in $(seq 200); do echo "{LINE}"; done | ip -6 -batch -; '


def ask_in(commands: str, *hosts: str, read: str = "network") -> list[list[object]]:
    """What a reader answers in a network of its own, made by these commands."""
    shell = ["sh", "-euc", f'{commands}\nexec "$@"', "sh"]
    words = [*own_network(), *shell, sys.executable, "-c", ASK, read, *hosts]
    run = subprocess.run(words, capture_output=True, text=True)
    if run.returncode and "not supported" in run.stderr.lower():
        absent(f"this kernel cannot: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    return [list(found) for found in json.loads(run.stdout)]


@pytest.mark.parametrize(
    ("name", "commands", "host", "right"),
    [
        ("nothing", "", "192.0.2.7", False),
        ("a default route", LINK + "ip a add 10.0.0.2/24 dev w; ip r add default via 10.0.0.1",
         "192.0.2.7", True),
        ("a dormant link", "ip link add w type veth peer name p; ip link set p up; "
         "ip link set w mode dormant; ip link set w up; ip a add 10.0.0.2/24 dev w; "
         "ip r add default via 10.0.0.1", "192.0.2.7", True),
        ("an isolated subnet", LINK + "ip a add 10.0.0.2/24 dev w", "10.0.0.9", True),
        ("another subnet", LINK + "ip a add 10.0.0.2/24 dev w", "10.0.1.9", False),
        ("a table of its own", LINK + "ip a add 10.0.0.2/24 dev w; "
         "ip r add default via 10.0.0.1 table 52; ip rule add to 192.0.2.0/24 table 52",
         "192.0.2.7", True),
        ("halves of all", LINK + "ip a add 10.0.0.2/24 dev w; ip r add 0.0.0.0/1 via 10.0.0.1; "
         "ip r add 128.0.0.0/1 via 10.0.0.1", "192.0.2.7", True),
        ("a black hole", "ip r add blackhole default", "192.0.2.7", False),
        ("unreachable", "ip r add unreachable default", "192.0.2.7", False),
        ("prohibited", "ip r add prohibit default", "192.0.2.7", False),
        ("a name that is not ASCII", "ip link add büro type veth peer name p; ip link set p up; "
         "ip link set büro up; ip a add 10.0.0.2/24 dev büro; ip r add default via 10.0.0.1",
         "192.0.2.7", True),
        ("IPv6 behind 200 routes", LINK + "ip a add 2001:db8::2/64 dev w nodad; " + MANY +
         "ip -6 r add default via 2001:db8::1", "2001:db8:ffff::1", True),
    ],
)  # fmt: skip
def test_route_of_a_real_kernel(name: str, commands: str, host: str, right: bool) -> None:
    ((value, detail),) = ask_in(commands, host)
    assert value is right, (name, detail)


def test_no_route_is_said_as_the_kernel_does() -> None:
    ((_, detail),) = ask_in("", "192.0.2.7")
    assert detail == os.strerror(errno.ENETUNREACH)


# --- what costs something ---------------------------------------------------------------------

NAMED = "wwan0, one of policy.metered"
WIRED = "ip link add eth0 type veth peer name p; ip link set p up; ip link set eth0 up; "
MOBILE = "ip link add wwan0 type veth peer name q; ip link set q up; ip link set wwan0 up; "
BOTH = (
    f"{WIRED}{MOBILE}ip a add 10.0.0.2/24 dev eth0; ip a add 10.0.9.2/24 dev wwan0; "
    "ip a add 2001:db8::2/64 dev wwan0 nodad; "
)


@pytest.mark.parametrize(
    ("commands", "host", "expected"),
    [
        ("ip r add default via 10.0.0.1", "192.0.2.7", (True, "eth0")),
        ("ip r add default via 10.0.9.1", "192.0.2.7", (False, NAMED)),
        ("ip r add default via 10.0.9.1", "10.0.0.9", (True, "eth0")),
        ("ip r add default via 10.0.0.1; ip r add default via 10.0.9.1 table 52; "
         "ip rule add to 192.0.2.0/24 table 52", "192.0.2.7", (False, NAMED)),
        ("ip -6 r add default via 2001:db8::1", "2001:db8:ffff::1", (False, NAMED)),
        ("true", "192.0.2.7", (None, "no way there is known")),
        ("ip r add blackhole default", "192.0.2.7", (None, "no way there is known")),
    ],
)  # fmt: skip
def test_interface_is_that_of_the_kernels_way(
    commands: str, host: str, expected: tuple[object, ...]
) -> None:
    assert ask_in(f"{BOTH}{commands}", host, read="unmetered") == [list(expected)]


def test_names_are_patterns_and_none_is_no_matter() -> None:
    way = Way("127.0.0.1", 1883)
    for patterns, value in ((("wwan*", "l?"), False), (("l",), True), (("LO",), True), ((), True)):
        found = unmetered(Roots(metered=patterns, way=way))
        detail = "lo" if value else "lo, one of policy.metered"
        assert (found.value, found.source, found.detail) == (value, "127.0.0.1:1883", detail)
    assert unmetered(Roots(metered=("*",))).lack is Lack.ABSENT
    assert unmetered(Roots(metered=("*",), way=Way("broker.test", 1883))).lack is Lack.ABSENT


def test_any_of_several_ways_may_be_the_one_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = {"192.0.2.1": "eth0", "192.0.2.2": "wwp0s20u4i4"}
    monkeypatch.setattr(interface, "of_route", lambda found: ways[found.address[0]])
    way = Way("broker.test", 1883)
    way.addresses = tuple(
        Found(socket.AF_INET, socket.SOCK_STREAM, 6, (host, 1883)) for host in ways
    )
    default = Policy().metered
    assert unmetered(Roots(metered=default, way=way)).detail == "wwp0s20u4i4, one of policy.metered"
    way.addresses = way.addresses[:1]
    assert unmetered(Roots(metered=default, way=way)).value is True


@pytest.mark.parametrize("answer", [b"", b"\0" * 15, b"\x20\0\0\0\x18\0" + b"\0" * 26])
def test_answer_of_the_kernel_that_is_none_is_no_way(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kernel(socket.socket):
        def recv(self, *_: int) -> bytes:
            return answer

    monkeypatch.setattr(socket, "socket", Kernel)
    assert unmetered(Roots(metered=("*",), way=Way("127.0.0.1", 1883))).lack is Lack.ABSENT


def test_address_of_one_link_leaves_by_it() -> None:
    number = socket.if_nametoindex("lo")
    way = Way("broker.test", 1883)
    way.addresses = (Found(socket.AF_INET6, socket.SOCK_STREAM, 6, ("fe80::1", 1883, 0, number)),)
    assert unmetered(Roots(metered=("lo",), way=way)).value is False
