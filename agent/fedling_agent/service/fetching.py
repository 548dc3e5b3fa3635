"""How a model comes to this device: whole or in chunks, or as what the last one must change by."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import field, replace
from functools import partial

from fedling_agent.service.parts import Parts
from fedling_agent.session import events as ev
from fedling_agent.session.state import Fetch
from fedling_agent.store.models import StoredModel
from fedling_native import NativeError
from fedling_native.integers import read_change, read_model
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import Missing
from fedling_protocol.runtime.slices import finish
from fedling_protocol.runtime.worker import Failed
from fedling_protocol.wire import digest
from fedling_protocol.wire.chunks import Whole
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_SMALL
from fedling_protocol.wire.messages import Change, Chunk, Model, Plan, Rest, TaskSpec
from fedling_protocol.wire.topics import Address

log = logging.getLogger(__name__)

Came = Callable[[int], None]
Stored = Callable[[int, bytes], None]
WINDOW = 4  # chunks that are asked for at once: so many may still come when none is wanted any more


@dataclass(slots=True)
class _Coming:
    """A message that comes in chunks."""

    kind: Kind  # of the message
    version: int
    whole: Whole
    missing: deque[int] = field(default_factory=deque)  # nobody asked for them yet
    asked: dict[int, bool] = field(default_factory=dict)  # not on disk yet; True: they have come

    def fits(self, chunk: Chunk, address: Address) -> bool:
        """Whether it is a chunk of this message, as its topic, its hash and its length tell."""
        if (address.whole, address.version) != (self.kind.word, self.version):
            return False
        return self.whole.fits(chunk, address.chunk or 0)


class Fetching:
    """The model that a task waits for.

    A change is asked for when the version before is here; what it gives is believed by its hash,
    which the plan names. If it is of no use, the whole model is asked for. Of a message that is
    cut, by the plan, only those chunks are asked for that are not on disk.
    """

    def __init__(self, task: str, parts: Parts, came: Came, stored: Stored, failed: Failed) -> None:
        """came: told the version, as often as a chunk of its model is on disk.
        stored: told the version and the hash of what is on disk."""
        self._task = task
        self._parts = parts
        self._came = came
        self._stored = stored
        self._failed = failed
        self._named: Plan | Rest | None = None  # the last
        self._asked: tuple[Kind, int] | None = None  # the message that is waited for: its version
        self._coming: _Coming | None = None  # the same, if it is cut

    def see(self, message: Plan | Rest) -> None:
        """Hear which model is the newest; what is waited for may be cut in another way now."""
        before, self._named = self._named, message
        if self._asked is None or before is None or before.chunked == message.chunked:
            return
        kind, version = self._asked
        if version == message.moment.version:
            self.cancel(version)
            self._ask(kind, version)

    def begin(self, action: ev.FetchModel) -> None:
        """Ask for a model that is not here yet."""
        is_near = self._has_change(action.version) and self._before(action.version) is not None
        self._ask(Kind.CHANGE if is_near else Kind.MODEL, action.version)

    def cancel(self, version: int) -> None:
        """Ask for it no longer. Chunks that are here stay."""
        self._parts.outbox.unsubscribe_model(self._task, version)
        coming = self._coming
        if coming is not None:
            outbox, asked = self._parts.outbox, list(coming.asked)
            outbox.unsubscribe_chunks(self._task, coming.kind, coming.version, asked)
        self.close()

    def close(self) -> None:
        """Do nothing more about what was asked for."""
        self._asked = self._coming = None

    def take(self, message: Model | Change, fetch: Fetch) -> bool:
        """Take in the version that was asked for. False: it is another model."""
        if isinstance(message, Model) and not message.packed and _hash(message) != fetch.model_hash:
            return False
        self.cancel(fetch.version)
        named = self._named

        def put() -> bool:
            model = self._written_out(message, named)
            is_it = model is not None and _hash(model) == fetch.model_hash
            if model is not None and is_it:
                self._parts.store.models.put(model, fetch.moment.generation, fetch.model_hash)
            self._parts.store.chunks.forget(self._task)
            return is_it

        def done(is_stored: bool) -> None:
            if is_stored:
                self._stored(fetch.version, fetch.model_hash)
            else:
                kind = Kind.CHANGE if isinstance(message, Change) else Kind.MODEL
                self._on_useless(kind, message.version)

        self._parts.writer.do(put, done, self._failed)
        return True

    def _on_useless(self, kind: Kind, version: int) -> None:
        """After a change the whole model; after that a while later, as if it had not come."""
        what = "the change to model" if kind is Kind.CHANGE else "model"
        log.warning("%s: %s %d gives another model", self._task, what, version)
        self._parts.books.count("models of no use")
        if kind is Kind.CHANGE and self._has_change(version):  # else another one is the newest now
            self._ask(Kind.MODEL, version)

    # --- a message in chunks ---------------------------------------------------------------------

    @property
    def largest_chunk(self) -> int:
        """The most bytes of a message that brings a chunk; 0: none is waited for."""
        return 0 if self._coming is None else self._coming.whole.each + MAX_SMALL

    def chunk(self, chunk: Chunk, address: Address) -> bool:
        """Take in a verified chunk. False: not one that was asked for."""
        coming, number = self._coming, address.chunk or 0
        if coming is None or number in coming.missing or not coming.fits(chunk, address):
            return False
        if coming.asked.get(number) is False:  # else it has come twice
            coming.asked[number] = True
            outbox, chunks = self._parts.outbox, self._parts.store.chunks
            outbox.unsubscribe_chunks(self._task, coming.kind, coming.version, [number])
            put = partial(chunks.put, self._task, coming.whole, number, chunk.data)
            self._parts.writer.do(put, lambda _: self._on_put(coming, number), self._failed)
        return True

    def _ask(self, kind: Kind, version: int) -> None:
        self._asked, self._coming = (kind, version), None
        whole = self._whole(kind, version)
        if whole is not None:
            coming = self._coming = _Coming(kind, version, whole)
            missing = partial(self._parts.store.chunks.missing, self._task, whole)
            self._parts.writer.do(missing, partial(self._on_missing, coming), self._failed)
        elif kind is Kind.CHANGE:
            self._parts.outbox.subscribe_change(self._task, version)
        else:
            self._parts.outbox.subscribe_model(self._task, version)

    def _whole(self, kind: Kind, version: int) -> Whole | None:
        """What the last plan or rest says of a message that is cut; None: it comes as one."""
        named = self._named
        if named is None or named.chunked is None or named.moment.version != version:
            return None
        cut, is_change = named.chunked, kind is Kind.CHANGE
        name = cut.change if is_change else cut.model
        size = named.change_size if is_change else named.model_size
        return None if name is None or size is None else Whole(name, size, cut.size)

    def _on_missing(self, coming: _Coming, missing: list[int]) -> None:
        if self._coming is coming:
            if here := coming.whole.count - len(missing):
                log.info("%s: %d chunks of %d are here", self._task, here, coming.whole.count)
            coming.missing.extend(missing)
            self._go_on(coming)

    def _on_put(self, coming: _Coming, number: int) -> None:
        if self._coming is coming:
            del coming.asked[number]
            self._came(coming.version)
            self._go_on(coming)

    def _go_on(self, coming: _Coming) -> None:
        """Ask for what is missing, some at a time; when nothing is, the message is made of it."""
        wanted = [coming.missing.popleft() for _ in range(_room(coming))]
        coming.asked.update(dict.fromkeys(wanted, False))
        if wanted:
            outbox = self._parts.outbox
            outbox.subscribe_chunks(self._task, coming.kind, coming.version, wanted)
        elif not coming.asked:
            join = partial(self._join, coming.whole)
            self._parts.writer.do(join, partial(self._on_joined, coming), self._failed)

    def _join(self, whole: Whole) -> bytes | None:
        """The message of all its chunks; None: it is another one, and they are of no use."""
        chunks = self._parts.store.chunks
        try:
            return chunks.join(self._task, whole)
        except Missing as missing:
            log.error("%s", missing)
            chunks.forget(self._task)
            return None

    def _on_joined(self, coming: _Coming, data: bytes | None) -> None:
        if self._coming is not coming:
            return
        topic = self._parts.topics.of(coming.kind, self._task, coming.version)
        if data is None or not self._parts.take_whole(topic, data):
            self.close()
            self._on_useless(coming.kind, coming.version)

    # --- what a message gives --------------------------------------------------------------------

    def _has_change(self, version: int) -> bool:
        """Whether there is a change to this version, as the last plan or rest says."""
        named = self._named
        if named is None or named.change_size is None:
            return False
        return named.moment.version == version

    def _before(self, version: int) -> StoredModel | None:
        newest = self._parts.store.models.newest(self._task)
        return newest if newest is not None and newest.version == version - 1 else None

    def _written_out(self, message: Model | Change, named: Plan | Rest | None) -> Model | None:
        """A model with canonical weights. None: nothing says such a one."""
        try:
            if isinstance(message, Change):
                return None if named is None else self._changed(message, named.spec)
            if not message.packed:
                return message
            weights = read_model(message.spec.layers, message.weights)
        except (NativeError, Missing):
            return None
        return replace(message, weights=weights, packed=False)

    def _changed(self, message: Change, spec: TaskSpec) -> Model | None:
        before = self._before(message.version)
        if before is None or before.spec.layers != spec.layers:
            return None
        if len(message.exponents) != len(before.exponents):
            return None
        pairs = zip(message.exponents, before.exponents, strict=True)
        held = finish(self._parts.store.models.weights(before))
        weights = read_change(before.spec.layers, [e - b for e, b in pairs], message.steps, held)
        return Model(message.version, spec, message.exponents, weights, message.drawn)


def _room(coming: _Coming) -> int:
    """How many chunks may be asked for now."""
    return min(len(coming.missing), max(0, WINDOW - len(coming.asked)))


def _hash(model: Model) -> bytes:
    return digest.model_hash(model.spec, model.exponents, model.weights)
