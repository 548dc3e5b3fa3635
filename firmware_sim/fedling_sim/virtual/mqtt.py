"""An MQTT 3.1.1 broker in virtual time, as far as a Link can tell it from mosquitto.

QoS 1 and clean sessions: a session ends with its connection. tests/firmware_sim/virtual compares it
with the real one.
"""

from __future__ import annotations

from fedling_protocol.classes import dataclass
from fedling_protocol.net.framing import publish_size
from fedling_protocol.net.ports import Will
from fedling_sim.virtual.connection import Connection, Message
from fedling_sim.virtual.subscriptions import Subscriptions


@dataclass(frozen=True, slots=True)
class Limits:
    """What the broker allows. None: no limit, which costs least."""

    packet: int | None = None  # bytes; who sends a larger one is put off (max_packet_size)
    queue: int | None = None  # messages that wait for one client (max_queued_messages)
    in_flight: int = 20  # messages sent to one client and not acknowledged; only with `queue`


MOSQUITTO = Limits(packet=None, queue=1000)
"""What mosquitto 2 does without a configuration."""


class VirtualBroker:
    """Sessions by client id, retained messages, and who gets what."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.up = True
        self.dropped = 0  # messages for which a client's queue had no room
        self._connections: dict[str, Connection] = {}
        self._subscriptions: Subscriptions[Connection] = Subscriptions()
        self._retained: dict[str, Message] = {}

    @property
    def clients(self) -> list[str]:
        """Client ids, oldest connection first."""
        return list(self._connections)

    def retained(self, topic: str) -> bytes | None:
        """What is retained under a topic."""
        message = self._retained.get(topic)
        return None if message is None else message.payload

    def stop(self, *, keep_database: bool) -> None:
        """It ends: in order, when it keeps its database; else killed. All connections drop."""
        self.up = False
        for connection in self._connections.values():
            if keep_database and connection.will is not None:
                self._retain(_of_will(connection.will))
            connection.will = None
        for connection in list(self._connections.values()):
            connection.put_off("the broker closed the connection")
        if not keep_database:
            for topic in list(self._retained):
                self._subscriptions.forget(topic)
            self._retained.clear()

    def start(self) -> None:
        """It listens again."""
        self.up = True

    def restart(self, *, keep_database: bool) -> None:
        """Stop, then start at once."""
        self.stop(keep_database=keep_database)
        self.start()

    # --- what connections ask ------------------------------------------------------------------

    def accept(self, connection: Connection) -> None:
        """A new session, which puts off another one with its client id."""
        other = self._connections.get(connection.client_id)
        if other is not None:
            other.put_off("the broker closed the connection")
        connection.open = True
        self._connections[connection.client_id] = connection

    def close(self, connection: Connection, *, say_will: bool) -> None:
        """The session ends."""
        connection.open = connection.hears = False
        del self._connections[connection.client_id]
        for filter_ in connection.filters:
            self._subscriptions.remove(filter_, connection)
        if say_will and connection.will is not None:
            self.publish(_of_will(connection.will))

    def publish(self, message: Message) -> None:
        """Retain it, if it asks for that, and send it to all who want it."""
        if message.retain:
            self._retain(message)
        for connection in self._subscriptions.matching(message.topic):
            connection.forward(message)

    def subscribe(self, connection: Connection, filters: list[str]) -> None:
        """What is retained under them is sent, also to who had subscribed before."""
        for filter_ in filters:
            connection.filters[filter_] = None
            self._subscriptions.add(filter_, connection)
            for topic in self._subscriptions.retained(filter_):
                connection.forward(self._retained[topic])

    def unsubscribe(self, connection: Connection, filters: list[str]) -> None:
        for filter_ in filters:
            connection.filters.pop(filter_, None)
            self._subscriptions.remove(filter_, connection)

    def _retain(self, message: Message) -> None:
        if message.payload:
            self._retained[message.topic] = message
            self._subscriptions.retain(message.topic)
        elif self._retained.pop(message.topic, None) is not None:
            self._subscriptions.forget(message.topic)


def _of_will(will: Will) -> Message:
    return Message(will.topic, will.payload, True, publish_size(will.topic, len(will.payload)))
