"""What a broker, or something on the way to it, refuses, and how the link hears of it."""

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.net import mqtt
from fedling_protocol.runtime.loop import Loop
from tests.protocol.net.ends import CONNACK, End, FakeBroker, read_packet
from tests.support.waiting import PATIENCE_S, receive

MOST = 50_000  # bytes that the broker takes


def suback(packet: bytes, *codes: int) -> bytes:
    return bytes([0x90, 2 + len(codes), *packet[2:4], *codes])


def puback(packet: bytes) -> bytes:
    """Of a short PUBLISH of QoS 1."""
    topic = int.from_bytes(packet[2:4], "big")
    return b"\x40\x02" + packet[4 + topic : 6 + topic]


def test_refused_subscription_is_told_and_logged(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[bytes] = []

    def refuse(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(CONNACK)
        for codes in ((1, 0x80), (0x80, 0x80), (1, 1)):
            asked.append(read_packet(peer))
            peer.sendall(suback(asked[-1], *codes))
        peer.recv(1)

    with caplog.at_level(logging.WARNING), FakeBroker(refuse) as broker:
        end = End(loop, broker.port, "one").connect()
        assert end.link.refused == ()
        end.link.subscribe(["a/+", "b"])
        end.until(lambda: end.link.refused == ("b",))
        end.link.subscribe(["a/+", "b"])
        end.until(lambda: set(end.link.refused) == {"a/+", "b"})
        assert caplog.text.count("does not let us subscribe to b") == 1
        end.link.subscribe(["a/+", "b"])
        end.until(lambda: end.link.refused == ())
        end.stop()


def test_what_is_unsubscribed_is_no_longer_refused(loop: Loop) -> None:
    def refuse(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(CONNACK)
        peer.sendall(suback(read_packet(peer), 0x80))
        while peer.recv(100):
            pass

    with FakeBroker(refuse) as broker:
        end = End(loop, broker.port, "one").connect()
        end.link.subscribe(["a"])
        end.until(lambda: end.link.refused == ("a",))
        end.link.unsubscribe(["a"])
        assert end.link.refused == ()
        end.stop()


@pytest.mark.parametrize("order", [(90_000, 60_000), (60_000, 90_000), (60_000, 90_000, 100)])
def test_message_that_the_broker_finds_too_large_is_named(
    loop: Loop, tmp_path: Path, order: tuple[int, ...]
) -> None:
    """Whichever the broker met first: if one of them is too large, the largest is."""
    blamed: list[int] = []

    def blame(size: int) -> Callable[[], None]:
        return lambda: blamed.append(size)

    settings = [f"max_packet_size {MOST}"]
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        end = End(loop, broker.port, "one").connect()
        end.link.publish("t/small", bytes(300))
        for size in order:
            end.link.publish(f"t/{size}", bytes(size), cut=blame(size))
        end.until(lambda: bool(blamed))
        assert blamed == [90_000]
        assert "while 90,000 bytes on t/90000 were on their way" in str(end.heard.events[-1])
        end.connect().stop()


def test_message_that_was_acknowledged_is_blamed_for_nothing(
    loop: Loop, mosquitto: Mosquitto
) -> None:
    blamed: list[bool] = []
    acknowledged: list[bool] = []
    end = End(loop, mosquitto.port, "one").connect()
    end.link.publish(
        "t", bytes(90_000), done=lambda: acknowledged.append(True),
        cut=lambda: blamed.append(True),
    )  # fmt: skip
    end.until(lambda: bool(acknowledged))
    mosquitto.kill()
    end.until(lambda: not end.link.connected)
    assert not blamed
    end.stop()


def test_reconnect_of_our_own_blames_nobody(loop: Loop, mosquitto: Mosquitto) -> None:
    blamed: list[bool] = []
    end = End(loop, mosquitto.port, "one").connect()
    end.link.publish("t", bytes(90_000), cut=lambda: blamed.append(True))
    end.link.reconnect("as if it were lost")
    end.connect().stop()
    assert not blamed


def test_broker_that_acknowledges_nothing_any_more_is_left(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 lost PUBACKs, and the library sends no message again; pings were answered all the time."""
    monkeypatch.setattr("fedling_protocol.net.connection.UNANSWERED_S", 0.5)

    def mute(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(CONNACK)
        peer.sendall(puback(read_packet(peer)))
        while peer.recv(1000):
            pass

    with FakeBroker(mute) as broker:
        end = End(loop, broker.port, "one").connect()
        acks: list[int] = []
        for number in range(25):
            end.link.publish("t", b"x", done=lambda n=number: acks.append(n))  # type: ignore[misc]
        end.until(lambda: not end.link.connected)
        assert acks == [0]
        assert end.heard.events[-1] == "24 messages were not acknowledged for 0 s"
        end.stop()


def test_message_that_is_still_leaving_is_no_silence(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = "fedling_protocol.net.connection.UNANSWERED_S"
    monkeypatch.setattr(longest, 0.1)
    size = 16_000_000  # more than the kernels of both ends hold

    def read_late(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(CONNACK)
        waits.wait_for_turns()
        peer.recv(5)
        receive(peer, size + 5)
        peer.sendall(b"\x40\x02\x00\x01")
        peer.recv(1)

    # Who reads then has all the time that it needs on a busy machine.
    waits = Turns(loop, lambda: monkeypatch.setattr(longest, PATIENCE_S))
    with FakeBroker(read_late) as broker:
        end = End(loop, broker.port, "one").connect()
        acks: list[bool] = []
        end.link.publish("t", bytes(size), done=lambda: acks.append(True))
        waits.begin()
        end.until(lambda: bool(acks))
        assert end.heard.events == ["connected"]
        end.stop()


class Turns:
    """Has another thread wait until the silence was looked at several times, and says when."""

    def __init__(self, loop: Loop, then: Callable[[], None]) -> None:
        self._loop = loop
        self._then = then
        self._left = 5
        self._done = threading.Event()

    def begin(self) -> None:
        self._left -= 1
        if self._left:
            self._loop.after(0.1, self.begin)
        else:
            self._then()
            self._done.set()

    def wait_for_turns(self) -> None:
        self._done.wait()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "no MQTT broker, a web server answers"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "no MQTT broker, TLS answers"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "no MQTT broker, an SSH server answers"),
        (b"220 mail ESMTP\r\n", "no MQTT broker, something answers"),
        (b"", "is this its port for plain MQTT, without TLS or WebSockets?"),
    ],
)
def test_what_is_no_mqtt_broker_is_told(loop: Loop, answer: bytes, says: str) -> None:
    def talk(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(answer)

    with FakeBroker(talk) as broker:
        end = End(loop, broker.port, "one")
        end.until(lambda: bool(end.heard.events))
        assert says in str(end.heard.events[0])
        end.stop()


# --- whatever the library raises ends the connection, and the link goes on ------------------------

HOSTILE = [  # after CONNACK; paho 1.6.1 to 2.1.0 raises struct.error or KeyError of seven of them
    *(b"\x30\x00", b"\x30\x01\x00", b"\x30\x02\x00\x09", b"\x30\x03\x00\x09a"),
    *(b"\x32\x03\x00\x01a", b"\x32\x04\x00\x01a\x00", b"\x90\x00", b"\x90\x01\x00"),
    *(b"\x90\x03\x00\x01\x7f", b"\x40\x00", b"\x40\x01\x00", b"\xb0\x01\x00", b"\x20\x00"),
    *(b"\x20\x01\x00", b"\xd0\x05hallo", b"\x00\x00", b"\xf0\x00", b"\x10\x02\x00\x00"),
]


@pytest.mark.parametrize("packet", HOSTILE, ids=bytes.hex)
def test_packet_that_is_none_ends_no_more_than_a_connection(loop: Loop, packet: bytes) -> None:
    def hostile(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(CONNACK + packet)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(100):
            pass

    with FakeBroker(hostile, hostile) as broker:
        end = End(loop, broker.port, "one")
        end.until(lambda: len(end.heard.retries) >= 2)
        end.stop()


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyError(1), AssertionError(), MemoryError(), RecursionError()]
)
@pytest.mark.parametrize(
    "method", ["connect", "loop_read", "loop_write", "publish", "subscribe", "disconnect"]
)
def test_library_that_raises_anything_ends_no_more_than_a_connection(
    loop: Loop, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception
) -> None:
    raised: list[bool] = []

    def fail(*_: object) -> None:
        raised.append(True)
        raise error

    end = End(loop, mosquitto.port, "one")
    with monkeypatch.context() as broken:
        broken.setattr(mqtt._Client, method, fail)
        if method in ("publish", "subscribe", "disconnect"):
            end.connect()
            end.link.publish("a", b"b")
            end.link.subscribe(["c"])
        if method == "disconnect":
            end.stop()
            return
        end.until(lambda: bool(raised) and not end.link.connected)
    end.connect().stop()
    assert any(type(error).__name__ in str(event) for event in end.heard.events)
