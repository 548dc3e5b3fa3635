"""WebSockets below MQTT: the transport by itself, and under the link where others misbehave."""

import random
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net import mqtt as library
from fedling_protocol.net import tls, upgrade, websocket
from fedling_protocol.net.tls import TlsError
from fedling_protocol.net.transport import PLAIN
from fedling_protocol.net.websocket import Closed, WebSocket
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.settings import SettingsError
from tests.protocol.net.ends import CONNACK, Drip, End, FakeBroker, trusting
from tests.protocol.net.test_tls import Other, server_context
from tests.support.certificates import Authority, Pair
from tests.support.waiting import until
from tests.support.websockets import CLOSE, PING, PONG, Peer, fragments, frame

MQTT = MqttSettings("localhost", 8080, websocket_path="/mqtt?fleet=home")


class Line:
    """A transport of ours and a strict other end, in memory, and the drops between them."""

    def __init__(self, seed: int = 1, most: int = 1_000_000) -> None:
        self.drip = Drip(random.Random(seed), most)
        self.transport = websocket.layer(MQTT, PLAIN).wrap(cast(socket.socket, self.drip))
        self.peer = Peer()

    def turn(self, say: bytes = b"") -> None:
        self.peer.take(bytes(self.drip.sent))
        self.drip.sent.clear()
        self.drip.come += say

    def open(self) -> "Line":
        until(lambda: bool(self._asked()), lambda _: None)
        self.turn(self.peer.answer())
        until(lambda: self.transport.handshake() is None, lambda _: self.turn())
        return self

    def _asked(self) -> object:
        self.transport.handshake()
        self.turn()
        return self.peer.asked

    def hear(self, count: int = 65_536) -> bytes:
        """All that comes at once."""
        heard = bytearray()
        with suppress(BlockingIOError):
            while data := self.transport.recv(count):
                heard += data
        return bytes(heard)


def test_request_goes_to_the_path_and_host_of_the_configuration() -> None:
    line = Line().open()
    assert line.peer.path == "/mqtt?fleet=home"
    assert line.peer.asked["host"] == "localhost:8080"


def test_keys_of_two_connections_differ() -> None:
    keys = {Line().open().peer.asked["sec-websocket-key"] for _ in range(3)}
    assert len(keys) == 3


