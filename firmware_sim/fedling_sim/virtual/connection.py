"""One MQTT connection: a lane each way, a link at one end, the broker at the other.

Each end gives it up by itself, and the other one hears of that later or never.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fedling_protocol.classes import dataclass
from fedling_protocol.net.framing import packet_size
from fedling_protocol.net.ports import Done, Will
from fedling_sim.virtual.network import Lane, Network

if TYPE_CHECKING:
    from fedling_sim.virtual.link import VirtualLink
    from fedling_sim.virtual.mqtt import VirtualBroker

ACK_BYTES = 4  # a CONNACK, a PUBACK, an UNSUBACK
DISCONNECT_BYTES = 2
PATIENCE = 1.5  # keepalives without a word, then the broker gives a client up; MQTT 3.1.2.10


@dataclass(slots=True)
class Message:
    """A PUBLISH of QoS 1, as it is sent to one and to all."""

    topic: str
    payload: bytes
    retain: bool
    size: int  # bytes of the packet


class Connection:
    """From a link's connect to the time when both ends have given it up.

    link:  None: the client's end is closed, nothing arrives there
    open:  the broker serves it
    hears: what arrives at the broker's end is read
    """

    __slots__ = (
        *("_broker", "_keepalive_s", "_network", "_unacknowledged", "_waiting"),
        *("client_id", "down", "filters", "hears", "link", "open", "up", "will"),
    )

    def __init__(
        self,
        broker: VirtualBroker,
        network: Network,
        link: VirtualLink,
        client_id: str,
        keepalive_s: int,
        rates: tuple[float | None, float | None],
    ) -> None:
        self.link: VirtualLink | None = link
        self.client_id = client_id
        self.open = False
        self.hears = True
        self.will: Will | None = None
        self.filters: dict[str, None] = {}
        self.up = Lane(self, network, rates[0])
        self.down = Lane(self, network, rates[1])
        self._broker = broker
        self._network = network
        self._keepalive_s = keepalive_s
        self._unacknowledged = 0  # messages that the client has and the broker holds, if it counts
        self._waiting: deque[Message] | None = None  # an empty deque has 600 bytes

    # --- given up ------------------------------------------------------------------------------

    def sever(self, _: object = None) -> None:
        """The network breaks it. What is under way is lost, both ways."""
        self.hears = False
        world = self._network.world
        world.at(world.now_us + self._network.delay_us(), self.on_end, None)
        self.lost("the connection was lost")

    def abandon(self, *, silently: bool = False) -> None:
        """The link has closed its end. What has left wholly may still arrive.

        silently: its power is gone; the broker misses it when it hears no more of it
        """
        self.link = None
        self.up.close()
        if not self.hears:
            return
        if silently:
            self._network.world.after(PATIENCE * self._keepalive_s, self.on_end, None)
        else:
            self.up.send(0, self.on_end, None)

    def put_off(self, reason: str) -> None:
        """The broker closes its end."""
        self._broker.close(self, say_will=True)
        self.down.close()
        self.down.send(0, self.closed, reason)

    # --- arrives at the broker -------------------------------------------------------------------

    def on_connect(self, will: Will | None) -> None:
        if self.link is None:
            return
        if self._broker.up:
            self.will = will
            self._broker.accept(self)
            self.down.send(ACK_BYTES, self.accepted, None)
        else:
            self.hears = False
            self.down.send(0, self.lost, "Connection refused")

    def on_publish(self, packet: tuple[Message, Done | None]) -> None:
        if not self.hears:
            return
        message, done = packet
        limit = self._broker.limits.packet
        if limit is not None and message.size > limit:
            self.put_off("the broker closed the connection")
            return
        self._broker.publish(message)
        if done is not None:
            self.down.send(ACK_BYTES, self.acknowledged, done)
        else:
            self._count(ACK_BYTES)

    def on_subscribe(self, filters: list[str]) -> None:
        if self.hears:
            self._broker.subscribe(self, filters)
            self._count(packet_size(2 + len(filters)))

    def on_unsubscribe(self, filters: list[str]) -> None:
        if self.hears:
            self._broker.unsubscribe(self, filters)
            self._count(ACK_BYTES)

    def on_acknowledged(self, _: None) -> None:
        """The client has a message, so that another may be sent."""
        self._unacknowledged -= 1
        if self._waiting and self.open:
            self._unacknowledged += 1
            self._deliver(self._waiting.popleft())

    def on_disconnect(self, _: None) -> None:
        """It left in order: its will is void."""
        if self.open and self.hears:
            self._broker.close(self, say_will=False)

    def on_end(self, _: None) -> None:
        """The client is gone."""
        if self.open:
            self._broker.close(self, say_will=True)

    def _count(self, size: int) -> None:
        """An acknowledgement that nobody waits for is bytes, and no event."""
        if self.link is not None:
            self.link.count(size)

    # --- the broker sends ------------------------------------------------------------------------

    def forward(self, message: Message) -> None:
        """Deliver, at once or when the client has acknowledged others; or drop it."""
        limits = self._broker.limits
        if limits.queue is None:
            self._deliver(message)
        elif self._unacknowledged < limits.in_flight:
            self._unacknowledged += 1
            self._deliver(message)
        else:
            self._wait(message, limits.queue)

    def _wait(self, message: Message, most: int) -> None:
        if self._waiting is None:
            self._waiting = deque()
        if len(self._waiting) < most:
            self._waiting.append(message)
        else:
            self._broker.dropped += 1

    def _deliver(self, message: Message) -> None:
        if self.link is None:
            return
        network = self._network
        if network.calm:
            self.down.send(message.size, self.arrived, message)
            return
        copies = network.copies()
        if copies:
            self.down.send(message.size, self.arrived, message)
        else:
            network.world.at(network.world.now_us, self.on_acknowledged, None)
        if copies > 1:
            self.down.send_again(self.arrived_again, message)

    # --- arrives at the link -------------------------------------------------------------------

    def accepted(self, _: None) -> None:
        if self.link is not None:
            self.link.on_accepted(ACK_BYTES)

    def closed(self, reason: str) -> None:
        if self.link is not None:
            self.link.on_closed(reason)

    def lost(self, reason: str) -> None:
        if self.link is not None:
            self.link.end(reason)

    def arrived(self, message: Message) -> None:
        link = self.link
        if link is not None:
            if self._broker.limits.queue is not None:
                self.up.send(ACK_BYTES, self.on_acknowledged, None)
            link.on_message(message)

    def arrived_again(self, message: Message) -> None:
        if self.link is not None:
            self.link.on_message(message)

    def acknowledged(self, done: Done) -> None:
        if self.link is not None:
            self.link.on_acknowledged(done, ACK_BYTES)
