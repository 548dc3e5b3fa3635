"""Everything that leaves this device passes here: it is sealed, written down, published."""

import time
from collections.abc import Callable

from fedling_agent.store.identity import Identity
from fedling_agent.store.ledger import Ledger, Sent
from fedling_agent.store.ledger import Traffic as Counted
from fedling_protocol.net.ports import Link, Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_protocol.wire import envelope
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Join, State, StateCode
from fedling_protocol.wire.topics import Topics


class Outbox:
    """Sends messages over the link, and keeps the books on them and on all bytes."""

    def __init__(self, ledger: Ledger, topics: Topics, identity: Identity, tasks: tuple[str, ...]):
        """tasks: whose plans are subscribed; none: those of the whole fleet."""
        self._ledger = ledger
        self._topics = topics
        self._identity = identity
        self._tasks = tasks
        self._traffic: dict[tuple[str, bytes | None], Traffic] = {}  # of a day, of a plan
        self._plan_id: bytes | None = None
        self.with_key = True  # joins carry the public key: this device has no certificate
        self.link: Link  # set by the service, which owns both

    # --- messages --------------------------------------------------------------------------------

    def join(self, task: str, join: Join, meaning: str) -> None:
        """Ask to take part, or what became of an update."""
        topic = self._topics.of(Kind.JOIN, task, self._identity.device)
        self.about(join.plan_id)
        self._send(Kind.JOIN, topic, self._seal(topic, join), join.plan_id, meaning)

    def update(
        self, task: str, plan_id: bytes, data: bytes, meaning: str, done: Callable[[], None]
    ) -> None:
        """Send a spooled envelope. done: at its PUBACK."""
        topic = self._topics.of(Kind.UPDATE, task, self._identity.device, plan_id, 0)
        self.about(plan_id)
        self._send(Kind.UPDATE, topic, data, plan_id, meaning, done=done)

    def state(self, code: StateCode, version: int) -> bool:
        """Tell the fleet what we do. False: not connected."""
        will = self.will(code, version)
        meaning = f"says: {code}, " + (f"model {version}" if version else "no model")
        return self._send(Kind.STATE, will.topic, will.payload, None, meaning, retain=True)

    def will(self, code: StateCode, version: int) -> Will:
        """The same, to be said later."""
        topic = self._topics.of(Kind.STATE, self._identity.device)
        return Will(topic, self._seal(topic, State(code, version)))

    def _seal(self, topic: str, message: Join | State) -> bytes:
        return envelope.seal(message, self._topics.bound(topic), self._identity.key)

    def _send(
        self,
        kind: Kind,
        topic: str,
        data: bytes,
        plan_id: bytes | None,
        meaning: str,
        *,
        retain: bool = False,
        done: Callable[[], None] | None = None,
    ) -> bool:
        if not self.link.connected:
            return False
        now_ms = int(time.time() * 1000)
        self._ledger.record_sent(Sent(now_ms, kind.word, topic, len(data), plan_id, meaning))
        return self.link.publish(topic, data, retain=retain, done=done)

    # --- subscriptions ---------------------------------------------------------------------------

    def subscribe_all(self) -> None:
        """After a connect."""
        self.link.subscribe(self._topics.device_subscriptions(self._identity.device, self._tasks))

    def ask_plans(self) -> None:
        """Have the retained plans sent again."""
        self.link.subscribe(self._topics.subscriptions(Kind.PLAN, tasks=self._tasks))

    # --- bytes at the socket ---------------------------------------------------------------------

    def about(self, plan_id: bytes | None) -> None:
        """From now on bytes are counted for this plan; those before belong to the last one."""
        self._plan_id = plan_id

    def count(self, traffic: Traffic) -> None:
        """Bytes that went through the socket."""
        key = time.strftime("%Y-%m-%d"), self._plan_id
        self._traffic[key] = self._traffic.get(key, Traffic()) + traffic

    def pending(self) -> list[Counted]:
        """What close_books() would write now."""
        self.link.take_traffic()
        return [Counted(*key, t.sent, t.received) for key, t in self._traffic.items()]

    def close_books(self) -> None:
        """Make the byte counts durable. Raises CannotWrite; they are kept in memory then."""
        for row in self.pending():
            self._ledger.add_traffic(row.day, row.plan_id, row.sent, row.received)
            del self._traffic[row.day, row.plan_id]
        self._ledger.flush()
