"""The wire's end on this device: one MQTT connection after another, driven from the loop.

The only module that knows paho (1.6 or 2). Every connection gets a client of its own: paho would
send unacknowledged messages again after a reconnect, and a device asks with a join before it sends
a large byte. The TCP connection is made here, without blocking; only a name look-up may block.
"""

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import paho.mqtt.client as mqtt

from fedling_protocol.backoff import Backoff
from fedling_protocol.framing import FilteredSocket
from fedling_protocol.loop import READ, WRITE, Loop, Timer, now
from fedling_protocol.tcpinfo import Meter, Traffic

CONNECT_S = 20.0  # for TCP, and again for the broker's CONNACK
FAREWELL_S = 2.0  # for the last bytes when we leave
UNACKED_S = 60  # sent bytes that nobody acknowledges for so long: the connection is dead
QOS = 1
API: Any = vars(mqtt).get("CallbackAPIVersion")  # None in paho 1


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says of us when we vanish."""

    topic: str
    payload: bytes


class Owner(Protocol):
    """Who uses the link. Called from the loop, never from inside a method of Link."""

    def will(self) -> Will:
        """Asked before each connect."""

    def on_connected(self) -> None:
        """Messages can be sent; nothing is subscribed."""

    def on_disconnected(self, reason: str, retry_s: float) -> None:
        """Also after a connect that failed; it is tried again in retry_s seconds."""

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        """A message came. When it returns, the message is acknowledged.

        emptied: it was larger than the limit, its payload was thrown away
        """

    def on_traffic(self, traffic: Traffic) -> None:
        """Bytes that went through the socket since the last call."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the MQTT broker is, and how to hold the connection."""

    host: str
    port: int
    keepalive_s: int


class Link:
    """Keeps this device connected until stop()."""

    def __init__(
        self, loop: Loop, broker: Broker, client_id: str, backoff: Backoff, limit: int, owner: Owner
    ) -> None:
        self._loop = loop
        self._broker = broker
        self._client_id = client_id
        self._backoff = backoff
        self._limit = limit  # bytes of the largest packet
        self._owner = owner
        self._connection: _Connection | None = None
        self._timer: Timer | None = None
        self._stopped: Callable[[], None] | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.accepted_at is not None

    def start(self) -> None:
        """Connect now, and again whenever the connection is lost."""
        self._timer = None
        self._connection = _Connection(self._loop, self._broker, self._limit, self)
        self._connection.open(self._client_id, self._owner.will())

    def stop(self, last_word: Will | None, done: Callable[[], None]) -> None:
        """Say a last word, retained, and leave. done is called when the bytes are out."""
        self._stopped = done
        if self._timer is not None:
            self._timer.cancel()
        if self._connection is None:
            self._loop.after(0, done)
        elif not self.connected:
            self._connection.end("stopped")
        else:
            if last_word is not None:
                self.publish(last_word.topic, last_word.payload, retain=True)
            self._connection.leave()

    def reconnect(self, reason: str) -> None:
        """Give up the present connection, as if it had been lost."""
        if self._connection is not None:
            self._connection.end(reason)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """False: not connected, nothing is sent or kept."""
        if self._connection is None or not self.connected:
            return False
        self._connection.client.publish(topic, payload, qos=QOS, retain=retain)
        return True

    def subscribe(self, topics: Iterable[str]) -> None:
        """Retained messages of the topics come, again if they were subscribed before."""
        wanted = [(topic, QOS) for topic in topics]
        if wanted and self._connection is not None and self.connected:
            self._connection.client.subscribe(wanted)

    def unsubscribe(self, topics: Iterable[str]) -> None:
        unwanted = list(topics)
        if unwanted and self._connection is not None and self.connected:
            self._connection.client.unsubscribe(unwanted)

    def take_traffic(self) -> None:
        """Have on_traffic told now."""
        if self._connection is not None:
            self._connection.take_traffic()

    # --- told by the connection ---------------------------------------------------------------

    def connection_accepted(self) -> None:
        self._owner.on_connected()

    def connection_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        self._owner.on_message(topic, payload, emptied)

    def connection_traffic(self, traffic: Traffic) -> None:
        self._owner.on_traffic(traffic)

    def connection_ended(self, reason: str, lived_s: float | None) -> None:
        self._connection = None
        if self._stopped is not None:
            self._loop.after(0, self._stopped)
            return
        if lived_s is not None:
            self._backoff.lived(lived_s)
        retry_s = self._backoff.next_s()
        self._timer = self._loop.after(retry_s, self.start)
        self._owner.on_disconnected(reason, retry_s)


