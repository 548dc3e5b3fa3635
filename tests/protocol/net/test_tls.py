"""TLS below MQTT: the transport by itself, and under the link at a real mosquitto."""

import random
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_broker.mosquitto.process import Mosquitto, free_port
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import tls
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.net.tls import Tls, TlsError
from fedling_protocol.net.transport import Transport
from fedling_protocol.runtime.loop import READ, Loop
from tests.protocol.net.ends import CONNACK, Drip, End, FakeBroker, trusting
from tests.support.certificates import Authority, Pair, mosquitto_settings
from tests.support.tools import need
from tests.support.waiting import PATIENCE_S, line_of, receive, until


def server_context(server: Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    return context


def end(loop: Loop, port: int, name: str, mqtt: MqttSettings, keepalive_s: int = 60) -> End:
    return End(loop, port, name, keepalive_s, tls.layer(mqtt), host=mqtt.host)


# --- the transport by itself -----------------------------------------------------------------


class Other:
    """The other end, in memory: what it was told, and what it says."""

    def __init__(self, context: ssl.SSLContext, drip: Drip) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._drip = drip
        self.heard = bytearray()
        self.ready = False

    def turn(self, say: bytes = b"") -> None:
        self._incoming.write(bytes(self._drip.sent))
        self._drip.sent.clear()
        with suppress(ssl.SSLWantReadError):
            if not self.ready:
                self._tls.do_handshake()
                self.ready = True
            if say:
                self._tls.write(say)
            while data := self._tls.read(65_536):
                self.heard += data
        self._drip.come += self._outgoing.read()


def connected(
    authority: Authority, server: Pair, seed: int, most: int, host: str = "localhost"
) -> tuple[Transport, Other]:
    drip = Drip(random.Random(seed), most)
    transport = tls.layer(trusting(authority, host=host)).wrap(cast(socket.socket, drip))
    other = Other(server_context(server), drip)
    until(lambda: transport.handshake() is None and other.ready, lambda _: other.turn())
    return transport, other


@given(
    seed=st.integers(0, 2**32),
    most=st.sampled_from([2, 100, 5_000, 70_000]),
    size=st.sampled_from([1, 16_384, 16_385, 131_072, 400_000]),
)
def test_however_the_bytes_are_cut_the_same_come_out(
    authority: Authority, server: Pair, seed: int, most: int, size: int
) -> None:
    """Both directions at once; who is told to wait offers the same bytes again, as paho does."""
    size = min(size, most * 300)
    transport, other = connected(authority, server, seed, most)
    mine, theirs = random.Random(1).randbytes(size), random.Random(2).randbytes(size)
    sent, heard, said = 0, bytearray(), False
    while len(other.heard) < size or len(heard) < size:
        if sent < size:
            with suppress(BlockingIOError):
                sent += transport.send(mine[sent:])
        with suppress(BlockingIOError):
            while data := transport.recv(65_536):
                heard += data
        other.turn(b"" if said else theirs)
        said = True
    assert bytes(other.heard) == mine
    assert bytes(heard) == theirs


def test_recv_holds_nothing_back_that_no_selector_would_tell_of(
    authority: Authority, server: Pair
) -> None:
    transport, other = connected(authority, server, 1, 1_000_000)
    other.turn(bytes(100_000))
    heard = 0
    with suppress(BlockingIOError):
        while True:
            heard += len(transport.recv(50))
    assert heard == 100_000


def test_a_name_that_is_proven_is_the_one_of_the_configuration(
    authority: Authority, server: Pair
) -> None:
    with pytest.raises(TlsError, match=r"not for broker\.example: set mqtt\.host, or"):
        connected(authority, server, 1, 100_000, "broker.example")


@pytest.mark.parametrize("host", ["localhost.", "127.0.0.1", "LOCALHOST"])
def test_the_spelling_of_a_host_does_not_matter(
    authority: Authority, server: Pair, host: str
) -> None:
    connected(authority, server, 1, 100_000, host)


class OpenSsl:
    """`openssl s_server`, told by lines: K and k renew keys, R wants to negotiate again."""

    def __init__(self, server: Pair, version: str) -> None:
        port = free_port()
        words = ["-accept", f"127.0.0.1:{port}", f"-{version}", "-naccept", "1"]
        words += ["-num_tickets", "0"]  # so that what comes after the handshake was asked for
        self.process = subprocess.Popen(
            [need("openssl"), "s_server", *words, "-cert", server.certificate, "-key", server.key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        self.said, self._stdin = self.process.stdout, self.process.stdin
        line_of(self.process, lambda line: b"ACCEPT" in line)
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)

    def say(self, line: str) -> None:
        self._stdin.write(f"{line}\n".encode())
        self._stdin.flush()

    def end(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.communicate()


def after(command: str, other: OpenSsl, transport: Transport) -> bytes:
    """What is heard of a line that follows a command."""
    until(lambda: transport.handshake() is None)
    other.say(command)
    other.socket.recv(1, socket.MSG_PEEK)  # s_server reads one command at a time
    other.say("hello")
    heard = bytearray()

    def hear(_: float) -> None:
        with suppress(BlockingIOError):
            heard.extend(transport.recv(100))

    until(lambda: heard.endswith(b"hello\n"), hear)
    return bytes(heard)


@pytest.mark.parametrize("command", ["K", "k"])
def test_keys_of_tls_1_3_may_be_renewed(authority: Authority, server: Pair, command: str) -> None:
    """K asks for an answer, which reading has to send."""
    other = OpenSsl(server, "tls1_3")
    transport = tls.layer(trusting(authority)).wrap(other.socket)
    assert after(command, other, transport) == b"hello\n"
    assert transport.send(b"and back\n") == 9
    line_of(other.process, lambda line: b"and back" in line)
    other.end()


def test_tls_1_2_does_not_negotiate_again(authority: Authority, server: Pair) -> None:
    """It would make writes wait for reads; OpenSSL's server then leaves."""
    other = OpenSsl(server, "tls1_2")
    transport = tls.layer(trusting(authority)).wrap(other.socket)
    assert after("R", other, transport) == b"hello\n"
    with pytest.raises(TlsError):
        transport.recv(100)
    other.end()


# --- under the link, at somebody who speaks TLS by hand ----------------------------------------


def secured(server: Pair, talk: Callable[[ssl.SSLSocket], None]) -> Callable[[socket.socket], None]:
    """A talk of FakeBroker, within TLS."""

    def inner(peer: socket.socket) -> None:
        context = server_context(server)
        with context.wrap_socket(peer, server_side=True, suppress_ragged_eofs=False) as secure:
            talk(secure)

    return inner


def packet(peer: ssl.SSLSocket) -> bytes:
    """One short MQTT packet."""
    head = receive(peer, 2)
    return head + receive(peer, head[1])


def test_many_messages_of_one_record_all_come(
    loop: Loop, authority: Authority, server: Pair
) -> None:
    def talk(peer: ssl.SSLSocket) -> None:
        packet(peer)
        peer.sendall(CONNACK + b"\x30\x06\x00\x01tone" * 1000)
        with suppress(OSError):
            peer.recv(1)

    with FakeBroker(secured(server, talk)) as broker:
        one = end(loop, broker.port, "one", trusting(authority))
        one.until(lambda: len(one.heard.messages) == 1000)
        one.stop()


def test_flood_of_messages_leaves_the_loop_its_turns(
    loop: Loop, authority: Authority, server: Pair
) -> None:
    count = 20_000

    def flood(peer: ssl.SSLSocket) -> None:
        packet(peer)
        peer.sendall(CONNACK)
        peer.sendall(b"\x30\x06\x00\x01tend" * count)
        with suppress(OSError):
            peer.recv(1)

    turns = 0
    with FakeBroker(secured(server, flood)) as broker:
        one = end(loop, broker.port, "one", trusting(authority)).connect()

        def turn() -> None:
            nonlocal turns
            turns += 1
            loop.after(0, turn)

        turn()
        one.until(lambda: len(one.heard.messages) == count)
        assert turns > 10
        one.stop()


def test_traffic_is_what_the_socket_carries(loop: Loop, authority: Authority, server: Pair) -> None:
    """The handshake and each record's seal are in it."""
    counted = [0, 0]

    def talk(peer: socket.socket) -> None:
        drip = Drip(random.Random(1), 1)  # nothing but its buffers
        other = Other(server_context(server), drip)
        answers = [(b"\x10", CONNACK), (b"end", b"\x30\x06\x00\x01tend")]
        while data := peer.recv(100_000):
            counted[0] += len(data)
            drip.sent += data
            other.turn()
            if answers and answers[0][0] in other.heard:
                other.turn(answers.pop(0)[1])
            counted[1] += len(drip.come)
            peer.sendall(drip.come)
            drip.come.clear()

    with FakeBroker(talk) as broker:
        one = end(loop, broker.port, "one", trusting(authority)).connect()
        one.link.publish("test/a", bytes(500_000) + b"end")
        one.until(lambda: bool(one.heard.messages))
        one.link.reconnect("now")
        one.stop()
    assert one.heard.traffic == Traffic(*counted)
    assert counted[0] > 500_000


def test_goodbye_is_said_so_that_nobody_takes_it_for_a_cut(
    loop: Loop, authority: Authority, server: Pair
) -> None:
    ends: list[bytes] = []

    def talk(peer: ssl.SSLSocket) -> None:
        packet(peer)
        peer.sendall(CONNACK)
        ends.append(peer.recv(100))  # raises SSLEOFError if the goodbye is missing

    with FakeBroker(secured(server, talk)) as broker:
        one = end(loop, broker.port, "one", trusting(authority)).connect()
        one.link.reconnect("now")
        one.stop()
    assert ends == [b""]


def test_broker_that_ends_tls_has_closed_the_connection(
    loop: Loop, authority: Authority, server: Pair
) -> None:
    def with_goodbye(peer: ssl.SSLSocket) -> None:
        packet(peer)
        peer.sendall(CONNACK)
        with suppress(OSError):
            peer.unwrap()

    def without(peer: ssl.SSLSocket) -> None:
        packet(peer)
        peer.sendall(CONNACK)

    with FakeBroker(secured(server, with_goodbye), secured(server, without)) as broker:
        one = end(loop, broker.port, "one", trusting(authority))
        one.until(lambda: len(one.heard.retries) == 2)
        one.stop()
    assert one.heard.events[:4] == ["connected", "the broker closed the connection"] * 2


def test_keepalive_passes_through(loop: Loop, authority: Authority, server: Pair) -> None:
    seen: list[bytes] = []

    def talk(peer: ssl.SSLSocket) -> None:
        packet(peer)
        peer.sendall(CONNACK)
        seen.append(packet(peer))
        peer.sendall(b"\xd0\x00")
        seen.append(packet(peer))
        with suppress(OSError):
            seen.append(peer.recv(1))  # no answer: the connection is given up

    with FakeBroker(secured(server, talk)) as broker:
        one = end(loop, broker.port, "one", trusting(authority), keepalive_s=1)
        one.until(lambda: len(one.heard.events) >= 2)
        one.stop()
    assert seen == [b"\xc0\x00", b"\xc0\x00", b""]


def test_mute_server_holds_up_no_timer(loop: Loop, authority: Authority) -> None:
    """The handshake waits in the selector, like everything."""
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        loop.after(0, turn)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = end(loop, silent.getsockname()[1], "one", trusting(authority, host="127.0.0.1"))
        heard: list[bytes] = []

        def greet(_events: int) -> None:
            loop.unwatch(silent.fileno())
            peer, _ = silent.accept()
            held.append(peer)
            loop.watch(peer.fileno(), READ, lambda _events: listen(peer))

        def listen(peer: socket.socket) -> None:
            loop.unwatch(peer.fileno())
            heard.append(peer.recv(2))
            turn()

        held: list[socket.socket] = []
        loop.watch(silent.fileno(), READ, greet)
        one.until(lambda: turns > 1000)
        assert heard == [b"\x16\x03"]  # a handshake has begun, and waits
        assert one.heard.events == []
        one.stop()
        held[0].close()


def test_handshake_waits_for_reading(authority: Authority) -> None:
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    transport = tls.layer(trusting(authority)).wrap(mine)
    assert transport.handshake() == READ
    assert transport.handshake() == READ  # woken for nothing
    theirs.close()
    with pytest.raises(TlsError, match="closed in the middle of the TLS handshake"):
        transport.handshake()
    mine.close()


def test_who_talks_about_tls_without_end_is_left(authority: Authority, server: Pair) -> None:
    """Each renewal of keys wants an answer, which waits in memory while nobody reads it."""
    transport, _ = connected(authority, server, 1, 100_000)
    assert isinstance(transport, Tls)
    transport._outgoing.write(bytes(tls.MOST_UNSENT + 1))
    drip = cast(Drip, transport._socket)
    drip.send = refuse  # type: ignore[method-assign, assignment]
    drip.come += b"\x17\x03"  # something, no record yet
    with pytest.raises(BlockingIOError):
        transport.send(b"x")
    transport._outgoing.write(bytes(tls.MOST_UNSENT + 1))
    with pytest.raises(TlsError, match="does not listen"):
        transport.recv(10)


def refuse(_data: memoryview) -> NoReturn:
    raise BlockingIOError


# --- under the link, at a real mosquitto -----------------------------------------------------


def test_message_that_the_broker_finds_too_large_is_named_over_tls_too(
    loop: Loop, authority: Authority, server: Pair, tmp_path: Path
) -> None:
    need("mosquitto")
    settings = mosquitto_settings(authority, server, "max_packet_size 40000")
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as mosquitto:
        one = end(loop, mosquitto.port, "one", trusting(authority)).connect()
        cut: list[bool] = []
        one.link.publish("test/a", bytes(5_000_000), cut=lambda: cut.append(True))
        one.until(lambda: bool(cut))
        assert "while 5,000,000 bytes on test/a were on their way" in str(one.heard.events[1])
        one.stop()
