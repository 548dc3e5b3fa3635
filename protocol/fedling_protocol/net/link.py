"""Keeps one end connected to the MQTT broker: one connection after another, driven from a loop.

Every connection gets an MQTT client of its own: a library would send unacknowledged messages again
after a reconnect, and a device asks with a join before it sends a large byte. The TCP connection is
made here, without blocking; only a name look-up may block. The MQTT library is each end's own
affair (`mqtt.py`): it is used by way of the protocols Client and ClientOwner.
"""

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from fedling_protocol.net.backoff import Backoff
from fedling_protocol.net.framing import FilteredSocket
from fedling_protocol.net.tcpinfo import Meter, Traffic
from fedling_protocol.runtime.loop import READ, WRITE, Loop, Timer, now

CONNECT_S = 20.0  # for TCP and the broker's CONNACK together
FAREWELL_S = 2.0  # for the last bytes when we leave
UNACKED_S = 60  # sent bytes that nobody acknowledges for so long: the connection is dead

Done = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the MQTT broker is, and how to hold the connection."""

    host: str
    port: int
    keepalive_s: int


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
        """Also after a connect that failed; it is tried again in retry_s seconds."""

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        """A message came. When this returns, it is acknowledged.

        emptied: it was larger than the limit, its payload was thrown away
        """

    def on_traffic(self, traffic: Traffic) -> None:
        """Bytes that went through the socket since the last call."""


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

    def published(self, packet_id: int) -> None:
        """PUBACK."""


class Client(Protocol):
    """What we ask of an MQTT client. QoS 1, clean session, MQTT 3.1.1. Numbers: 0 is success."""

    def connect(self, keepalive_s: int) -> None: ...
    def disconnect(self) -> None: ...
    def publish(self, topic: str, payload: bytes, retain: bool) -> int: ...
    def subscribe(self, topics: list[str]) -> None: ...
    def unsubscribe(self, topics: list[str]) -> None: ...
    def wants_write(self) -> bool: ...
    def loop_read(self) -> int: ...
    def loop_write(self) -> int: ...
    def loop_misc(self) -> int: ...


class Link:
    """Keeps us connected until stop().

    limit: bytes of the largest packet; a larger one comes in empty
    """

    def __init__(
        self,
        loop: Loop,
        broker: Broker,
        backoff: Backoff,
        limit: int,
        new_client: Callable[[Will | None, ClientOwner], Client],
        owner: Owner,
    ) -> None:
        self._loop = loop
        self._broker = broker
        self._backoff = backoff
        self._limit = limit
        self._new_client = new_client
        self._owner = owner
        self._connection: _Connection | None = None
        self._timer: Timer | None = None
        self._stopped: Done | None = None
        self._failures = 0  # connects that failed since one succeeded

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us."""
        return self._connection is not None and self._connection.accepted_at is not None

    @property
    def sending(self) -> bool:
        """Whether something that was published has not left wholly."""
        return self._connection is not None and self._connection.client.wants_write()

    @property
    def receiving(self) -> int:
        """Bytes still to come of a packet that has begun to come."""
        return 0 if self._connection is None else self._connection.receiving

    def start(self) -> None:
        """Connect now, and again whenever the connection is lost."""
        self._timer = None
        self._connection = _Connection(self._loop, self._broker, self._limit, self)
        client = self._new_client(self._owner.will(), self._connection)
        self._connection.open(client, self._failures)

    def stop(self, last_word: Will | None, done: Done) -> None:
        """Say a last word and leave. done is called when the bytes are out."""
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

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, done: Done | None = None
    ) -> bool:
        """Queue a message. done: called at its PUBACK, if that comes on this connection.

        False: not connected; nothing is sent or kept.
        """
        if self._connection is None or not self.connected:
            return False
        self._connection.publish(topic, payload, retain, done)
        return True

    def subscribe(self, topics: Iterable[str]) -> None:
        """Retained messages of the topics come, again if they were subscribed before."""
        wanted = list(topics)
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
        if lived_s is None:
            self._failures += 1
        else:
            self._backoff.lived(lived_s)
        retry_s = self._backoff.next_s()
        self._timer = self._loop.after(retry_s, self.start)
        self._owner.on_disconnected(reason, retry_s)