class _Connection:
    """From the first SYN to the close."""

    def __init__(self, loop: Loop, broker: Broker, limit: int, link: Link) -> None:
        self._loop = loop
        self._broker = broker
        self._link = link
        self._limit = limit
        self._socket: socket.socket | None = None
        self._filtered: FilteredSocket | None = None
        self._meter: Meter | None = None
        self._timer: Timer | None = None
        self._reason = ""  # why it ends, when we know better than paho
        self._ended = False
        self._sent_at = 0.0
        self._emptied = 0  # oversized messages told to the owner
        self.accepted_at: float | None = None
        self.client: mqtt.Client

    def open(self, client_id: str, will: Will) -> None:
        """Look the name up, begin the TCP connect. Failures are told from the loop, later."""
        self.client = self._make_client(client_id, will)
        self._timer = self._loop.after(CONNECT_S, lambda: self.end("no answer within 20 s"))
        try:
            found = socket.getaddrinfo(self._broker.host, self._broker.port, 0, socket.SOCK_STREAM)
            family, kind, protocol, _, address = found[0]
            self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKED_S * 1000)
            self._socket.connect_ex(address)  # in progress; an error shows in _on_tcp
            self._loop.watch(self._socket.fileno(), WRITE, self._on_tcp)
        except OSError as error:
            reason = error.strerror or str(error)
            self._loop.after(0, lambda: self.end(reason))

    def end(self, reason: str) -> None:
        """Close, whatever the state, and tell the link once."""
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self.take_traffic()
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
        lived_s = None if self.accepted_at is None else now() - self.accepted_at
        self._link.connection_ended(self._reason or reason, lived_s)

    def leave(self) -> None:
        """Send what is queued, then DISCONNECT."""
        self._reason = "stopped"
        self._set_timer(FAREWELL_S, lambda: self.end("stopped"))
        self.client.disconnect()

    def take_traffic(self) -> None:
        if self._meter is not None and (traffic := self._meter.take()):
            self._link.connection_traffic(traffic)

    # --- TCP, then MQTT ------------------------------------------------------------------------

    def _on_tcp(self, _events: int) -> None:
        """The TCP connect is decided."""
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.end(os.strerror(code))
            return
        self._meter = Meter(self._socket)
        self._filtered = FilteredSocket(self._socket, self._limit)
        self._loop.watch(self._socket.fileno(), READ, self._on_ready)
        self.client.connect(self._broker.host, self._broker.port, self._broker.keepalive_s)

    def _on_ready(self, events: int) -> None:
        assert self._filtered is not None
        code = int(mqtt.MQTT_ERR_SUCCESS)
        if events & READ:
            code = self._read(self._filtered)
        if events & WRITE and code == mqtt.MQTT_ERR_SUCCESS and not self._ended:
            code = self.client.loop_write()
            self._sent_at = now()
        self._check(code)

    def _read(self, filtered: FilteredSocket) -> int:
        """What was received; loop_read takes one packet at a time."""
        code = int(self.client.loop_read())
        while code == mqtt.MQTT_ERR_SUCCESS and filtered.pending and not self._ended:
            code = int(self.client.loop_read())
        if not self._ended:
            self.take_traffic()
        return code

    def _check(self, code: int) -> None:
        """End if paho has ended."""
        assert self._filtered is not None
        if code != mqtt.MQTT_ERR_SUCCESS or self._filtered.closed:
            self.end(self._filtered.error or "the connection was lost")

    def _on_keepalive_due(self) -> None:
        """paho sends a PINGREQ after keepalive_s, or finds that the last had no answer."""
        if now() >= self._sent_at + self._broker.keepalive_s:
            self._check(self.client.loop_misc())
            self._sent_at = now()
        if not self._ended:
            self._timer = self._loop.at(
                self._sent_at + self._broker.keepalive_s, self._on_keepalive_due
            )

    def _set_timer(self, seconds: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.after(seconds, call)

    # --- called by paho ------------------------------------------------------------------------

    def _make_client(self, client_id: str, will: Will) -> mqtt.Client:
        client = _new_client(client_id, self._give_socket)
        client.will_set(will.topic, will.payload, qos=QOS, retain=True)
        client.on_connect = self._on_connack
        client.on_message = self._on_message
        client.on_socket_register_write = self._want_write
        client.on_socket_unregister_write = self._want_no_write
        return client

    def _give_socket(self) -> FilteredSocket:
        assert self._filtered is not None
        return self._filtered

    def _want_write(self, *_: object) -> None:
        if self._socket is not None and not self._ended:
            self._loop.watch(self._socket.fileno(), READ | WRITE, self._on_ready)

    def _want_no_write(self, *_: object) -> None:
        if self._socket is not None and not self._ended:
            self._loop.watch(self._socket.fileno(), READ, self._on_ready)

    def _on_connack(
        self, _client: object, _data: object, _flags: object, code: Any, *_: Any
    ) -> None:
        """code: an int in paho 1, a ReasonCode in paho 2."""
        if code != 0:
            self._reason = f"refused by the broker: {_refusal(code)}"
            self.end(self._reason)
            return
        self.accepted_at = self._sent_at = now()
        self._set_timer(self._broker.keepalive_s, self._on_keepalive_due)
        self._link.connection_accepted()

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        assert self._filtered is not None
        if self._ended:
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # on no topic of ours
        emptied = not message.payload and self._filtered.emptied > self._emptied
        self._emptied += emptied
        self._link.connection_message(topic, bytes(message.payload), emptied)


def _new_client(client_id: str, give_socket: Callable[[], FilteredSocket]) -> mqtt.Client:
    """A paho client, 1 or 2, whose socket we make: in both it comes from this one method."""

    class Client(mqtt.Client):
        def _create_socket_connection(self) -> Any:
            return give_socket()

    make: Any = partial(Client, API.VERSION2) if API else Client
    client: mqtt.Client = make(client_id, protocol=mqtt.MQTTv311, clean_session=True)
    return client


def _refusal(code: Any) -> str:
    """The broker's reason in words."""
    return str(code) if API else str(mqtt.connack_string(code))
