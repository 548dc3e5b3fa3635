"""The link and paho, against a real mosquitto and against a broker that misbehaves."""

import random
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from fedling_broker.mosquitto.process import Mosquitto, free_port
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.net.transport import PLAIN, Layer
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import WRITE, Loop
from fedling_protocol.runtime.worker import ThreadWorker
from tests.protocol.net.ends import CONNACK, LIMIT, End, FakeBroker, Ground, Recorder, read_packet
from tests.support.tools import own_network
from tests.support.waiting import until


def test_publish_reaches_a_subscriber_and_is_acknowledged(ground: Ground) -> None:
    one = ground.end("one").connect()
    two = ground.end("two").connect()
    acks: list[bool] = []
    one.link.subscribe(["test/a", "test/b"])
    assert two.link.publish("test/a", b"x" * 500, retain=True, done=lambda: acks.append(True))
    one.until(lambda: bool(one.heard.messages and acks))
    assert one.heard.messages == [("test/a", b"x" * 500, False)]
    one.stop()
    two.stop()


def test_subscribe_again_brings_the_retained_message_again(ground: Ground) -> None:
    end = ground.end("one").connect()
    end.link.publish("test/a", b"x", retain=True)
    for count in (1, 2, 3):
        end.link.subscribe(["test/a"])
        end.until(lambda count=count: len(end.heard.messages) >= count)  # type: ignore[misc]
    end.stop()


def test_nothing_to_unsubscribe_is_not_said(ground: Ground) -> None:
    """A packet without a topic ends the connection."""
    end = ground.end("one").connect()
    end.link.subscribe(["test/a"])
    end.link.unsubscribe([])
    end.link.publish("test/a", b"x")
    end.until(lambda: bool(end.heard.messages))
    assert end.heard.events == ["connected"]
    end.stop()


def test_publish_unconnected_is_dropped(loop: Loop) -> None:
    end = End(loop, free_port(), "one")
    assert not end.link.publish("test/a", b"x")
    end.stop()


def test_broker_down_at_start_is_told_and_tried_again(loop: Loop, tmp_path: Path) -> None:
    port = free_port()
    end = End(loop, port, "one")
    end.until(lambda: len(end.heard.events) >= 2)
    assert set(end.heard.events) == {"Connection refused"}
    with Mosquitto(tmp_path / "late", port):
        end.connect()
        end.stop()


def test_unknown_host_is_told_and_tried_again(loop: Loop) -> None:
    heard = Recorder()
    link = MqttLink(
        loop,
        ThreadWorker(loop, "names", patient=False),
        Broker("nowhere.invalid", 1883, 60),
        Backoff(0.01, 0.01, random.random),
        lambda _topic: LIMIT,
        partial(new_client, "one", None),
        heard,
        PLAIN,
    )
    link.start()
    until(lambda: len(heard.events) >= 2, loop.turn)
    done: list[bool] = []
    link.stop(None, lambda: done.append(True))
    until(lambda: done, loop.turn)


