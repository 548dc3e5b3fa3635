"""Keeps one end connected to the MQTT broker: one connection after another, driven from a loop.

Every connection gets an MQTT client of its own: a library would send unacknowledged messages again
after a reconnect, and a device asks with a join before it sends a large byte.
"""

from collections.abc import Callable, Iterable

from fedling_protocol.net.connection import Connection
from fedling_protocol.net.framing import Largest
from fedling_protocol.net.names import Names
from fedling_protocol.net.ports import Broker, Client, ClientOwner, Done, Owner, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.net.transport import Layer
from fedling_protocol.net.way import Way
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Loop, Timer
from fedling_protocol.runtime.worker import Worker

NewClient = Callable[[Will | None, ClientOwner], Client]

REVOKED_S = 6 * 3600.0  # about so long it waits who was told that it is revoked
TWIN_AFTER = 3  # a broker that restarts may put us off once or twice
TWIN = "is a copy of this one's state in use elsewhere? A broker serves one client of an id"


class MqttLink:
    """A Link over TCP. Keeps us connected until stop().

    largest: bytes of the largest message on a topic; a larger one comes in empty
    worker: where names are looked up
    layer: what lies below MQTT, TLS or nothing
    way: told what is known of the way to the broker, for whoever asks whether there is a network
    """

    def __init__(
        self,
        loop: Loop,
        worker: Worker,
        broker: Broker,
        backoff: Backoff,
        largest: Largest,
        new_client: NewClient,
        owner: Owner,
        layer: Layer,
        way: Way | None = None,
    ) -> None:
        self._loop = loop
        self._way = way or Way(broker.host, broker.port)
        self._names = Names(loop, worker, self._way)
        self._broker = broker
        self._backoff = backoff
        self._largest = largest
        self._new_client = new_client
        self._owner = owner
        self._layer = layer
        self._connection: Connection | None = None
        self._timer: Timer | None = None
        self._stopped: Done | None = None
        self._failures = 0  # each takes the next address of the name; one that answers is kept
        self.revoked = False
        self._put_off = 0  # times in a row, soon after we were accepted

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.accepted_at is not None

    @property
    def refused(self) -> tuple[str, ...]:
        return () if self._connection is None else tuple(self._connection.denied)

    @property
    def answered(self) -> bool:
        """Whether the broker has answered each subscription, one way or the other."""
        return self._connection is not None and not self._connection.asking

    @property
    def sending(self) -> bool:
        return self._connection is not None and self._connection.client.wants_write()

    @property
    def receiving(self) -> int:
        return 0 if self._connection is None else self._connection.receiving

    def start(self) -> None:
        self._timer = None
        connection = Connection(
            self._loop, self._names, self._broker, self._largest, self._layer, self
        )
        self._connection = connection
        try:
            connection.open(self._new_client(self._owner.will(), connection), self._failures)
        except Exception as error:  # noqa: BLE001 (the boundary of a link: it is tried again)
            connection.end(f"no connection could be begun: {mishaps.sentence(error)}")

    def stop(self, last_word: Will | None, done: Done) -> None:
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
        if self._connection is not None:
            self._connection.end(reason)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        done: Done | None = None,
        cut: Done | None = None,
    ) -> bool:
        if self._connection is None or not self.connected:
            return False
        self._connection.publish(topic, payload, retain, done, cut)
        return True

    def subscribe(self, topics: Iterable[str]) -> None:
        wanted = list(topics)
        if wanted and self._connection is not None and self.connected:
            self._connection.subscribe(wanted)

    def unsubscribe(self, topics: Iterable[str]) -> None:
        unwanted = list(topics)
        if unwanted and self._connection is not None and self.connected:
            self._connection.unsubscribe(unwanted)

    def take_traffic(self) -> None:
        if self._connection is not None:
            self._connection.take_traffic()

    # --- told by the connection ---------------------------------------------------------------

    def connection_accepted(self) -> None:
        self._way.connected = True
        self._owner.on_connected()

    def connection_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        self._owner.on_message(topic, payload, emptied)

    def connection_traffic(self, traffic: Traffic) -> None:
        self._owner.on_traffic(traffic)

    def connection_ended(
        self, reason: str, lived_s: float | None, put_off: bool, cut: Done | None
    ) -> None:
        self.revoked = self._connection is not None and self._connection.revoked
        self._connection = None
        self._way.connected = False
        if self._stopped is not None:
            self._loop.after(0, self._stopped)
            return
        if lived_s is None:
            self._failures += 1
        else:
            soon = not self._backoff.lived(lived_s)
            self._put_off = self._put_off + 1 if put_off and soon and cut is None else 0
            if self._put_off >= TWIN_AFTER:
                reason = f"{reason}, {self._put_off} times in a row soon after connecting: {TWIN}"
        if cut is not None:
            cut()
        retry_s = self._backoff.about(REVOKED_S) if self.revoked else self._backoff.next_s()
        self._timer = self._loop.after(retry_s, self.start)
        self._owner.on_disconnected(reason, retry_s)
