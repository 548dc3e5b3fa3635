"""Ends of links, and brokers by hand, for the tests beside this file."""

import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Credentials, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.net.transport import PLAIN, Layer
from fedling_protocol.net.way import Way
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import ThreadWorker
from tests.support.certificates import Authority, Pair
from tests.support.waiting import PATIENCE_S, until

LIMIT = 10_000
CONNACK = b"\x20\x02\x00\x00"


class Recorder:
    """A link's owner that writes down what it is told."""

    def __init__(self, will: str = "test/state") -> None:
        self._will = will
        self.events: list[object] = []
        self.messages: list[tuple[str, bytes, bool]] = []
        self.retries: list[float] = []
        self.traffic = Traffic()

    def will(self) -> Will | None:
        return Will(self._will, b"gone")

    def on_connected(self) -> None:
        self.events.append("connected")

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        self.events.append(reason)
        self.retries.append(retry_s)

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        self.messages.append((topic, payload, emptied))

    def on_traffic(self, traffic: Traffic) -> None:
        self.traffic += traffic


class End:
    """A link, its owner, and the loop that drives it."""

    def __init__(
        self,
        loop: Loop,
        port: int,
        name: str,
        keepalive_s: int = 60,
        layer: Layer = PLAIN,
        backoff: Backoff | None = None,
        host: str = "127.0.0.1",
        known_as: Credentials | None = None,
        will: str = "test/state",
        heard: Recorder | None = None,
    ) -> None:
        self.loop = loop
        self.heard = heard or Recorder(will)
        self.names = ThreadWorker(loop, "names", patient=False)
        self.way = Way(host, port)
        self.link = MqttLink(
            loop,
            self.names,
            Broker(host, port, keepalive_s),
            backoff or Backoff(0.05, 0.05, random.random),
            lambda _topic: LIMIT,
            partial(new_client, name, known_as),
            self.heard,
            layer,
            self.way,
        )
        self.link.start()

    def until(self, condition: Callable[[], bool]) -> None:
        """Run the loop until the condition holds."""
        until(condition, self.loop.turn, says=self._heard)

    def _heard(self) -> str:
        return f"heard {self.heard.events} {self.heard.messages}"

    def connect(self) -> "End":
        self.until(lambda: self.link.connected)
        return self

    def stop(self, last_word: Will | None = None) -> None:
        done: list[bool] = []
        self.link.stop(last_word, lambda: done.append(True))
        self.until(lambda: bool(done))


@dataclass(frozen=True, slots=True)
class Ground:
    """A real mosquitto, and the port and the layer that lead to it."""

    loop: Loop
    mosquitto: Mosquitto
    layer: Layer
    port: int

    def end(self, name: str) -> End:
        return End(self.loop, self.port, name, layer=self.layer, host="localhost")


def trusting(
    authority: Authority, client: Pair | None = None, host: str = "localhost"
) -> MqttSettings:
    """What a configuration says that knows the authority, and shows a certificate if it has one."""
    return MqttSettings(
        host,
        tls=True,
        ca_file=authority.certificate,
        certificate_file=None if client is None else client.certificate,
        key_file=None if client is None else client.key,
    )


class Drip:
    """A socket between two buffers, which takes and gives as few bytes as a dice says."""

    def __init__(self, dice: random.Random, most: int) -> None:
        self.sent, self.come = bytearray(), bytearray()
        self._dice, self._most = dice, most

    def _share(self, wanted: int) -> int:
        share = self._dice.randrange(self._most)
        if not share or not wanted:
            raise BlockingIOError
        return min(share, wanted)

    def recv(self, count: int) -> bytes:
        share = self._share(min(count, len(self.come)))
        data = bytes(self.come[:share])
        del self.come[:share]
        return data

    def send(self, data: memoryview) -> int:
        share = self._share(len(data))
        self.sent += data[:share]
        return share


class FakeBroker:
    """Accepts connections one after another; a function talks on each, then it is closed."""

    def __init__(self, *talks: Callable[[socket.socket], None]) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(PATIENCE_S)
        self.port: int = self._server.getsockname()[1]
        self._talks = talks
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for talk in self._talks:
            peer, _ = self._server.accept()
            with peer:
                peer.settimeout(PATIENCE_S)
                talk(peer)

    def __enter__(self) -> "FakeBroker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE_S)
        self._server.close()
        assert not self._thread.is_alive()


def read_packet(peer: socket.socket) -> bytes:
    """One short MQTT packet."""
    head = peer.recv(2, socket.MSG_WAITALL)
    return head + (peer.recv(head[1], socket.MSG_WAITALL) if head[1] else b"")
