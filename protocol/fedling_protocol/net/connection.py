"""One connection to the MQTT broker, from the look-up of its name to the close.

The TCP connection is made here, without blocking, and so is what lies on it (transport.py). The
MQTT library is each end's own affair (mqtt.py): it is used by way of the protocol Client.
"""

import errno
import logging
import os
import socket
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol

from fedling_protocol.classes import dataclass
from fedling_protocol.net.framing import FilteredSocket, Largest
from fedling_protocol.net.names import Names
from fedling_protocol.net.ports import Broker, Client, Done
from fedling_protocol.net.tcpinfo import Meter, Traffic, unsent
from fedling_protocol.net.transport import Layer, Revoked, Transport
from fedling_protocol.net.way import Found
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.loop import READ, WRITE, Loop, Timer

P = ParamSpec("P")

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())  # a command that has no log says by itself what it found

CONNECT_S = 20.0  # for TCP, transport and the broker's CONNACK together
FAREWELL_S = 2.0  # for the last bytes when we leave
UNACKED_S = 60  # sent bytes that nobody acknowledges for so long: the connection is dead
UNANSWERED_S = 120.0  # messages that arrived and get no PUBACK for so long: the broker is stuck
SLICE_S = 0.01  # messages are taken in for so long, then the loop serves others


@dataclass(slots=True)  # not frozen: an aggregator makes thousands a second
class _InFlight:
    """A message without a PUBACK."""

    topic: str
    size: int
    done: Done | None
    cut: Done | None


def name_suspect(reason: str, topic: str, size: int) -> str:
    """Say what was on its way when the other end cut the connection."""
    return (
        f"{reason}, while {size:,} bytes on {topic} were on their way: "
        "does the broker forbid them, or limit the size of messages?"
    )


class Told(Protocol):
    """Who made the connection and hears of it."""

    def connection_accepted(self) -> None: ...
    def connection_message(self, topic: str, payload: bytes, emptied: bool) -> None: ...
    def connection_traffic(self, traffic: Traffic) -> None: ...
    def connection_ended(
        self, reason: str, lived_s: float | None, put_off: bool, cut: Done | None
    ) -> None:
        """put_off: it was the broker, or somebody on the way, who ended it

        cut: of the message that may have been the reason
        """


Method = Callable[Concatenate["Connection", P], None]