def test_name_with_an_address_that_does_not_answer(
    loop: Loop, mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """localhost is ::1 first; a broker may listen on 127.0.0.1 alone."""
    found = [
        (family, socket.SOCK_STREAM, 6, "", (address, mosquitto.port))
        for family, address in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"))
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
    end = End(loop, mosquitto.port, "one").connect()
    assert end.heard.events[-1] == "connected"
    end.stop()


def test_broker_killed_and_back(ground: Ground) -> None:
    end = ground.end("one").connect()
    ground.mosquitto.kill()
    end.until(lambda: not end.link.connected)
    ground.mosquitto.start()
    end.connect()
    assert end.heard.events[0] == "connected"
    assert end.heard.events[-1] == "connected"
    assert len(end.heard.events) >= 3
    end.stop()


def test_will_is_published_when_we_vanish(ground: Ground) -> None:
    watcher = ground.end("watcher").connect()
    watcher.link.subscribe(["test/state"])
    end = ground.end("one").connect()
    end.link.reconnect("as if it were lost")
    watcher.until(lambda: bool(watcher.heard.messages))
    assert watcher.heard.messages == [("test/state", b"gone", False)]
    end.connect().stop()
    watcher.stop()


def test_stop_says_the_last_word_and_no_will(ground: Ground) -> None:
    watcher = ground.end("watcher").connect()
    watcher.link.subscribe(["test/state", "test/end"])
    ground.end("one").connect().stop(Will("test/state", b"bye"))
    watcher.until(lambda: ("test/state", b"bye", False) in watcher.heard.messages)
    watcher.link.publish("test/end", b"")
    watcher.until(lambda: ("test/end", b"", False) in watcher.heard.messages)
    assert len(watcher.heard.messages) == 2
    watcher.stop()


def test_oversized_message_comes_empty_and_the_next_whole(ground: Ground) -> None:
    end = ground.end("one").connect()
    end.link.subscribe(["test/a"])
    for payload in (b"first", bytes(2_000_000), b"", b"last"):
        end.link.publish("test/a", payload)
    end.until(lambda: len(end.heard.messages) >= 4)
    assert end.heard.messages == [
        ("test/a", b"first", False),
        ("test/a", b"", True),
        ("test/a", b"", False),
        ("test/a", b"last", False),
    ]
    assert end.heard.events == ["connected"]
    end.stop()


def test_stop_while_connecting(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        End(loop, silent.getsockname()[1], "one").stop(Will("test/state", b"bye"))


def test_broker_that_refuses(loop: Loop) -> None:
    def refuse(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(b"\x20\x02\x00\x05")
        peer.recv(1)

    with FakeBroker(refuse) as broker:
        end = End(loop, broker.port, "one")
        end.until(lambda: bool(end.heard.events))
        assert "refused by the broker" in str(end.heard.events[0])
        end.stop()


def test_identifier_rejected_may_be_a_keepalive_that_is_too_long(loop: Loop) -> None:
    """Brokers answer so to a keepalive beyond their limit: MQTT 3.1.1 has no code for it."""

    def refuse(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(b"\x20\x02\x00\x02")
        peer.recv(1)

    with FakeBroker(refuse) as broker:
        end = End(loop, broker.port, "one")
        end.until(lambda: bool(end.heard.events))
        assert "or mqtt.keepalive_s is longer than this broker allows" in str(end.heard.events[0])
        end.stop()


def test_two_with_one_id_hear_that_they_are_two(loop: Loop, mosquitto: Mosquitto) -> None:
    # Who was put off comes back long before a life counts as long, however slow the machine.
    backoffs = [Backoff(2.0, 60.0, lambda: 0.02) for _ in range(2)]
    ends = [End(loop, mosquitto.port, "one", backoff=backoff) for backoff in backoffs]
    told = "soon after connecting: is a copy of this one's state in use elsewhere?"
    ends[0].until(lambda: any(told in str(e) for end in ends for e in end.heard.events))
    for end in ends:
        end.stop()


@pytest.mark.parametrize(
    ("lives", "twin"),
    [
        ([(0.5, True)] * 3, True),
        ([(0.5, True)] * 2, False),
        ([(0.5, True), (0.5, True), (3600.0, True), (0.5, True)], False),  # one was long
        ([(0.5, False)] * 5, False),  # nobody put us off: it was lost, or we gave it up
        ([(0.5, True), (0.5, True), (None, False), (0.5, True)], True),  # not reached between
    ],
)
def test_twin_is_somebody_who_puts_us_off_again_and_again(
    loop: Loop, lives: list[tuple[float | None, bool]], twin: bool
) -> None:
    end = End(loop, free_port(), "one", backoff=Backoff(1.0, 60.0, lambda: 1.0))
    end.until(lambda: bool(end.heard.events))  # nobody is there
    for lived_s, put_off in lives:
        end.link.connection_ended("closed", lived_s, put_off, None)
    assert ("a copy of this one's state" in str(end.heard.events[-1])) is twin
    end.link.stop(None, lambda: None)


def test_way_is_connected_while_the_broker_has_accepted_us(
    loop: Loop, mosquitto: Mosquitto
) -> None:
    end = End(loop, mosquitto.port, "one")
    assert not end.way.connected
    end.connect()
    assert end.way.connected
    end.link.reconnect("as if it were lost")
    assert not end.way.connected
    end.connect().stop()
    assert not end.way.connected


def test_broker_that_restarts_is_no_twin(loop: Loop) -> None:
    def drop(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(CONNACK)

    with FakeBroker(drop, drop) as broker:
        end = End(loop, broker.port, "one", backoff=Backoff(0.01, 100.0, lambda: 0.999))
        end.until(lambda: len(end.heard.retries) == 2)
        end.stop()
    reasons = [event for event in end.heard.events if event != "connected"]
    assert reasons == ["the broker closed the connection"] * 2


CONNECT = """
from tests.protocol.net.ends import End
from fedling_protocol.runtime.loop import Loop
end = End(Loop(), 1883, "one", host="192.0.2.7")
end.until(lambda: bool(end.heard.events))
print(end.heard.events[0])
"""


def test_connect_without_a_route_says_what_the_kernel_says() -> None:
    """The answer of connect() was thrown away: "Transport endpoint is not connected"."""
    run = subprocess.run(
        [*own_network(), sys.executable, "-c", CONNECT], capture_output=True, text=True
    )
    assert run.stdout == "Network is unreachable\n", run.stderr


def test_name_server_that_is_silent_is_blamed_and_not_the_broker(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def hang(*words: object) -> NoReturn:
        if words[-1] != socket.AI_NUMERICHOST:
            release.wait()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr("fedling_protocol.net.names.LOOK_UP_S", 0.01)
    end = End(loop, 1883, "one", host="broker.test")
    end.until(lambda: len(end.heard.events) >= 2)
    assert set(end.heard.events) == {"the look-up of broker.test has had no answer for 0 s"}
    release.set()
    end.stop()


def test_bytes_that_are_not_mqtt(loop: Loop) -> None:
    def nonsense(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(CONNACK + b"\x90\xff\xff\xff\xff\xff")
        while peer.recv(1000):
            pass

    with FakeBroker(nonsense) as broker:
        end = End(loop, broker.port, "one")
        end.until(lambda: bool(end.heard.events))
        assert "remaining length" in str(end.heard.events[-1])
        end.stop()


def test_keepalive_pings_a_broker_that_answers_and_leaves_a_mute_one(loop: Loop) -> None:
    seen: list[bytes] = []

    def answer_once(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(CONNACK)
        seen.append(read_packet(peer))
        peer.sendall(b"\xd0\x00")
        seen.append(read_packet(peer))
        seen.append(peer.recv(1))  # no answer: the connection is given up

    with FakeBroker(answer_once) as broker:
        end = End(loop, broker.port, "one", keepalive_s=1)
        end.until(lambda: len(end.heard.events) >= 2)
        end.stop()
    assert seen == [b"\xc0\x00", b"\xc0\x00", b""]


def test_on_traffic_counts_every_byte(loop: Loop) -> None:
    counted: list[int] = []

    def count(peer: socket.socket) -> None:
        received = len(read_packet(peer))
        peer.sendall(CONNACK)
        while data := peer.recv(100_000):
            received += len(data)
            if data.endswith(b"end"):
                peer.sendall(b"\x30\x06\x00\x01tend")
        counted.append(received)

    with FakeBroker(count) as broker:
        end = End(loop, broker.port, "one").connect()
        end.link.publish("test/a", bytes(500_000) + b"end")
        end.until(lambda: bool(end.heard.messages))
        end.link.reconnect("now")
        end.stop()
    assert end.heard.traffic == Traffic(counted[0], len(CONNACK) + 8)


def test_flood_of_messages_leaves_the_loop_its_turns(loop: Loop) -> None:
    """They were read to the end in one callback before: whoever floods us stopped all timers."""
    count, packet = 20_000, b"\x30\x06\x00\x01tend"

    def flood(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(CONNACK)
        peer.sendall(packet * count)
        peer.recv(1)

    turns = 0
    with FakeBroker(flood) as broker:
        end = End(loop, broker.port, "one").connect()

        def turn() -> None:
            nonlocal turns
            turns += 1
            loop.after(0, turn)

        turn()
        end.until(lambda: len(end.heard.messages) == count)
        assert turns > 1
        end.stop()


class Grudging:
    """A transport like TLS: it shakes hands first, and holds bytes that no selector tells of."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._plain = bytearray()
        self._hands = [WRITE, WRITE]

    def handshake(self) -> int | None:
        return self._hands.pop(0) if self._hands else None

    def recv(self, count: int) -> bytes:
        if not self._plain:
            self._plain += self._socket.recv(100_000)
        out = bytes(self._plain[:3])  # whatever is asked for
        del self._plain[:3]
        return out

    def send(self, data: bytes) -> int:
        return self._socket.send(data)

    def close(self) -> None:
        pass


def test_transport_is_drained_until_it_would_block(loop: Loop) -> None:
    def talk(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(CONNACK + b"\x30\x06\x00\x01tone" + b"\x30\x06\x00\x01ttwo")
        peer.recv(1)

    with FakeBroker(talk) as broker:
        end = End(loop, broker.port, "one", layer=Layer(Grudging, ""))
        end.until(lambda: len(end.heard.messages) == 2)
        assert [payload for _, payload, _ in end.heard.messages] == [b"one", b"two"]
        end.stop()


def test_a_connection_that_lived_makes_the_next_try_soon(loop: Loop) -> None:
    """A back-off that is never told of a success waits longer and longer for ever."""

    def drop(peer: socket.socket) -> None:
        read_packet(peer)

    def serve(peer: socket.socket) -> None:
        read_packet(peer)
        peer.sendall(CONNACK)
        with suppress(TimeoutError):
            peer.settimeout(0.3)
            peer.recv(1)

    with FakeBroker(drop, drop, drop, serve, drop) as broker:
        end = End(loop, broker.port, "one", backoff=Backoff(0.01, 100.0, lambda: 0.999))
        end.until(lambda: len(end.heard.retries) == 5)
        end.stop()
    first, second, third, after_success, _ = end.heard.retries
    assert (first, second, third) == pytest.approx((0.00999, 0.01998, 0.03996))
    assert after_success == pytest.approx(first)
