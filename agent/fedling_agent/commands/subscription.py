"""Samples that another program publishes to an MQTT broker, as an input of `ingest`.

They wait for each other as those of a pipe do, and are acknowledged when they have come, not when
they are stored: a broker hands out some twenty messages that nobody has acknowledged, and a minute
of a sensor is thousands. Broker and samples that wait are in one memory, this device's.
"""

import random
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from fedling_agent.commands.interrupts import Interrupts
from fedling_agent.commands.source import Waiting
from fedling_agent.commands.watching import Troubles
from fedling_agent.data.lines import MAX_ROW
from fedling_agent.data.separated import written
from fedling_agent.data.streams import Stream
from fedling_protocol.classes import dataclass
from fedling_protocol.common_settings import MqttSettings, check_host, is_loopback
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.net import credentials
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import LONGEST_SLEEP_S, READ, Loop
from fedling_protocol.runtime.worker import ThreadWorker

FIRST_S, LONGEST_S = 1.0, 30.0  # of delays before it connects again: the broker is near
MOST_BYTES = 262_144  # of a message
LONGEST_TOPIC = 65_535  # bytes, MQTT 3.1.1, section 1.5.3
TOO_LONG = "x" * (MAX_ROW + 1)  # a row in place of a message that is, to be refused as one
ALLOWED = "allowed: mqtt://127.0.0.1/TOPIC, with a port and USER@ if need be"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says of it."""

    url: str
    password_file: Path | None
    examples_leave_the_device: bool

    def read(self) -> tuple[MqttSettings, str]:
        """Tell the MQTT broker and the topic. Raises BadInput."""
        try:
            url = urlsplit(self.url)
            host, port = url.hostname or "", url.port
        except ValueError as error:
            raise BadInput(f"--mqtt {self.url}: {error}; {ALLOWED}") from error
        topic = unquote(url.path[1:])
        wrong = url.scheme != "mqtt" or not host or check_host(host) or port == 0
        if wrong or url.query or url.fragment:
            raise BadInput(f"--mqtt {self.url}: {ALLOWED}")
        self._check_topic(topic)
        self._check_place(url, host)
        try:
            mqtt = MqttSettings(
                host, port, user=unquote(url.username or ""), password_file=self.password_file,
                allow_plaintext=self.examples_leave_the_device,
            )  # fmt: skip
        except ValueError as error:
            raise BadInput(f"--mqtt: {error}") from error
        return mqtt, topic

    def _check_topic(self, topic: str) -> None:
        wrong = not topic.isprintable() or len(topic.encode()) > LONGEST_TOPIC
        if not topic or wrong or {"+", "#"} & {*topic}:
            raise BadInput(f"--mqtt {self.url}: one topic behind the host, without + and #")

    def _check_place(self, url: SplitResult, host: str) -> None:
        if url.password is not None:
            words = "everybody on this machine can read a command line: write it into a file"
            raise BadInput(f"--mqtt: a password: {words}, for --password-file")
        if not is_loopback(host) and not self.examples_leave_the_device:
            raise BadInput(
                f"--mqtt: {host} is another machine: what a sensor publishes there has left this"
                " device, and everybody on the way reads it; if that is meant:"
                " --examples-leave-the-device"
            )


@contextmanager
def opened(wanted: Wanted, stream: Stream, form: str) -> Iterator["Subscription"]:
    """Make an input of a topic; it connects when it is read.

    Raises BadInput, IdentityError, SettingsError: the password cannot be used.
    """
    mqtt, topic = wanted.read()
    header = ",".join(map(written, stream.columns[3:])) if form == "csv" else ""
    subscription = Subscription(mqtt, topic, header)
    try:
        yield subscription
    finally:
        subscription.close()


class Subscription:
    """A topic, and what comes on it. The owner of its link."""

    is_file = False
    is_empty = False

    def __init__(self, mqtt: MqttSettings, topic: str, header: str) -> None:
        """header: of the table that messages are rows of; empty: they are NDJSON"""
        access = credentials.load(mqtt)
        client_id = f"ingest-{secrets.token_hex(6)}"
        self.name = topic
        self._address = mqtt.address
        self._header = header
        self._waiting = Waiting()
        self._troubles = Troubles()
        self._listens = False
        self._lost = False  # the connection was, since the last piece
        self.breaks = 0
        self._loop = Loop()
        self._worker = ThreadWorker(self._loop, "names", patient=False)
        self._link = MqttLink(
            self._loop,
            self._worker,
            Broker(mqtt.host, mqtt.tcp_port, mqtt.silence_s),
            Backoff(FIRST_S, LONGEST_S, random.random),
            lambda _topic: MOST_BYTES,
            partial(new_client, client_id, access.credentials, retained=False),
            self,
            access.layer,
        )

    @property
    def came(self) -> tuple[float, float]:
        return self._waiting.came

    def place(self, row: int) -> str:
        return f"row {row}"

    def pieces(self, interrupts: Interrupts) -> Iterator[list[str]]:
        """Read pieces until a signal has come."""
        if self._header:
            self._waiting.take([self._header])
        self._loop.watch(interrupts.fileno(), READ, lambda _: None)
        self._link.start()
        while not interrupts.came:
            if self._waiting.are_due or (self._waiting and self._lost):
                yield self._waiting.piece()
                self._waiting.stored()
                continue
            self.breaks, self._lost = self.breaks + self._lost, False
            left_s = self._waiting.left_s
            self._loop.turn(LONGEST_SLEEP_S if left_s is None else left_s)
            self._say_whether_it_listens()
        self._loop.unwatch(interrupts.fileno())
        while self._waiting:
            yield self._waiting.piece()

    def again(self, count: int) -> Iterator[list[str]]:
        """Give the header, or what stands for it, to who takes over."""
        yield self._waiting.head[:count]

    def close(self) -> None:
        """Leave the MQTT broker."""
        done: list[bool] = []
        self._link.stop(None, lambda: done.append(True))
        while not done:
            self._loop.turn()
        self._worker.close()
        self._loop.close()

    def _say_whether_it_listens(self) -> None:
        listens = self._link.connected and self._link.answered and not self._link.refused
        if listens and not self._listens:
            print(f"{self.name}: listens at {self._address}", file=sys.stderr, flush=True)
        self._listens = listens

    # --- an owner --------------------------------------------------------------------------------

    def will(self) -> Will | None:
        return None

    def on_connected(self) -> None:
        self._troubles.now(self, "")
        self._link.subscribe([self.name])

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        self._troubles.now(self, f"{self.name}: {self._address}: {reason}")
        self._lost = True

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        lines = [TOO_LONG] if emptied else payload.decode(errors="replace").split("\n")
        rows = [self._row(line) for line in lines if line.strip() not in ("", self._header)]
        if rows:
            self._waiting.take(rows)

    def _row(self, line: str) -> str:
        line = line[: MAX_ROW + 1]
        if self._header and line.count('"') % 2:
            return line.replace('"', "'")  # a quote that is left open would take others along
        return line

    def on_traffic(self, traffic: Traffic) -> None:
        """Nobody counts it: it stays on this machine."""
