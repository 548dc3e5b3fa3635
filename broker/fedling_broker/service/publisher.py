"""All that the aggregator says: sealed with its online key, on the topic that it is for.

Nothing waits here for a connection: what is retained is said again after the next connect, and who
waits for an answer asks again.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from fedling_broker.aggregation import changes
from fedling_broker.authority.certificates import ROOTS, topic_of
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
from fedling_protocol.wire.messages import (
    Change,
    Enrolled,
    Model,
    OfEpoch,
    Plan,
    PlanKind,
    Receipt,
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
    change: int | None  # bytes of the message that says how it follows from the version before


@dataclass(frozen=True, slots=True)
class Sealed:
    """The messages of a version."""

    model: bytes
    change: bytes | None


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
    ) -> None:
        self._link = link
        self._count = count
        self._compute = compute
        self._topics = topics
        self._key = key
        self._holding = holding
        self._models: dict[str, Retained] = {}  # the newest of each task
        self._kinds: dict[str, PlanKind] = {}  # of the plan, where tasks have several
        self.epoch = 0  # in which all is said

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

    def model(
        self,
        models: Models,
        spec: TaskSpec,
        row: ModelRow,
        wanted: Callable[[], bool],
        then: Callable[[Retained], None],
        failed: Failed,
    ) -> None:
        """See that a version of the model is retained; then: told how many bytes its messages have.

        wanted: asked again when it is sealed; if it is not, nothing is published or told
        failed: told what is wrong with its file. Without a connection nothing is sealed or told,
        and not before the MQTT broker is given another try, if it took the task's last ones badly.
        """
        again = partial(self.model, models, spec, row, wanted, then, failed)
        if self._holding.wait(spec.task, again):
            return
        found = self._models.get(spec.task)
        if found is not None and found.version == row.version:
            then(found)
        elif self._link.connected:
            self._compute.do(
                lambda: self._seal_model(models, spec, row),
                lambda sealed: self._publish_model(spec.task, row.version, sealed, wanted, then),
                failed,
            )

    def no_model(self, task: str, version: int, done: Done | None = None) -> None:
        """done: the MQTT broker has forgotten it."""
        self._publish(Kind.CHANGE, self._topics.of(Kind.CHANGE, task, version), b"", retain=True)
        topic = self._topics.of(Kind.MODEL, task, version)
        self._publish(Kind.MODEL, topic, b"", retain=True, done=done)

    def nothing(self, left: Leftover, done: Done) -> None:
        """done: the MQTT broker has forgotten what it held of a removed task."""
        if left.version == PLAN:
            *others, last = PlanKind  # what is published first is taken in first
            for kind in others:
                self._no_plan(left.task, kind)
            self._no_plan(left.task, last, done)
        else:
            self.no_model(left.task, left.version, done)

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
        said = self._seal_fixed(self._topics.of(Kind.MODEL, task, version), model)
        if steps is None or len(steps) >= len(model.weights):
            return Sealed(said, None)
        change = Change(version, row.exponents, steps, row.drawn)
        return Sealed(said, self._seal_fixed(self._topics.of(Kind.CHANGE, task, version), change))

    def _seal_fixed(self, topic: str, message: Model | Change) -> bytes:
        """Seal what is the same in all epochs."""
        return envelope.seal(message, self._topics.bound(topic), self._key)

    def _publish_model(
        self,
        task: str,
        version: int,
        sealed: Sealed,
        wanted: Callable[[], bool],
        then: Callable[[Retained], None],
    ) -> None:
        if not wanted():
            return
        change = None
        if sealed.change is not None:
            topic, change = self._topics.of(Kind.CHANGE, task, version), len(sealed.change)
            self._publish_large(task, Kind.CHANGE, topic, sealed.change)
        topic = self._topics.of(Kind.MODEL, task, version)
        if self._publish_large(task, Kind.MODEL, topic, sealed.model):
            self._models[task] = Retained(version, len(sealed.model), change)
            then(self._models[task])

    def _say(self, topic: str, message: OfEpoch, *, retain: bool = False) -> None:
        if self._link.connected:
            self._publish(kind_of(message), topic, self._seal(topic, message), retain=retain)

    def _seal(self, topic: str, message: OfEpoch) -> bytes:
        dated = replace(message, epoch=self.epoch)
        return envelope.seal(dated, self._topics.bound(topic), self._key)

    def _publish_large(self, task: str, kind: Kind, topic: str, message: bytes) -> bool:
        """Retain what may be larger than the MQTT broker takes. False: not connected."""
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
