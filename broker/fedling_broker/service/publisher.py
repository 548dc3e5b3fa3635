"""All that the aggregator says: sealed with its online key, on the topic that it is for.

Nothing waits here for a connection: what is retained is said again after the next connect, and who
waits for an answer asks again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

from fedling_broker.aggregation import changes
from fedling_broker.authority.certificates import ROOTS, topic_of
from fedling_broker.service.chunking import Chunking, Packets
from fedling_broker.service.holding import Holding
from fedling_broker.store.devices import Certified
from fedling_broker.store.models import ModelRow, Models
from fedling_broker.store.withdrawn import PLAN, Leftover
from fedling_protocol.classes import dataclass
from fedling_protocol.net.framing import publish_size
from fedling_protocol.net.ports import Done, Link
from fedling_protocol.runtime.worker import Failed, Worker
from fedling_protocol.wire import counted, envelope
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_RECENT
from fedling_protocol.wire.messages import (
    Change,
    Chunked,
    Enrolled,
    Model,
    OfEpoch,
    Plan,
    PlanKind,
    Receipt,
    Recent,
    Rest,
    Tasks,
    TaskSpec,
    Ticket,
)
from fedling_protocol.wire.payload import kind_of
from fedling_protocol.wire.topics import Topics


@dataclass(frozen=True, slots=True)
class Retained:
    """A version of a model that the MQTT broker got on this connection."""

    version: int
    size: int  # bytes of the message
    changes: tuple[int, ...]  # bytes of each change: to this version, to the one before, ...
    chunked: Chunked  # which of the newest came in chunks

    @property
    def change(self) -> int | None:
        """Bytes of the message that says how it follows from the version before, if any does."""
        return self.changes[0] if self.changes else None

    @property
    def recent(self) -> Recent | None:
        """What a plan or rest says of several changes."""
        changes = self.changes
        return Recent(len(changes), sum(changes)) if len(changes) > 1 else None

    def has_change(self, version: int) -> bool:
        """Whether devices may still fetch the change to a version."""
        return self.version - len(self.changes) < version <= self.version

    def cut(self, update: int) -> Chunked | None:
        """What a plan or rest says of chunks. update: bytes that its updates have at most"""
        chunked = self.chunked
        any_cut = chunked.model is not None or chunked.change is not None
        return chunked if any_cut or update > chunked.size else None


@dataclass(frozen=True, slots=True)
class Wish:
    """That a version of a model is retained, and who wishes it.

    wanted: asked again when it is sealed; if it is not, nothing is published or told
    note:   writes down, before they are said, that there are so many chunks, then calls
    then:   told how many bytes its messages have
    failed: told what is wrong with its file
    """

    wanted: Callable[[], bool]
    note: Callable[[int, Done], None]
    then: Callable[[Retained], None]
    failed: Failed


@dataclass(frozen=True, slots=True)
class Sealed:
    """The messages of a version."""

    model: Packets
    change: Packets | None

    @property
    def all(self) -> tuple[Packets, ...]:
        """In the order in which they are said."""
        return (self.model,) if self.change is None else (self.change, self.model)


class Publisher:
    """Words of the running aggregator. compute: where models are sealed, which takes a while."""

    def __init__(
        self,
        link: Link,
        compute: Worker,
        topics: Topics,
        key: SigningKey,
        holding: Holding,
        count: Callable[[str, int], None],
        largest_packet: int,
    ) -> None:
        self._link = link
        self._count = count
        self._compute = compute
        self._topics = topics
        self._key = key
        self._holding = holding
        self._chunking = Chunking(topics, key, largest_packet)
        self._models: dict[str, Retained] = {}  # the newest of each task
        self._kinds: dict[str, PlanKind] = {}  # of the plan, where tasks have several
        self.epoch = 0  # in which all is said

    @property
    def chunk_size(self) -> int:
        """Bytes of a large message in each of its chunks, both ways."""
        return self._chunking.size

    def connected(self) -> None:
        """What the MQTT broker got before, it may have forgotten."""
        self._models.clear()
        self._kinds.clear()
        self._holding.connected()

    def lost(self) -> None:
        """Hear that the connection has ended."""
        self._holding.lost()

    # --- to one device ---------------------------------------------------------------------------

    def ticket(self, task: str, device: str, ticket: Ticket) -> None:
        self._say(self._topics.of(Kind.TICKET, task, device), ticket)

    def receipt(self, task: str, device: str, receipt: Receipt) -> None:
        self._say(self._topics.of(Kind.RECEIPT, task, device), receipt)

    def enrolled(self, device: str, answer: Enrolled) -> None:
        """Answer a device that asked for certificates."""
        topic = self._topics.of(Kind.ENROLLED, device)
        if self._link.connected:
            sealed = envelope.seal(answer, self._topics.bound(topic), self._key)
            self._publish(Kind.ENROLLED, topic, sealed)

    # --- what is retained ------------------------------------------------------------------------

    def certificate(self, certified: Certified, done: Done | None = None) -> None:
        """Retain a certificate, a tombstone, or the chain of root keys."""
        topic = topic_of(self._topics, certified.id)
        kind = Kind.ROOTS if certified.id == ROOTS else Kind.KEYS
        self._publish(kind, topic, certified.envelope, retain=True, done=done)

    def tasks(self, message: Tasks) -> None:
        self._say(self._topics.of(Kind.TASKS), message, retain=True)

    def plan(self, task: str, message: Plan | Rest) -> None:
        """A task has one plan, or rest: what was said as another kind of plan is emptied."""
        kind = message.kind if isinstance(message, Plan) else PlanKind.TRAIN
        topic = self._topics.of(Kind.PLAN, task, kind)
        if not self._link.connected:
            return
        self._publish_large(task, Kind.PLAN, topic, self._seal(topic, message))
        if message.spec.normalise == "fleet" and self._kinds.get(task) is not kind:
            self._kinds[task] = kind
            for other in set(PlanKind) - {kind}:
                self._no_plan(task, other)

    def model(self, models: Models, spec: TaskSpec, row: ModelRow, wish: Wish) -> None:
        """See that a version of the model is retained.

        Without a connection nothing is sealed or told, and not before the MQTT broker is given
        another try, if it took the task's last ones badly.
        """
        again = partial(self.model, models, spec, row, wish)
        if self._holding.wait(spec.task, again):
            return
        found = self._models.get(spec.task)
        if found is not None and found.version == row.version:
            wish.then(found)
        elif self._link.connected:
            self._compute.do(
                lambda: self._seal_model(models, spec, row),
                lambda sealed: self._note_model(spec.task, row.version, sealed, wish),
                wish.failed,
            )

    def no_model(self, task: str, version: int, chunks: int, done: Done | None = None) -> None:
        """done: the MQTT broker has forgotten it, and all chunks: so many it may hold of each
        message. A change that is one message stays."""
        for kind, number in product((Kind.CHANGE, Kind.MODEL), range(chunks)):
            topic = self._topics.of(Kind.CHUNK, task, kind.word, version, number)
            self._publish(Kind.CHUNK, topic, b"", retain=True)
        topic = self._topics.of(Kind.MODEL, task, version)
        self._publish(Kind.MODEL, topic, b"", retain=True, done=done)

    def no_change(self, task: str, version: int, done: Done | None = None) -> None:
        """done: the MQTT broker has forgotten it."""
        topic = self._topics.of(Kind.CHANGE, task, version)
        self._publish(Kind.CHANGE, topic, b"", retain=True, done=done)

    def nothing(self, left: Leftover, done: Done) -> None:
        """done: the MQTT broker has forgotten what it held of a removed task."""
        if left.version == PLAN:
            *others, last = PlanKind  # what is published first is taken in first
            for kind in others:
                self._no_plan(left.task, kind)
            self._no_plan(left.task, last, done)
        else:
            self.no_change(left.task, left.version)
            self.no_model(left.task, left.version, left.chunks, done)

    def _no_plan(self, task: str, kind: PlanKind, done: Done | None = None) -> None:
        topic = self._topics.of(Kind.PLAN, task, kind)
        self._publish(Kind.PLAN, topic, b"", retain=True, done=done)

    def forget_task(self, task: str) -> None:
        """The task is no more: a version of another one of its name is another model."""
        self._models.pop(task, None)
        self._kinds.pop(task, None)
        self._holding.forget(task)

    def _seal_model(self, models: Models, spec: TaskSpec, row: ModelRow) -> Sealed:
        """In as few bytes as it can be said; a change only if it has fewer."""
        weights, task, version = models.bytes_of(row, spec), spec.task, row.version
        whole, steps = changes.whole(spec.layers, weights), models.change(row, spec)
        model = Model(version, row.spec(spec), row.exponents, weights, row.drawn)
        if whole is not None and len(whole) < len(weights):
            model = replace(model, weights=whole, packed=True)
        said = self._seal_fixed(task, model)
        if steps is None or len(steps) >= len(model.weights):
            return Sealed(said, None)
        change = Change(version, row.exponents, steps, row.drawn)
        return Sealed(said, self._seal_fixed(task, change))

    def _seal_fixed(self, task: str, message: Model | Change) -> Packets:
        """Seal what is the same in all epochs."""
        kind, version = kind_of(message), message.version
        bound = self._topics.bound(self._topics.of(kind, task, version))
        return self._chunking.of(envelope.seal(message, bound, self._key), kind, task, version)

    def _note_model(self, task: str, version: int, sealed: Sealed, wish: Wish) -> None:
        """What the MQTT broker holds is to be emptied some day, also after a crash."""
        publish = partial(self._publish_model, task, version, sealed, wish)
        chunks = max(packets.chunks for packets in sealed.all)
        if not wish.wanted():
            return
        if chunks:
            wish.note(chunks, publish)
        else:
            publish()

    def _publish_model(self, task: str, version: int, sealed: Sealed, wish: Wish) -> None:
        if not (wish.wanted() and self._link.connected):
            return
        for packets in sealed.all:
            for topic, packet in packets.packets:
                self._publish_large(task, packets.kind, topic, packet)
        self._models[task] = self._retained(version, sealed, self._models.get(task))
        wish.then(self._models[task])

    def _retained(self, version: int, sealed: Sealed, before: Retained | None) -> Retained:
        """before: of the task on this connection; its changes stay as long as they are less."""
        model, change = sealed.model, sealed.change
        chunked = Chunked(self._chunking.size, model.whole, change.whole if change else None)
        if change is None:
            return Retained(version, model.size, (), chunked)
        changes = worth_keeping(model.size, [change.size, *_older(version, chunked, before)])
        return Retained(version, model.size, changes, chunked)

    def _say(self, topic: str, message: OfEpoch, *, retain: bool = False) -> None:
        if self._link.connected:
            self._publish(kind_of(message), topic, self._seal(topic, message), retain=retain)

    def _seal(self, topic: str, message: OfEpoch) -> bytes:
        dated = replace(message, epoch=self.epoch)
        return envelope.seal(dated, self._topics.bound(topic), self._key)

    def _publish_large(self, task: str, kind: Kind, topic: str, message: bytes) -> bool:
        """Retain what may be larger than the MQTT broker takes. False: not connected.

        kind: as its counter and whoever holds it back shall call it
        """
        return self._publish(
            kind,
            topic,
            message,
            retain=True,
            done=lambda: self._holding.passed(task, kind.word),
            cut=lambda: self._holding.cut(task, kind.word, len(message)),
        )

    def _publish(
        self,
        kind: Kind,
        topic: str,
        message: bytes,
        *,
        retain: bool = False,
        done: Done | None = None,
        cut: Done | None = None,
    ) -> bool:
        """Hand a message to the link, and count its bytes. False: not connected."""
        handed = self._link.publish(topic, message, retain=retain, done=done, cut=cut)
        if handed:
            self._count(counted.sent(kind), publish_size(topic, len(message)))
        return handed


def worth_keeping(model: int, changes: Sequence[int]) -> tuple[int, ...]:
    """Sizes of so many of the last changes, newest first, as are less to fetch than the model.

    model, changes: bytes of the messages
    """
    count = min(len(changes), MAX_RECENT)
    while count > 1 and sum(changes[:count]) >= model:
        count -= 1
    return tuple(changes[:count])


def _older(version: int, chunked: Chunked, before: Retained | None) -> tuple[int, ...]:
    """Bytes of the changes that lead to the version before, if none of them is cut."""
    if before is None or before.version != version - 1:
        return ()
    if chunked.change is not None or before.chunked.change is not None:
        return ()
    return before.changes