class _Connection:
    """From the first SYN to the close. A ClientOwner."""

    def __init__(self, loop: Loop, broker: Broker, limit: int, link: Link) -> None:
        self._loop = loop
        self._broker = broker
        self._link = link
        self._limit = limit
        self._socket: socket.socket | None = None
        self._filtered: FilteredSocket | None = None
        self._meter: Meter | None = None
        self._timer: Timer | None = None
        self._reason = ""  # why it ends, when we know better than the client
        self._ended = False
        self._sent_at = 0.0
        self._emptied = 0  # oversized messages told to the owner
        self._unacknowledged: dict[int, Done] = {}  # by packet id
        self.accepted_at: float | None = None
        self.client: Client

    @property
    def receiving(self) -> int:
        return 0 if self._filtered is None else self._filtered.expected

    def open(self, client: Client, attempt: int) -> None:
        """Look the name up, begin the TCP connect. Failures are told from the loop, later."""
        self.client = client
        self._timer = self._loop.after(CONNECT_S, lambda: self.end("no answer within 20 s"))
        try:
            found = socket.getaddrinfo(self._broker.host, self._broker.port, 0, socket.SOCK_STREAM)
            # A name may stand for several addresses, IPv6 and IPv4, and not all need answer.
            family, kind, protocol, _, address = found[attempt % len(found)]
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

    def publish(self, topic: str, payload: bytes, retain: bool, done: Done | None) -> None:
        packet_id = self.client.publish(topic, payload, retain)
        if done is not None:
            self._unacknowledged[packet_id] = done

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
        self.client.connect(self._broker.keepalive_s)

    def _on_ready(self, events: int) -> None:
        assert self._filtered is not None
        code = 0
        if events & READ:
            code = self._read(self._filtered)
        if events & WRITE and not code and not self._ended:
            code = self.client.loop_write()
            self._sent_at = now()
        self._check(code)

    def _read(self, filtered: FilteredSocket) -> int:
        """What was received; loop_read takes one packet at a time."""
        code = self.client.loop_read()
        while not code and filtered.pending and not self._ended:
            code = self.client.loop_read()
        if not self._ended:
            self.take_traffic()
        return code

    def _check(self, code: int) -> None:
        """End if the client has ended."""
        assert self._filtered is not None
        if code or self._filtered.closed:
            self.end(self._filtered.error or "the connection was lost")

    def _on_keepalive_due(self) -> None:
        """loop_misc sends a PINGREQ after keepalive_s, or finds that the last had no answer."""
        if now() >= self._sent_at + self._broker.keepalive_s:
            self._check(self.client.loop_misc())
            self._sent_at = now()
        if not self._ended:
            due = self._sent_at + self._broker.keepalive_s
            self._timer = self._loop.at(due, self._on_keepalive_due)

    def _set_timer(self, seconds: float, call: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.after(seconds, call)

    # --- told by the client --------------------------------------------------------------------

    def give_socket(self) -> FilteredSocket:
        assert self._filtered is not None
        return self._filtered

    def want_write(self, wanted: bool) -> None:
        if self._socket is not None and not self._ended:
            events = READ | WRITE if wanted else READ
            self._loop.watch(self._socket.fileno(), events, self._on_ready)

    def accepted(self) -> None:
        self.accepted_at = self._sent_at = now()
        self._set_timer(self._broker.keepalive_s, self._on_keepalive_due)
        self._link.connection_accepted()

    def refused(self, reason: str) -> None:
        self.end(f"refused by the broker: {reason}")

    def message(self, topic: str, payload: bytes) -> None:
        assert self._filtered is not None
        if self._ended:
            return
        emptied = not payload and self._filtered.emptied > self._emptied
        self._emptied += emptied
        self._link.connection_message(topic, payload, emptied)

    def published(self, packet_id: int) -> None:
        done = self._unacknowledged.pop(packet_id, None)
        if done is not None and not self._ended:
            done()
