"""How a model comes to this device: whole or in chunks, or as what the last one must change by."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import field, replace
from functools import partial

from fedling_agent.service.parts import Parts
from fedling_agent.session import events as ev
from fedling_agent.session.state import Fetch
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
from fedling_protocol.wire.messages import Change, Chunk, Model, Plan, Rest
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

    Changes are asked for when all are retained since the version that is here; what they give is
    believed by its hash, which the plan names. If they are of no use, or do not come, the whole
    model is asked for. Of a message that is cut, by the plan, only those chunks are asked for that
    are not on disk.
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
        self._changes: dict[int, Change | None] = {}  # that are waited for, up to that version
        self._putting: object | None = None  # what has come goes to the disk, and is still wanted
        self._begun: bytes | None = None  # the hash of the model that was asked for last
        self._unchanging: bytes | None = None  # of one to which changes did not lead

    def see(self, message: Plan | Rest) -> None:
        """Hear which model is the newest; what is waited for may come in another way now."""
        before, self._named = self._named, message
        if self._asked is None or before is None:
            return
        if (before.chunked, before.recent) == (message.chunked, message.recent):
            return
        kind, version = self._asked
        if version == message.moment.version:
            self.cancel(version)
            self._ask(kind, version)

    def begin(self, action: ev.FetchModel) -> None:
        """Ask for a model that is not here yet."""
        self._begun = action.model_hash
        by_changes = self._begun != self._unchanging
        self._ask(Kind.CHANGE if by_changes else Kind.MODEL, action.version)

    def late(self) -> None:
        """Hear that what was asked for has not come in time: of changes one may be gone."""
        if self._changes:
            self._unchanging = self._begun

    def cancel(self, version: int) -> None:
        """Ask for it no longer. Chunks that are here stay."""
        changes = self._changes or (version,)
        self._parts.outbox.unsubscribe_model(self._task, version, changes)
        coming = self._coming
        if coming is not None:
            outbox, asked = self._parts.outbox, list(coming.asked)
            outbox.unsubscribe_chunks(self._task, coming.kind, coming.version, asked)
        self.close()

    def close(self) -> None:
        """Do nothing more about what was asked for."""
        self._asked = self._coming = self._putting = None
        self._changes = {}

    def take(self, message: Model | Change, fetch: Fetch) -> bool:
        """Take in what was asked for. False: it is another model."""
        if isinstance(message, Change):
            return self._take_change(message, fetch)
        if message.version != fetch.version:
            return False
        if not message.packed and _hash(message) != fetch.model_hash:
            return False
        self._put(Kind.MODEL, partial(_written_out, message), fetch)
        return True

    def _take_change(self, change: Change, fetch: Fetch) -> bool:
        """Keep one until the others are here. False: not one that was asked for."""
        changes = self._changes
        if change.version not in changes:
            return False
        others = [c for v, c in changes.items() if c is not None and v != change.version]
        size = len(change.steps) + sum(len(other.steps) for other in others)
        if len(changes) > 1 and size > self._recent_size:
            return False
        changes[change.version] = change
        if len(others) + 1 == len(changes):
            in_order = [c for c in changes.values() if c is not None]
            self._put(Kind.CHANGE, partial(self._changed, in_order, self._named), fetch)
        return True

    def _put(self, kind: Kind, make: Callable[[], Model | None], fetch: Fetch) -> None:
        """Store what the messages give, if it is the model that was named."""
        self.cancel(fetch.version)
        putting = self._putting = object()

        def put() -> bool:
            model = make()
            is_it = model is not None and _hash(model) == fetch.model_hash
            if model is not None and is_it:
                self._parts.store.models.put(model, fetch.moment.generation, fetch.model_hash)
            if is_it or kind is Kind.MODEL:  # else some of the model may be here
                self._parts.store.chunks.forget(self._task)
            return is_it

        def done(is_stored: bool) -> None:
            if is_stored:
                self._stored(fetch.version, fetch.model_hash)
            else:
                self._on_useless(kind, fetch.version, wanted=self._putting is putting)

        self._parts.writer.do(put, done, self._failed)

    def _on_useless(self, kind: Kind, version: int, *, wanted: bool) -> None:
        """After a change the whole model; after that a while later, as if it had not come.

        wanted: nothing else was asked for, or forbidden, meanwhile
        """
        what = "the change to model" if kind is Kind.CHANGE else "model"
        log.warning("%s: %s %d gives another model", self._task, what, version)
        self._parts.books.count("models of no use")
        if kind is Kind.CHANGE and wanted and self._has_change(version):  # it is still the newest
            self._unchanging = self._begun
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
        """Ask for changes, if they lead to this version from what is here; else for the model."""
        missed = self._missed(version) if kind is Kind.CHANGE else range(0)
        kind = Kind.CHANGE if missed else Kind.MODEL
        self._changes = dict.fromkeys(missed)
        self._asked, self._coming = (kind, version), None
        whole = self._whole(kind, version)
        if whole is not None:
            coming = self._coming = _Coming(kind, version, whole)
            missing = partial(self._parts.store.chunks.missing, self._task, whole)
            self._parts.writer.do(missing, partial(self._on_missing, coming), self._failed)
        elif kind is Kind.CHANGE:
            self._parts.outbox.subscribe_changes(self._task, missed)
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
            self._on_useless(coming.kind, coming.version, wanted=True)

    # --- what a message gives --------------------------------------------------------------------

    def _has_change(self, version: int) -> bool:
        """Whether there is a change to this version, as the last plan or rest says."""
        named = self._named
        if named is None or named.change_size is None:
            return False
        return named.moment.version == version

    @property
    def _recent_size(self) -> int:
        """Bytes of all changes that are retained, if there are several."""
        named = self._named
        return 0 if named is None or named.recent is None else named.recent.size

    def _missed(self, version: int) -> range:
        """The versions whose changes lead from the model that is here; none: they do not."""
        newest, named = self._parts.store.models.newest(self._task), self._named
        if newest is None or named is None or not self._has_change(version):
            return range(0)
        count = 1 if named.recent is None else named.recent.count
        first = newest.version + 1
        return range(first, version + 1) if first > version - count else range(0)

    def _changed(self, changes: list[Change], named: Plan | Rest | None) -> Model | None:
        """What changes make of the model before the first. None: they do not fit it."""
        before, last = self._parts.store.models.newest(self._task), changes[-1]
        if named is None or before is None or before.version != changes[0].version - 1:
            return None
        layers, exponents = before.spec.layers, before.exponents
        if layers != named.spec.layers:
            return None
        try:
            weights = finish(self._parts.store.models.weights(before))
            for change in changes:
                if len(change.exponents) != len(exponents):
                    return None
                pairs = zip(change.exponents, exponents, strict=True)
                weights = read_change(layers, [e - b for e, b in pairs], change.steps, weights)
                exponents = change.exponents
        except (NativeError, Missing):
            return None
        return Model(last.version, named.spec, exponents, weights, last.drawn)


def _room(coming: _Coming) -> int:
    """How many chunks may be asked for now."""
    return min(len(coming.missing), max(0, WINDOW - len(coming.asked)))


def _written_out(message: Model) -> Model | None:
    """A model with canonical weights. None: it says none."""
    if not message.packed:
        return message
    try:
        weights = read_model(message.spec.layers, message.weights)
    except NativeError:
        return None
    return replace(message, weights=weights, packed=False)


def _hash(model: Model) -> bytes:
    return digest.model_hash(model.spec, model.exponents, model.weights)
