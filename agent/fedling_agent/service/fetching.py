"""How a model comes to this device: whole, or as what the last one must change by."""

import logging
from collections.abc import Callable
from dataclasses import replace

from fedling_agent.service.parts import Parts
from fedling_agent.session import events as ev
from fedling_agent.session.state import Fetch
from fedling_agent.store.models import StoredModel
from fedling_native import NativeError
from fedling_native.integers import read_change, read_model
from fedling_protocol.disk.errors import Missing
from fedling_protocol.runtime.slices import finish
from fedling_protocol.runtime.worker import Failed
from fedling_protocol.wire import digest
from fedling_protocol.wire.messages import Change, Model, Plan, Rest, TaskSpec

log = logging.getLogger(__name__)

Stored = Callable[[int, bytes], None]


class Fetching:
    """The model that a task waits for.

    A change is asked for when the version before is here; what it gives is believed by its hash,
    which the plan names. If it is of no use, the whole model is asked for.
    """

    def __init__(self, task: str, parts: Parts, stored: Stored, failed: Failed) -> None:
        """stored: told the version and the hash of what is on disk."""
        self._task = task
        self._parts = parts
        self._stored = stored
        self._failed = failed
        self._named: Plan | Rest | None = None  # the last

    def see(self, message: Plan | Rest) -> None:
        """Hear which model is the newest."""
        self._named = message

    def begin(self, action: ev.FetchModel) -> None:
        """Ask for a model that is not here yet."""
        if self._has_change(action.version) and self._before(action.version) is not None:
            self._parts.outbox.subscribe_change(self._task, action.version)
        else:
            self._parts.outbox.subscribe_model(self._task, action.version)

    def take(self, message: Model | Change, fetch: Fetch) -> bool:
        """Take in the version that was asked for. False: it is another model."""
        if isinstance(message, Model) and not message.packed and _hash(message) != fetch.model_hash:
            return False
        self._parts.outbox.unsubscribe_model(self._task, fetch.version)
        named = self._named

        def put() -> bool:
            model = self._written_out(message, named)
            if model is None or _hash(model) != fetch.model_hash:
                return False
            self._parts.store.models.put(model, fetch.moment.generation, fetch.model_hash)
            return True

        def done(is_stored: bool) -> None:
            if is_stored:
                self._stored(fetch.version, fetch.model_hash)
            else:
                self._on_useless(message)

        self._parts.writer.do(put, done, self._failed)
        return True

    def _on_useless(self, message: Model | Change) -> None:
        """After a change the whole model; after that a while later, as if it had not come."""
        change = isinstance(message, Change)
        what = "the change to model" if change else "model"
        log.warning("%s: %s %d gives another model", self._task, what, message.version)
        self._parts.books.count("models of no use")
        if change and self._has_change(message.version):  # else another one is the newest now
            self._parts.outbox.subscribe_model(self._task, message.version)

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


def _hash(model: Model) -> bytes:
    return digest.model_hash(model.spec, model.exponents, model.weights)
