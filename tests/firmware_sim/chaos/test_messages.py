"""Packets are found in a stream however it is cut, and single messages are lost, doubled, late."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.net.framing import packet_size
from fedling_sim.chaos.fault import MUTE, WHOLE, End
from fedling_sim.chaos.messages import Habits, Moment, Packet, Splitter
from fedling_sim.chaos.proxy import Proxy
from tests.support.waiting import receive, until

PING = b"\xc0\x00"
PATIENCE_S = 30.0


def packet(first: int, body: bytes) -> bytes:
    length, size = b"", len(body)
    while True:
        size, low = size >> 7, size & 127
        length += bytes([low | 128 if size else low])
        if not size:
            return bytes([first]) + length + body


def message(topic: str, number: int, payload: bytes = b"") -> bytes:
    """A PUBLISH of quality 1."""
    words = topic.encode()
    body = len(words).to_bytes(2, "big") + words + number.to_bytes(2, "big") + payload
    return packet(0x32, body)


@given(
    st.lists(st.integers(0, 40_000), max_size=6),
    st.lists(st.integers(1, 50_000), max_size=20),
)
def test_packets_are_found_however_the_stream_is_cut(sizes: list[int], cuts: list[int]) -> None:
    sent = [message("a/join/b", n, bytes(size)) for n, size in enumerate(sizes)] + [PING]
    stream, splitter, found = b"".join(sent), Splitter(), list[Packet]()
    for cut in [*cuts, len(stream)]:
        found += splitter.feed(stream[:cut])
        stream = stream[cut:]
    assert [one.data for one in found] == sent
    assert [one.topic for one in found] == ["a/join/b" for _ in sizes] + [""]
    acknowledgements = [b"\x40\x02" + n.to_bytes(2, "big") for n in range(len(sizes))]
    assert [one.acknowledgement for one in found] == [*acknowledgements, b""]
    assert all(len(one.data) == packet_size(len(one.data) - one.body) for one in found)


def test_message_of_quality_0_wants_no_acknowledgement() -> None:
    (found,) = Splitter().feed(packet(0x30, b"\x00\x01tpayload"))
    assert (found.topic, found.acknowledgement) == ("t", b"")


class Ends:
    """A client and a server on both sides of a proxy that reads MQTT."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.proxy = Proxy(listener.getsockname()[1], mqtt=True)
        self.near = socket.create_connection(("127.0.0.1", self.proxy.add("a")), PATIENCE_S)
        self.far, _ = listener.accept()
        self.far.settimeout(PATIENCE_S)
        listener.close()

    def close(self) -> None:
        self.proxy.close()
        self.near.close()
        self.far.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


def until_ping(end: socket.socket) -> list[bytes]:
    """The packets before the next PINGREQ."""
    splitter, found = Splitter(), list[bytes]()
    while PING not in found:
        found += [one.data for one in splitter.feed(receive(end, 1))]
    return found[: found.index(PING)]


def test_lost_message_is_acknowledged(ends: Ends) -> None:
    ends.proxy.have_habits("a", Habits(lost=1))
    for sender, receiver in ((ends.near, ends.far), (ends.far, ends.near)):
        sender.sendall(message("t", 7) + PING)
        assert until_ping(receiver) == []
        assert sender.recv(4) == b"\x40\x02\x00\x07"


def test_doubled_message_comes_twice_and_nothing_else_does(ends: Ends) -> None:
    ends.proxy.have_habits("a", Habits(doubled=1))
    one, subscribe = message("t", 7, b"x" * 300), packet(0x82, b"\x00\x01\x00\x01t\x01")
    ends.near.sendall(one + subscribe + PING)
    assert until_ping(ends.far) == [one, one, subscribe]


def test_late_message_is_overtaken_and_comes(ends: Ends) -> None:
    ends.proxy.have_habits("a", Habits(late=1, late_s=0.2))
    one = message("t", 7, b"x" * 300)
    ends.near.sendall(one + PING)
    assert until_ping(ends.far) == []
    assert ends.far.recv(1000) == one


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_moment_comes_once_and_in_mid_message(ends: Ends, share: float) -> None:
    ends.proxy.wait_for("a", Moment(True, "/join/", share, [(0, MUTE)]))
    first, second = message("a/state/b", 1, b"x" * 100), message("a/join/b", 2, b"y" * 100)
    ends.far.sendall(second)  # the other way is not meant
    assert ends.near.recv(1000) == second
    assert ends.proxy.awaits("a")
    ends.near.sendall(first + second + PING)
    until(lambda: not ends.proxy.awaits("a"))
    passed = len(first) + round(share * len(second))
    got = receive(ends.far, passed)
    ends.far.setblocking(False)
    with pytest.raises(BlockingIOError):
        ends.far.recv(1)
    ends.far.settimeout(PATIENCE_S)
    ends.proxy.show("a", WHOLE)
    rest = receive(ends.far, len(first + second + PING) - passed)
    assert got + rest == first + second + PING


def test_moment_may_end_the_connection(ends: Ends) -> None:
    ends.proxy.wait_for("a", Moment(True, "/up/", 0.5, end=End.SERVER_HOLDS))
    sent = message("a/up/b", 1, b"x" * 100)
    ends.near.sendall(sent)
    with pytest.raises(ConnectionResetError):
        ends.near.recv(1)
    assert ends.far.recv(1000) == sent[: len(sent) // 2]
    assert ends.proxy.living("a") == 0
