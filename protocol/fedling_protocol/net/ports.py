"""What the shells, the link and the MQTT library ask of each other.

shell (Owner)  <->  Link  <->  connection (ClientOwner)  <->  Client (mqtt.py)
"""

from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Protocol

from fedling_protocol.classes import dataclass
from fedling_protocol.net.framing import FilteredSocket
from fedling_protocol.net.tcpinfo import Traffic

Done = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the MQTT broker is, and how to hold the connection."""

    host: str
    port: int
    keepalive_s: int


WHO = "see mqtt.user and mqtt.password_file"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to the MQTT broker. The password is in no log: repr leaves it out.

    unknown: what a person is told whose user or password the MQTT broker does not know
    """

    user: str
    password: bytes | None = field(repr=False)
    unknown: str = WHO


@dataclass(frozen=True, slots=True)
class Will:
    """A retained message: what the broker says of us when we vanish."""

    topic: str
    payload: bytes


class Owner(Protocol):
    """Who uses the link. Called from the loop."""

    def will(self) -> Will | None:
        """Asked before each connect."""

    def on_connected(self) -> None:
        """Messages can be sent; nothing is subscribed."""

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        """The connection is lost, or a connect failed; it is tried again in retry_s seconds."""

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        """A message came. When this returns, it is acknowledged.

        emptied: it was larger than the limit, its payload was thrown away
        """

    def on_traffic(self, traffic: Traffic) -> None:
        """Bytes that went through the socket since the last call."""


class Link(Protocol):
    """What a shell sends through: the real one is link.MqttLink, a simulation has its own."""

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us."""

    @property
    def refused(self) -> tuple[str, ...]:
        """Topics that the broker does not let us subscribe to: nothing comes on them."""

    @property
    def revoked(self) -> bool:
        """Whether the broker ended the last connection since our certificate is revoked."""

    @property
    def sending(self) -> bool:
        """Whether something that was published has not left wholly."""

    @property
    def receiving(self) -> int:
        """Bytes still to come of a packet that has begun to come."""

    def start(self) -> None:
        """Connect now, and again whenever the connection is lost."""

    def stop(self, last_word: Will | None, done: Done) -> None:
        """Say a last word and leave. done is called when the bytes are out."""

    def reconnect(self, reason: str) -> None:
        """Give up the present connection, as if it had been lost."""

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        done: Done | None = None,
        cut: Done | None = None,
    ) -> bool:
        """Queue a message. done: called at its PUBACK, if that comes on this connection.

        cut: called if the other end cuts the connection before that, and of all the messages with
        a `cut` that it had not acknowledged this was the largest: it may be larger than it takes
        False: not connected; nothing is sent or kept.
        """

    def subscribe(self, topics: Iterable[str]) -> None:
        """Retained messages of the topics come, again if they were subscribed before."""

    def unsubscribe(self, topics: Iterable[str]) -> None:
        """What comes on the topics is not wanted any more."""

    def take_traffic(self) -> None:
        """Have on_traffic told now."""


MakeLink = Callable[[str, Owner], Link]
"""Makes an end's link from its client id and its owner; start() it then."""


class ClientOwner(Protocol):
    """What an MQTT client tells us."""

    def give_socket(self) -> FilteredSocket:
        """Asked once, in connect(): connected, non-blocking."""

    def want_write(self, wanted: bool) -> None:
        """Whether loop_write should be called when the socket can take bytes."""

    def accepted(self) -> None:
        """CONNACK with code 0."""

    def refused(self, reason: str) -> None:
        """CONNACK with another code."""

    def message(self, topic: str, payload: bytes) -> None:
        """PUBLISH; its PUBACK goes out when this returns."""

    def subscribed(self, packet_id: int, granted: list[bool]) -> None:
        """SUBACK: whether each topic was granted, in their order."""

    def published(self, packet_id: int) -> None:
        """PUBACK, or of a message that wants none: it was handed over."""


class Client(Protocol):
    """What we ask of an MQTT client. QoS 1, clean session, MQTT 3.1.1. Numbers: 0 is success."""

    def connect(self, keepalive_s: int) -> None: ...
    def disconnect(self) -> None: ...
    def publish(self, topic: str, payload: bytes, retain: bool) -> int: ...
    def subscribe(self, topics: list[str]) -> int: ...
    def unsubscribe(self, topics: list[str]) -> None: ...
    def wants_write(self) -> bool: ...
    def loop_read(self) -> int: ...
    def loop_write(self) -> int: ...
    def loop_misc(self) -> int: ...
