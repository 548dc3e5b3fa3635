"""A Link in virtual time: net/link.py and net/connection.py as their owner sees them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from fedling_protocol.classes import dataclass
from fedling_protocol.net.connection import CONNECT_S, FAREWELL_S, name_suspect
from fedling_protocol.net.framing import SMALL, Largest, packet_size, publish_size
from fedling_protocol.net.ports import Done, Owner, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Timer
from fedling_sim.virtual.cable import Cable
from fedling_sim.virtual.clock import US, NodeClock
from fedling_sim.virtual.connection import ACK_BYTES, DISCONNECT_BYTES, Connection, Message
from fedling_sim.virtual.mqtt import VirtualBroker
from fedling_sim.virtual.worker import Hook, Moment


@dataclass(frozen=True, slots=True, eq=False)
class _Large:
    """A message that the broker may find too large."""

    topic: str
    size: int
    cut: Done


class VirtualLink:
    """Keeps one process connected to the virtual broker, until stop() or vanish().

    largest: bytes of the largest message on a topic; a larger one comes in empty
    hook: where the process may be killed
    """

    revoked = False  # the virtual broker knows no certificates
    __slots__ = (
        *("_accepted_at", "_backoff", "_broker", "_cable", "_client_id", "_clock", "_connection"),
        *("_hook", "_keepalive_s", "_large", "_largest", "_owner"),
        *("_received", "_sent", "_stopped", "_timer"),
    )

    def __init__(
        self,
        clock: NodeClock,
        cable: Cable,
        broker: VirtualBroker,
        client_id: str,
        keepalive_s: int,
        backoff: Backoff,
        largest: Largest,
        owner: Owner,
        hook: Hook | None = None,
    ) -> None:
        self._clock = clock
        self._cable = cable
        self._broker = broker
        self._client_id = client_id
        self._keepalive_s = keepalive_s
        self._backoff = backoff
        self._largest = largest
        self._owner = owner
        self._hook = hook
        self._connection: Connection | None = None
        self._accepted_at: float | None = None
        self._timer: Timer | None = None  # until the next try, an answer, or the farewell's end
        self._stopped: Done | None = None
        self._large: list[_Large] = []  # without a PUBACK, on this connection
        self._sent = 0  # bytes that the owner has not been told of
        self._received = 0

    @property
    def connected(self) -> bool:
        return self._accepted_at is not None

    @property
    def refused(self) -> tuple[str, ...]:
        return ()  # the virtual broker lets everybody read

    @property
    def sending(self) -> bool:
        connection = self._connection
        return connection is not None and connection.up.free_us > self._clock.world.now_us

    @property
    def receiving(self) -> int:
        return 0 if self._connection is None else self._connection.down.expected

    def start(self) -> None:
        will = self._owner.will()
        network, cable = self._cable.network, self._cable
        connection = self._connection = Connection(
            self._broker, network, self, self._client_id, self._keepalive_s, cable.rates
        )
        if cable.is_cut:
            self._timer = self._clock.after(0, lambda: self.end("Network is unreachable"))
            return
        self._timer = self._clock.after(CONNECT_S, lambda: self.end("no answer within 20 s"))
        cable.carry(connection, self._keepalive_s)
        size = _connect_size(self._client_id, will)
        self._sent += size
        connection.up.send(size, connection.on_connect, will)

    def stop(self, last_word: Will | None, done: Done) -> None:
        self._stopped = done
        if self._connection is None:
            self._cancel_timer()
            self._clock.after(0, done)
        elif not self.connected:
            self.end("stopped")
        else:
            if last_word is not None:
                self.publish(last_word.topic, last_word.payload, retain=True)
            self._leave(self._connection)

    def reconnect(self, reason: str) -> None:
        self.end(reason)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        done: Done | None = None,
        cut: Done | None = None,
    ) -> bool:
        connection = self._connection
        if connection is None or self._accepted_at is None:
            return False
        if self._hook is not None:
            self._hook(Moment.BEFORE_PUBLISH)
        size = publish_size(topic, len(payload))
        self._sent += size
        message = Message(topic, payload, retain, size)
        if cut is not None:
            done = self._watch(_Large(topic, len(payload), cut), done)
        connection.up.send(size, connection.on_publish, (message, done))
        if self._hook is not None:
            self._hook(Moment.AFTER_PUBLISH)
        return True

    def subscribe(self, topics: Iterable[str]) -> None:
        wanted = list(topics)
        if wanted and self._connection is not None and self.connected:
            size = packet_size(2 + sum(3 + len(topic) for topic in wanted))
            self._sent += size
            self._connection.up.send(size, self._connection.on_subscribe, wanted)

    def unsubscribe(self, topics: Iterable[str]) -> None:
        unwanted = list(topics)
        if unwanted and self._connection is not None and self.connected:
            size = packet_size(2 + sum(2 + len(topic) for topic in unwanted))
            self._sent += size
            self._connection.up.send(size, self._connection.on_unsubscribe, unwanted)

    def take_traffic(self) -> None:
        if self._sent or self._received:
            traffic = Traffic(self._sent, self._received)
            self._sent = self._received = 0
            self._owner.on_traffic(traffic)

    def vanish(self, *, silently: bool) -> None:
        """The process is killed; the owner hears no more.

        silently: by a power cut, so that the board does not close the connection either
        """
        connection, self._connection, self._accepted_at = self._connection, None, None
        self._large.clear()
        if connection is not None:
            connection.abandon(silently=silently)

    # --- told by the connection, while it is ours ----------------------------------------------

    def on_accepted(self, size: int) -> None:
        self._cancel_timer()
        self._accepted_at = self._clock.now()
        self._received += size
        self._owner.on_connected()
        self.take_traffic()

    def on_message(self, message: Message) -> None:
        self._received += message.size
        self._sent += ACK_BYTES
        payload, emptied = message.payload, False
        if message.size > SMALL and len(payload) > self._largest(message.topic):
            payload, emptied = b"", True
        self._owner.on_message(message.topic, payload, emptied)
        self.take_traffic()

    def on_acknowledged(self, done: Done, size: int) -> None:
        self._received += size
        done()
        self.take_traffic()

    def count(self, size: int) -> None:
        """Bytes came that mean nothing to the owner; it hears of them with the next ones."""
        self._received += size

    def _watch(self, large: _Large, done: Done | None) -> Done:
        """Remember a message until its PUBACK, which is told to `done` as well."""
        self._large.append(large)

        def acknowledged() -> None:
            self._large.remove(large)
            if done is not None:
                done()

        return acknowledged

    def on_closed(self, reason: str) -> None:
        """The other end has closed the connection: because of the largest message, it may be."""
        suspect = max(self._large, key=lambda large: large.size, default=None)
        if suspect is None or self._stopped is not None:
            self.end(reason)
        else:
            self.end(name_suspect(reason, suspect.topic, suspect.size), suspect.cut)

    def end(self, reason: str, cut: Done | None = None) -> None:
        """The connection is over, whatever the state."""
        connection, lived_from = self._connection, self._accepted_at
        if connection is None:
            return
        self.take_traffic()
        self._connection = self._accepted_at = None
        self._large.clear()
        connection.abandon()
        self._cancel_timer()
        if self._stopped is not None:
            self._clock.after(0, self._stopped)
            return
        if lived_from is not None:
            self._backoff.lived(self._clock.now() - lived_from)
        if cut is not None:
            cut()
        retry_s = self._backoff.next_s()
        self._timer = self._clock.after(retry_s, self.start)
        self._owner.on_disconnected(reason, retry_s)

    def _leave(self, connection: Connection) -> None:
        """Everything queued, then DISCONNECT, as far as the time allows."""
        self._sent += DISCONNECT_BYTES
        connection.up.send(DISCONNECT_BYTES, connection.on_disconnect, None)
        left_s = (connection.up.free_us - self._clock.world.now_us) / US
        end = partial(self.end, "stopped")
        self._timer = self._clock.after(min(FAREWELL_S, max(0.0, left_s)), end)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _connect_size(client_id: str, will: Will | None) -> int:
    length = 10 + 2 + len(client_id)
    if will is not None:
        length += 2 + len(will.topic) + 2 + len(will.payload)
    return packet_size(length)
