"""Everything that leaves this device passes here: it is sealed, written down, published."""

from collections.abc import Callable, Iterable
from functools import partial

from fedling_agent.service.books import Books
from fedling_agent.service.writer import Writer, ignore
from fedling_agent.store.identity import Identity
from fedling_agent.store.ledger import Ledger, Sent
from fedling_agent.store.spool import Spool, SpoolEntry
from fedling_protocol.classes import dataclass
from fedling_protocol.net.ports import Done, Link, Will
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.worker import Failed
from fedling_protocol.wire import envelope
from fedling_protocol.wire.chunks import Whole, has
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Chunk, Enrol, Join, State, StateCode
from fedling_protocol.wire.topics import Topics

LAST_WORD_S = 3.0


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message on its way out."""

    kind: Kind
    topic: str
    size: int  # bytes of the envelope
    plan_id: bytes | None
    meaning: str  # for people: "asks to take part in round 3 of watch"


class Outbox:
    """A message is in the log of what was sent before its first byte is handed to the link.

    The will and the last word, which say nothing but "offline", leave where the log cannot be
    written, too.
    """

    def __init__(
        self,
        clock: Clock,
        link: Link,
        ledger: Ledger,
        spool: Spool,
        writer: Writer,
        books: Books,
        topics: Topics,
        identity: Identity,
        tasks: tuple[str, ...],
    ) -> None:
        """Make it of its ports. tasks: whose plans are subscribed; none: the whole fleet's"""
        self._clock = clock
        self._link = link
        self._ledger = ledger
        self._spool = spool
        self._writer = writer
        self._books = books
        self._topics = topics
        self._identity = identity
        self._tasks = tasks

    # --- messages: `handed` is called when one is with the link, or was dropped ------------------

    def join(self, task: str, join: Join, meaning: str, handed: Done) -> None:
        """Ask to take part, or what became of an update."""
        topic = self._topics.of(Kind.JOIN, task, self._identity.device)
        data = self._seal(topic, join)
        self._send(
            _Letter(Kind.JOIN, topic, len(data), join.plan_id, meaning), lambda: data, handed
        )

    def update(
        self,
        entry: SpoolEntry,
        meaning: str,
        handed: Done,
        acknowledged: Done,
        damaged: Failed,
    ) -> None:
        """Send a spooled envelope, byte for byte. acknowledged: told when the MQTT broker has it.

        damaged: told Missing, if it is gone from the disk
        """
        topic = self._topics.of(Kind.UPDATE, entry.task, self._identity.device, entry.plan_id, 0)
        letter = _Letter(Kind.UPDATE, topic, entry.size, entry.plan_id, meaning)
        read = self._spool.envelope
        self._send(letter, lambda: read(entry), handed, acknowledged=acknowledged, failed=damaged)

    def update_chunks(
        self,
        entry: SpoolEntry,
        each: int,
        here: bytes,
        meaning: str,
        handed: Done,
        acknowledged: Done,
        damaged: Failed,
    ) -> None:
        """Send a spooled envelope in chunks of so many bytes, as update().

        here: those that are not sent, since the aggregator has them; if it has all, the last is
        """
        if not self._link.connected:
            handed()
            return
        whole = Whole(entry.update_hash, entry.size, each)
        numbers = [n for n in range(whole.count) if not has(here, n)] or [whole.count - 1]
        waiting = set(numbers)  # for their PUBACK

        def record() -> list[tuple[_Letter, bytes]]:
            data = self._spool.envelope(entry)
            made = [self._chunk(entry, whole, number, data, meaning) for number in numbers]
            self._ledger.record_sent(*(self._sent(letter) for letter, _ in made))
            return made

        def passed(number: int) -> None:
            waiting.discard(number)
            if not waiting:
                acknowledged()

        def publish(made: list[tuple[_Letter, bytes]]) -> None:
            for number, (letter, data) in zip(numbers, made, strict=True):
                self._hand(letter, data, partial(passed, number))
            handed()

        self._writer.do(record, publish, damaged)

    def _chunk(
        self, entry: SpoolEntry, whole: Whole, number: int, data: bytes, meaning: str
    ) -> tuple[_Letter, bytes]:
        device, plan_id = self._identity.device, entry.plan_id
        topic = self._topics.of(Kind.UPDATE, entry.task, device, plan_id, number)
        packet = self._seal(topic, whole.chunk(data, number))
        said = f"{meaning}, chunk {number + 1} of {whole.count}"
        return _Letter(Kind.UPDATE, topic, len(packet), plan_id, said), packet

    def enrol(self, ask: Enrol, meaning: str) -> None:
        """Ask for certificates."""
        topic = self._topics.of(Kind.ENROL, self._identity.device)
        data = self._seal(topic, ask)
        self._send(_Letter(Kind.ENROL, topic, len(data), None, meaning), lambda: data, lambda: None)

    def state(self, code: StateCode, version: int, why_not: str, handed: Done) -> None:
        """Tell the fleet what we do."""
        will = self.will(code, version, why_not)
        model = f"model {version}" if version else "no model"
        meaning = f"says: {', '.join(filter(None, (code, why_not, model)))}"
        self._send(self._of_will(will, meaning), lambda: will.payload, handed)

    def will(self, code: StateCode, version: int, why_not: str = "") -> Will:
        """Seal a state that the MQTT broker is to tell for us, or that we say last."""
        topic = self._topics.of(Kind.STATE, self._identity.device)
        return Will(topic, self._seal(topic, State(code, version, why_not)))

    def record_will(self, will: Will) -> None:
        """Log what the MQTT broker has from us since it accepted our connection."""
        meaning = "leaves with the MQTT broker, for when the connection breaks: offline"
        self._record(self._of_will(will, meaning), ignore, ignore)

    def leave(self, will: Will, done: Done) -> None:
        """Say the last word, and end the link; it says nothing where there is no connection."""
        if not self._link.connected:
            self._link.stop(will, done)
            return

        said = False

        def stop(_result: object) -> None:
            nonlocal said
            if not said:
                said = True
                self._link.stop(will, done)

        self._record(self._of_will(will, "says at the end: offline"), stop, stop)
        self._clock.after(LAST_WORD_S, partial(stop, None))  # the disk may hang

    def _of_will(self, will: Will, meaning: str) -> _Letter:
        return _Letter(Kind.STATE, will.topic, len(will.payload), None, meaning)

    def _record(
        self, letter: _Letter, then: Callable[[object], None], failed: Callable[[object], None]
    ) -> None:
        sent = self._sent(letter)
        self._writer.do(lambda: self._ledger.record_sent(sent), then, failed)

    def _seal(self, topic: str, message: Join | State | Enrol | Chunk) -> bytes:
        return envelope.seal(message, self._topics.bound(topic), self._identity.key)

    def _send(
        self,
        letter: _Letter,
        read: Callable[[], bytes],
        handed: Done,
        *,
        acknowledged: Done | None = None,
        failed: Failed | None = None,
    ) -> None:
        if not self._link.connected:
            handed()
            return
        sent = self._sent(letter)

        def record() -> bytes:
            data = read()
            self._ledger.record_sent(sent)
            return data

        def publish(data: bytes) -> None:
            self._hand(letter, data, acknowledged)
            handed()

        self._writer.do(record, publish, failed)

    def _hand(self, letter: _Letter, data: bytes, acknowledged: Done | None) -> None:
        """Hand a message that is in the log to the link."""
        retain = letter.kind.retained
        cut = self._count_cut if letter.kind is Kind.UPDATE else None
        if self._link.publish(letter.topic, data, retain=retain, done=acknowledged, cut=cut):
            self._books.on_sent(letter.kind, letter.plan_id, letter.topic, letter.size)

    def _sent(self, letter: _Letter) -> Sent:
        now_ms = int(self._clock.wall() * 1000)
        return Sent(
            now_ms, letter.kind.word, letter.topic, letter.size, letter.plan_id, letter.meaning
        )

    def _count_cut(self) -> None:
        """The connection was cut while an update was on its way; the link says which."""
        self._books.count("updates cut off")

    # --- subscriptions ---------------------------------------------------------------------------

    def subscribe_all(self) -> None:
        """Subscribe to all that this device always wants; after each connect."""
        self._link.subscribe(self._topics.device_subscriptions(self._identity.device, self._tasks))

    def ask_plans(self) -> None:
        """Have what is retained of plans sent again."""
        self._link.subscribe(self._topics.subscriptions(Kind.PLAN, tasks=self._tasks))

    def ask_keys(self) -> None:
        """Have certificates sent again: they may have come before that of who signed them."""
        self._link.subscribe(self._topics.subscriptions(Kind.KEYS, device=self._identity.device))

    def subscribe_model(self, task: str, version: int) -> None:
        """Ask for a model: the MQTT broker sends what it retains there, at once."""
        self._link.subscribe([self._topics.of(Kind.MODEL, task, version)])

    def subscribe_changes(self, task: str, versions: Iterable[int]) -> None:
        """Ask for how models follow from the versions before, as subscribe_model()."""
        self._link.subscribe([self._topics.of(Kind.CHANGE, task, v) for v in versions])

    def subscribe_chunks(self, task: str, whole: Kind, version: int, chunks: Iterable[int]) -> None:
        """Ask for chunks of a model or change, as subscribe_model()."""
        self._link.subscribe(self._chunks(task, whole, version, chunks))

    def unsubscribe_model(self, task: str, version: int, changes: Iterable[int]) -> None:
        """Ask for no further message of it; one that is on its way still comes."""
        topics = [self._topics.of(Kind.CHANGE, task, v) for v in changes]
        self._link.unsubscribe([self._topics.of(Kind.MODEL, task, version), *topics])

    def unsubscribe_chunks(
        self, task: str, whole: Kind, version: int, chunks: Iterable[int]
    ) -> None:
        """Ask for these chunks no longer, as unsubscribe_model()."""
        self._link.unsubscribe(self._chunks(task, whole, version, chunks))

    def _chunks(self, task: str, whole: Kind, version: int, chunks: Iterable[int]) -> list[str]:
        return [self._topics.of(Kind.CHUNK, task, whole.word, version, n) for n in chunks]