@given(
    seed=st.integers(0, 2**32),
    most=st.sampled_from([2, 100, 5_000, 70_000]),
    size=st.sampled_from([1, 125, 126, 16_384, 16_385, 65_535, 65_536, 200_000]),
)
def test_however_bytes_are_cut_and_framed_the_same_come_out(
    seed: int, most: int, size: int
) -> None:
    """Both directions at once, with a PING between any two frames; who waits offers them again."""
    size = min(size, most * 300)
    line, dice = Line(seed, most).open(), random.Random(seed)
    mine, theirs = dice.randbytes(size), dice.randbytes(size)
    framed = fragments(theirs, *(dice.randrange(size + 1) // 3 for _ in range(dice.randrange(4))))
    pings = [dice.randbytes(dice.randrange(126)) for _ in framed]
    line.turn(b"".join(one + frame(ping, PING) for one, ping in zip(framed, pings, strict=True)))
    sent, heard = 0, bytearray()
    while len(line.peer.heard) < size or len(heard) < size:
        if sent < size:
            with suppress(BlockingIOError):
                sent += line.transport.send(mine[sent:])
        heard += line.hear()
        line.turn()
    while len(line.peer.frames) < len(pings):
        heard += line.hear()
        line.turn()
    assert bytes(line.peer.heard) == mine
    assert bytes(heard) == theirs
    assert line.peer.frames == [(PONG, ping) for ping in pings]
    assert max(line.peer.sizes) <= websocket.PIECE


def test_over_tls_the_same_come_out(authority: Authority, server: Pair) -> None:
    drip = Drip(random.Random(1), 5_000)
    below = tls.layer(trusting(authority))
    transport = websocket.layer(MQTT, below).wrap(cast(socket.socket, drip))
    other, peer = Other(server_context(server), drip), Peer()
    mine, theirs = random.Random(2).randbytes(200_000), random.Random(3).randbytes(200_000)
    answered, sent, heard = False, 0, bytearray()
    while len(peer.heard) < len(mine) or len(heard) < len(theirs):
        answer = peer.asked and not answered
        other.turn(peer.answer() + b"".join(fragments(theirs, 70_000)) if answer else b"")
        answered = answered or bool(answer)
        peer.take(bytes(other.heard))
        other.heard.clear()
        if transport.handshake() is None:
            with suppress(BlockingIOError):
                sent += transport.send(mine[sent:]) if sent < len(mine) else 0
            with suppress(BlockingIOError):
                heard += transport.recv(65_536)
    assert bytes(peer.heard) == mine
    assert bytes(heard) == theirs


def test_recv_holds_nothing_back_that_no_selector_would_tell_of() -> None:
    """The broker may speak in the same breath as HTTP; and one frame is more than one read."""
    line = Line()
    until(lambda: bool(line._asked()), lambda _: None)
    line.turn(line.peer.answer() + frame(b"x" * 100_000) + frame(b"y" * 7))
    until(lambda: line.transport.handshake() is None, lambda _: None)
    assert line.hear(50) == b"x" * 100_000 + b"y" * 7


@pytest.mark.parametrize("error", [TlsError("it was revoked"), ConnectionResetError("reset")])
def test_fault_below_is_told_and_not_taken_for_the_end(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """paho gives no bytes, as at an end, for whatever is a ConnectionError."""
    line = Line().open()

    def recv(_count: int) -> bytes:
        raise error

    monkeypatch.setattr(line.drip, "recv", recv)
    with pytest.raises(type(error), match=str(error)):
        line.transport.recv(65_536)


def test_end_below_in_the_middle_of_a_frame_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line().open()
    line.turn(frame(b"x" * 100)[:50])
    assert line.hear() == b""
    monkeypatch.setattr(line.drip, "recv", lambda _count: b"")
    assert line.transport.recv(65_536) == b""


def test_what_came_before_the_close_is_heard_before_it() -> None:
    line = Line().open()
    line.turn(frame(b"last words") + frame(struct.pack("!H", 1009) + b"1 MB", CLOSE))
    assert line.transport.recv(65_536) == b"last words"
    with pytest.raises(Closed, match=r"a message was too big for it; it says: 1 MB \(1009\)"):
        line.transport.recv(65_536)
    line.turn()
    line.transport.close()
    line.turn()
    assert line.peer.frames == [(CLOSE, struct.pack("!H", 1009) + b"1 MB")]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", websocket.ENDED),
        (b"\x03\xe8", websocket.ENDED),  # 1000
        (b"\x03\xe9", websocket.ENDED),  # 1001, going away
        (b"\x03\xe8bye", "closed by the other end: bye (1000)"),
        (b"\x03\xf0no", "closed by the other end: its rules forbid it; it says: no (1008)"),
        (b"\x03\xf0\x1b[31m", "closed by the other end: its rules forbid it (1008)"),
        (b"\x03\xf0\xff", "closed by the other end: its rules forbid it; it says: \ufffd (1008)"),
        (b"\x03", websocket.ENDED),
    ],
)
def test_closing_frame_says_why(said: bytes, why: str) -> None:
    line = Line().open()
    line.turn(frame(said, CLOSE))
    with pytest.raises(Closed) as closed:
        line.transport.recv(65_536)
    assert str(closed.value).endswith(why)


def test_close_says_goodbye_once_and_only_where_frames_are_understood() -> None:
    line = Line().open()
    line.transport.close()
    line.turn()
    assert line.peer.frames == [(CLOSE, b"\x03\xe8")]
    early = Line()
    early.transport.close()
    early.turn()
    assert not early.drip.sent


def test_frames_without_content_and_end_are_not_read_for_ever() -> None:
    line = Line().open()
    line.turn(frame(b"") * 99 + frame(b"x"))
    assert line.hear() == b"x"
    line.turn(frame(b"") * 200)
    with pytest.raises(ConnectionError, match="without content, and no end"):
        line.hear()


def test_answers_that_nobody_reads_do_not_pile_up() -> None:
    line = Line().open()
    line.drip._most = 1  # takes and gives nothing any more
    wire = cast(WebSocket, line.transport)._wire
    some = frame(b"x" * 125, PING) * 90
    while len(wire.out) + len(some) < websocket.MOST_UNSENT:
        wire.come += some
        line.hear()
    wire.come += some
    with pytest.raises(ConnectionError, match="PINGs and does not listen"):
        line.hear()


def test_frame_larger_than_any_message_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """paho keeps a frame until it is whole, and its length may be 2^63."""
    monkeypatch.setattr(websocket, "LARGEST_FRAME", 200_000)
    line = Line().open()
    line.turn(b"\x82\x7f" + (2**62).to_bytes(8, "big") + bytes(300_000))
    with pytest.raises(ConnectionError, match="more than 200,000 bytes"):
        line.hear()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", upgrade.SILENT),
        (b"HTTP/1.1 101 Switching Pro", upgrade.SILENT),
        (CONNACK, upgrade.NOT_HTTP),
        (b"\x15\x03\x01\x00\x02\x02\x46", upgrade.TLS),
        (b"HTTP/1.1 101 ok\r\n" + b"x: y\r\n" * 5000, upgrade.ENDLESS),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "nothing is there: set mqtt.websocket_path"),
    ],
)
def test_answer_that_is_no_upgrade_is_told_with_the_way_out(
    loop: Loop, said: bytes, why: str
) -> None:
    def talk(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(said)

    assert why in _first_word(loop, talk)


def test_web_server_that_hangs_up_at_once_is_told_with_the_way_out(loop: Loop) -> None:
    """With bytes that it has not read: then the kernel says reset."""
    assert upgrade.SILENT in _first_word(loop, lambda peer: None)


def test_web_server_without_a_broker_behind_it_is_told(loop: Loop) -> None:
    def talk(peer: socket.socket) -> None:
        other = _upgraded(peer)
        while not other.heard:
            other.take(peer.recv(1000))

    said = _first_word(loop, talk)
    assert "does mqtt.websocket_path lead to an MQTT broker there?" in said


def test_handshake_of_a_slow_web_server_does_not_hold_the_loop(loop: Loop) -> None:
    """It answers when the loop has turned a hundred times since the request."""
    ours, theirs = socket.socketpair()
    turns = 0

    def talk(peer: socket.socket) -> None:
        other = Peer()
        while not other.asked:
            other.take(peer.recv(1000))
        answer = other.answer()
        peer.sendall(answer[:40])
        theirs.recv(1)
        peer.sendall(answer[40:] + frame(b""))
        while not other.heard:
            other.take(peer.recv(1000))
        peer.sendall(frame(CONNACK))
        with suppress(OSError):
            while peer.recv(1000):
                pass

    def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 100:
            ours.send(b"x")
        loop.after(0, turn)

    with FakeBroker(talk) as broker, ours, theirs:
        end = _end(loop, broker.port)
        loop.after(0, turn)
        end.connect()
        end.stop()
    assert turns >= 100


def test_message_for_which_the_web_socket_is_closed_is_named(loop: Loop) -> None:
    cut: list[bool] = []

    def talk(peer: socket.socket) -> None:
        other = _upgraded(peer)
        while not other.heard:
            other.take(peer.recv(1000))
        peer.sendall(frame(CONNACK))
        while len(other.heard) < 5000:
            other.take(peer.recv(65_536))
        peer.sendall(frame(struct.pack("!H", 1009), CLOSE))
        while peer.recv(1000):
            pass

    with FakeBroker(talk) as broker:
        end = _end(loop, broker.port).connect()
        end.link.publish("test/a", bytes(9000), cut=lambda: cut.append(True))
        end.until(lambda: len(end.heard.events) > 1)
        end.stop()
    said = str(end.heard.events[1])
    assert "a message was too big for it (1009), while 9,000 bytes on test/a were" in said
    assert cut == [True]


# --- which paho --------------------------------------------------------------------------------


class Bare:
    """A class of frames that has another shape."""


@pytest.mark.parametrize("wrapper", [None, Bare])
def test_paho_whose_frames_are_not_known_is_refused_by_name(
    wrapper: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "WRAPPER", wrapper)
    with pytest.raises(SettingsError) as refused:
        websocket.layer(MQTT, PLAIN)
    assert str(refused.value).startswith("mqtt.websocket_path: paho-mqtt ")
    assert "install paho-mqtt 1.6.1, or 2.0 to 2.2" in str(refused.value)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masked_takes_each_byte_by_its_byte_of_the_key(data: bytes, key: bytes) -> None:
    assert library.masked(data, key) == bytes(b ^ key[n % 4] for n, b in enumerate(data))


def test_nothing_of_it_is_loaded_where_it_is_not_used() -> None:
    words = (
        "import sys; from fedling_protocol.net import credentials;"
        "from fedling_protocol.common_settings import MqttSettings;"
        "credentials.load(MqttSettings('localhost', websocket_path=sys.argv[1]));"
        "print('fedling_protocol.net.websocket' in sys.modules)"
    )
    for path, loaded in (("", "False"), ("/mqtt", "True")):
        command = [sys.executable, "-c", words, path]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == loaded


def _end(loop: Loop, port: int) -> End:
    mqtt = MqttSettings("127.0.0.1", port, websocket_path="/mqtt")
    return End(loop, port, "one", layer=websocket.layer(mqtt, PLAIN))


def _first_word(loop: Loop, talk: Callable[[socket.socket], None]) -> str:
    """What the link tells of its first connection."""
    with FakeBroker(talk) as broker:
        end = _end(loop, broker.port)
        end.until(lambda: bool(end.heard.events))
        end.stop()
    return str(end.heard.events[0])


def _upgraded(peer: socket.socket) -> Peer:
    other = Peer()
    while not other.asked:
        other.take(peer.recv(1000))
    peer.sendall(other.answer())
    return other
