"""Tries what a service will do at the MQTT broker, for `check` at both ends.

What a broker does not allow it often acknowledges and drops: so a message has to come back.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.disk.errors import Missing
from fedling_protocol.net import credentials
from fedling_protocol.net.credentials import Access
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.net.way import Way
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import ThreadWorker
from fedling_protocol.wire.limits import MAX_PACKET

T = TypeVar("T")

TRIES = 4  # the service, if it was put off, waits longer each time before it comes back
WAIT_S = 10.0  # what does not come within so long is missing
ASKED = 4  # times within WAIT_S, for what is retained
CONNECT_S = 30.0
SLOWEST = 10_000  # bytes a second of a way that is good enough
WORD = b"fedling check"
OWN = "check"  # of topics and client ids of our own; there it is no task, no plan, no version


class Missed(Exception):
    """What the MQTT broker does not let us do: a sentence each, with what to do."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = list(faults)


def unheard(topic: str) -> str:
    return f"{topic}: this MQTT broker refuses the subscription; let this user read there"


def cut(topic: str, why: str) -> str:
    return (
        f"{topic}: a message cost us the connection: {why}; let this user write there (where users "
        "are taken for client ids, service and check may put each other off: stop the service)"
    )


def dropped(topic: str, allow: str) -> str:
    return (
        f"{topic}: a message was not acknowledged or did not come back; let this user write and "
        f"read {allow}"
    )


def too_large(size: str, why: str) -> str:
    return (
        f"a message of {size}, as the tasks need it, does not pass: {why}; raise the MQTT broker's "
        "limit of packets or messages (mosquitto: max_packet_size, message_size_limit), or lower "
        "largest_packet in broker.toml"
    )


class Probe:
    """A client beside the service, with an id of its own; the owner of its link.

    Once the connection was lost, everything else is missing: `lost` says why.
    """

    def __init__(self, mqtt: MqttSettings, client_id: str, access: Access | None = None) -> None:
        """Make it of [mqtt]. Raises IdentityError, SettingsError: a file cannot be used.

        access: how it is let in, if not by what [mqtt] says
        """
        access = access or credentials.load(mqtt)
        client = partial(new_client, client_id, access.credentials)
        self.lost = ""
        self.heard: list[tuple[str, bytes]] = []
        self._address = mqtt.address
        self._failures: list[str] = []  # one for each address that was tried
        self._accepted = False
        self._loop = loop = Loop()
        self._way = Way(mqtt.host, mqtt.tcp_port)
        self._link = MqttLink(
            loop,
            ThreadWorker(loop, "names", patient=False),
            Broker(mqtt.host, mqtt.tcp_port, mqtt.silence_s),
            Backoff(0.01, 0.01, lambda: 1.0),
            lambda _topic: MAX_PACKET,
            client,
            self,
            access.layer,
            way=self._way,
        )

    # --- steps -----------------------------------------------------------------------------------

    def connect(self) -> None:
        """Reach one of the broker's addresses, and be accepted. Raises Missing."""
        self._link.start()
        self.until(lambda: self._link.connected or self._exhausted, CONNECT_S)
        if not self._link.connected:
            raise Missing(self._way.failure or f"{self._address}: {self._reason}")

    def listen(self, topics: Iterable[str]) -> list[str]:
        """Subscribe; the topics that are refused."""
        self._link.subscribe(topics)
        self.until(lambda: self._link.answered)
        return list(self._link.refused)

    def retains(self, topic: str, *filters: str) -> list[bool]:
        """Retain a message; whether it comes to a subscriber of each filter. Then it is emptied."""
        if not self.publish(topic, WORD, retain=True):
            return [False for _ in filters]
        came = [self._comes(filter_, topic) for filter_ in filters]
        self.publish(topic, b"", retain=True)
        return came

    def carries(self, topic: str, size: int) -> str:
        """Send so many bytes to ourselves; what became of them if they did not come back."""
        self.listen([topic])
        self._link.publish(topic, bytes(size))
        self.until(lambda: (topic, bytes(size)) in self.heard, WAIT_S + size / SLOWEST)
        came = (topic, bytes(size)) in self.heard
        self._link.unsubscribe([topic])
        if came:
            return ""
        return self.lost or "it was dropped"

    def until(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        """Whether it comes to hold within so long, and while we are connected."""
        late: list[bool] = []
        timer = self._loop.after(WAIT_S if seconds is None else seconds, lambda: late.append(True))
        while not (condition() or late or self.lost):
            self._loop.turn()
        timer.cancel()
        return condition()

    def _comes(self, filter_: str, topic: str) -> bool:
        """Subscribe, and again: NATS, if it is busy, retains a moment after it acknowledges."""
        before = len(self.heard)

        def came() -> bool:
            return (topic, WORD) in self.heard[before:]

        for _ in range(ASKED):
            self.listen([filter_])
            if self.until(came, WAIT_S / ASKED):
                break
        self._link.unsubscribe([filter_])
        return came()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Send a message; whether it was acknowledged."""
        acknowledged: list[bool] = []
        self._link.publish(topic, payload, retain=retain, done=lambda: acknowledged.append(True))
        return self.until(lambda: bool(acknowledged))

    @property
    def _exhausted(self) -> bool:
        """Whether each address of the name was tried."""
        return len(self._failures) >= max(1, len(self._way.addresses))

    @property
    def _reason(self) -> str:
        return self._failures[0] if self._failures else f"no answer within {CONNECT_S:.0f} s"

    # --- an owner --------------------------------------------------------------------------------

    def will(self) -> Will | None:
        return None

    def on_connected(self) -> None:
        self._accepted = True

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        if self._accepted:
            self.lost = self.lost or reason
        else:
            self._failures.append(reason)

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        self.heard.append((topic, payload))

    def on_traffic(self, traffic: Traffic) -> None:
        """Nobody counts it."""

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, *_: object) -> None:
        done: list[bool] = []
        self._link.stop(None, lambda: done.append(True))
        while not done:
            self._loop.turn()
        self._loop.close()


def tried(mqtt: MqttSettings, client_id: str, run: Callable[[Probe], T]) -> T:
    """Connect and run all of a check; again, if the connection was lost meanwhile. Raises Missing.

    Where the MQTT broker takes users for client ids, the running service wants its place back.
    """
    left = TRIES
    while True:
        left -= 1
        with Probe(mqtt, client_id) as probe:
            probe.connect()
            found = run(probe)
            if not (probe.lost and left):
                return found