def _ends_it(method: Method[P]) -> Method[P]:
    """Whatever a callback of the loop raises ends this connection only: paho has trusted its bytes.

    A PUBLISH without a topic is a struct.error in paho 1.6 to 2.1, a SUBACK a KeyError.
    """

    @wraps(method)
    def bounded(connection: "Connection", /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(connection, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 (the boundary of a link)
            connection.end(f"the connection made no sense: {mishaps.sentence(error)}")

    return bounded


class Connection:
    """A ClientOwner. It ends once, for whatever reason, and is never used again."""

    def __init__(
        self, loop: Loop, names: Names, broker: Broker, largest: Largest, layer: Layer, told: Told
    ) -> None:
        self._loop = loop
        self._names = names
        self._broker = broker
        self._largest = largest
        self._layer = layer
        self._told = told
        self._socket: socket.socket | None = None
        self._transport: Transport | None = None
        self._filtered: FilteredSocket | None = None
        self._meter: Meter | None = None
        self._timer: Timer | None = None
        self._rest: Timer | None = None  # of what was received and not read
        self._reason = ""  # why it ends, when we know better than the client
        self._ended = False
        self._revoked = False
        self._sent_at = 0.0
        self._emptied = 0  # oversized messages told to the owner
        self._unacknowledged: dict[int, _InFlight] = {}  # by packet id
        self._moved_at = 0.0  # when a message was acknowledged, or one was still on its way
        self._silence: Timer | None = None
        self._asked: dict[int, Sequence[str]] = {}  # topics by packet id, until SUBACK
        self.denied: dict[str, None] = {}  # topics that SUBACK refused
        self.accepted_at: float | None = None
        self.client: Client

    @property
    def asking(self) -> bool:
        """Whether a subscription has had no answer yet."""
        return bool(self._asked)

    @property
    def revoked(self) -> bool:
        """Whether it ended, or never began, since the other end holds us for revoked."""
        return self._revoked or (self._filtered is not None and self._filtered.revoked)

    @property
    def receiving(self) -> int:
        """How many bytes are still to come of a packet that has begun to come."""
        return 0 if self._filtered is None else self._filtered.expected

    def open(self, client: Client, attempt: int) -> None:
        """Look the name up, begin the TCP connect. Failures are told from the loop, later.

        attempt: a name may stand for several addresses, IPv6 and IPv4, and not all need answer
        """
        self.client = client
        self._names.look_up(lambda found: self._connect(found[attempt % len(found)]), self.end)

    def end(self, reason: str) -> None:
        """Close the connection, whatever its state, and tell the link once."""
        if self._ended:
            return
        self._ended = True
        self._names.forget()
        for timer in (self._timer, self._rest, self._silence):
            if timer is not None:
                timer.cancel()
        if self._transport is not None:
            self._transport.close()
        self.take_traffic()
        if self._socket is not None:
            self._loop.unwatch(self._socket.fileno())
            self._socket.close()
        lived_s = None if self.accepted_at is None else self._loop.now() - self.accepted_at
        put_off = self._filtered is not None and self._filtered.hung_up
        suspect = self._suspect() if put_off else None
        reason = self._reason or self._explain(reason, put_off, suspect)
        self._told.connection_ended(
            reason, lived_s, put_off, None if suspect is None else suspect.cut
        )

    def _suspect(self) -> _InFlight | None:
        """The largest of the messages that may have been too large for the broker."""
        large = [m for m in self._unacknowledged.values() if m.cut is not None]
        return max(large, key=lambda message: message.size, default=None)

    def _explain(self, reason: str, put_off: bool, suspect: _InFlight | None) -> str:
        if suspect is not None:
            return name_suspect(reason, suspect.topic, suspect.size)
        unknown = put_off and self.accepted_at is None
        return f"{reason}; {self._layer.suspicion}" if unknown else reason

    @_ends_it
    def leave(self) -> None:
        """Send what is queued, then DISCONNECT."""
        self._reason = "stopped"
        self._set_timer(FAREWELL_S, lambda: self.end("stopped"))
        self.client.disconnect()

    @_ends_it
    def publish(
        self, topic: str, payload: bytes, retain: bool, done: Done | None, cut: Done | None
    ) -> None:
        packet_id = self.client.publish(topic, payload, retain)
        if not self._unacknowledged:
            self._moved_at = self._loop.now()
        self._unacknowledged[packet_id] = _InFlight(topic, len(payload), done, cut)
        if self._silence is None:
            self._silence = self._loop.after(UNANSWERED_S, self._on_silence)

    @_ends_it
    def subscribe(self, topics: Sequence[str]) -> None:
        self._asked[self.client.subscribe(list(topics))] = topics

    @_ends_it
    def unsubscribe(self, topics: Sequence[str]) -> None:
        for topic in topics:
            self.denied.pop(topic, None)
        self.client.unsubscribe(list(topics))

    def take_traffic(self) -> None:
        """Have the link told what went through the socket since the last time."""
        if self._meter is not None and (traffic := self._meter.take()):
            self._told.connection_traffic(traffic)

    # --- TCP, then the transport, then MQTT ----------------------------------------------------

    @_ends_it
    def _connect(self, to: Found) -> None:
        late = f"no answer within {CONNECT_S:.0f} s; {self._layer.suspicion}"
        self._set_timer(CONNECT_S, lambda: self.end(late))
        try:
            self._socket = socket.socket(to.family, to.kind | socket.SOCK_NONBLOCK, to.protocol)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKED_S * 1000)
            code = self._socket.connect_ex(to.address)
            if code not in (0, errno.EINPROGRESS):  # what comes later shows in _on_tcp
                raise OSError(code, os.strerror(code))
            self._loop.watch(self._socket.fileno(), WRITE, self._on_tcp)
        except OSError as error:
            self._fail(error)

    @_ends_it
    def _on_tcp(self, _events: int) -> None:
        """Go on when the TCP connect is decided."""
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.end(os.strerror(code))
            return
        self._meter = Meter(self._socket)
        self._transport = self._layer.wrap(self._socket)
        self._on_handshake(0)

    @_ends_it
    def _on_handshake(self, _events: int) -> None:
        """Go on with the transport's own talk, until MQTT may begin."""
        assert self._socket is not None
        assert self._transport is not None
        try:
            wanted = self._transport.handshake()
        except OSError as error:
            self._fail(error)
            return
        if wanted is not None:
            self._loop.watch(self._socket.fileno(), wanted, self._on_handshake)
            return
        self._filtered = FilteredSocket(self._transport, self._socket.fileno(), self._largest)
        self._loop.watch(self._socket.fileno(), READ, self._on_ready)
        self.client.connect(self._broker.keepalive_s)

    def _fail(self, error: OSError) -> None:
        self._revoked = isinstance(error, Revoked)
        self.end(error.strerror or str(error))

    @_ends_it
    def _on_ready(self, events: int) -> None:
        code = self._read() if events & READ else 0
        if events & WRITE and not code and not self._ended:
            code = self.client.loop_write()
            self._sent_at = self._loop.now()
        self._check(code)

    def _read(self) -> int:
        """Read packets until the transport would block, which alone knows what it holds.

        Whoever floods us does not keep the loop: the rest is read in its next turn.
        """
        assert self._filtered is not None
        until = self._loop.now() + SLICE_S
        self._filtered.begin(lambda: self._loop.now() >= until)
        code = self.client.loop_read()
        while not code and not self._ended and not self._filtered.dry:
            code = self.client.loop_read()
        if not self._ended:
            self.take_traffic()
            if self._filtered.cut and self._rest is None:
                self._rest = self._loop.after(0, self._on_rest)
        return code

    @_ends_it
    def _on_rest(self) -> None:
        self._rest = None
        if not self._ended:
            self._check(self._read())

    def _check(self, code: int) -> None:
        """End the connection if the client has ended."""
        assert self._filtered is not None
        if code or self._filtered.closed:
            self.end(self._filtered.error or "the connection was lost")

    @_ends_it
    def _on_keepalive_due(self) -> None:
        """loop_misc sends a PINGREQ after keepalive_s, or finds that the last had no answer."""
        if self._loop.now() >= self._sent_at + self._broker.keepalive_s:
            self._check(self.client.loop_misc())
            self._sent_at = self._loop.now()
        if not self._ended:
            due = self._sent_at + self._broker.keepalive_s
            self._timer = self._loop.at(due, self._on_keepalive_due)

    @_ends_it
    def _on_silence(self) -> None:
        """A broker may go on answering pings, and acknowledge nothing any more."""
        assert self._socket is not None
        self._silence = None
        self._check(self._read())  # what is in already, if this process slept
        if self._ended or not self._unacknowledged:
            return
        if self.client.wants_write() or unsent(self._socket):
            self._moved_at = self._loop.now()
        due, waiting = self._moved_at + UNANSWERED_S, len(self._unacknowledged)
        if self._loop.now() < due:
            self._silence = self._loop.at(due, self._on_silence)
        else:
            self.end(f"{waiting} messages were not acknowledged for {UNANSWERED_S:.0f} s")

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
        self.accepted_at = self._sent_at = self._loop.now()
        self._set_timer(self._broker.keepalive_s, self._on_keepalive_due)
        self._told.connection_accepted()

    def refused(self, reason: str) -> None:
        self.end(f"refused by the broker: {reason}")

    def message(self, topic: str, payload: bytes) -> None:
        assert self._filtered is not None
        if self._ended:
            return
        emptied = not payload and self._filtered.emptied > self._emptied
        self._emptied += emptied
        self._told.connection_message(topic, payload, emptied)

    def subscribed(self, packet_id: int, granted: list[bool]) -> None:
        topics = self._asked.pop(packet_id, ())
        for topic, good in zip(topics, granted, strict=False):  # the broker counts as it likes
            if good:
                self.denied.pop(topic, None)
            elif topic not in self.denied:
                self.denied[topic] = None
                log.warning("the MQTT broker does not let us subscribe to %s", topic)

    def published(self, packet_id: int) -> None:
        message = self._unacknowledged.pop(packet_id, None)
        self._moved_at = self._loop.now()
        if message is not None and message.done is not None and not self._ended:
            message.done()
