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
from fedling_protocol.wire.messages import Form, Model, Plan, Rest

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
        self._change = 0  # the version of which there is a change, as the plan or rest says

    def see(self, message: Plan | Rest) -> None:
        """Hear which model is the newest."""
        self._change = message.moment.version if message.change_size is not None else 0

    def begin(self, action: ev.FetchModel) -> None:
        """Ask for a model that is not here yet."""
        if action.version == self._change and self._before(action.version) is not None:
            self._parts.outbox.subscribe_change(self._task, action.version)
        else:
            self._parts.outbox.subscribe_model(self._task, action.version)

    def take(self, model: Model, fetch: Fetch) -> bool:
        """Take in the model that was asked for. False: it is another one."""
        plain = model.form is Form.CANONICAL
        if plain and _hash(model) != fetch.model_hash:
            return False
        version = fetch.version
        self._parts.outbox.unsubscribe_model(self._task, version)

        def put() -> bool:
            whole = model if plain else self._whole(model)
            if whole is None or (not plain and _hash(whole) != fetch.model_hash):
                return False
            self._parts.store.models.put(whole, fetch.moment.generation, fetch.model_hash)
            return True

        def done(stored: bool) -> None:
            if stored:
                self._stored(version, fetch.model_hash)
            else:
                self._on_useless(model)

        self._parts.writer.do(put, done, self._failed)
        return True

    def _on_useless(self, model: Model) -> None:
        """After a change the whole model; after that a while later, as if it had not come."""
        what = "the change to" if model.form is Form.CHANGE else "the packed"
        log.warning("%s: %s model %d gives another one", self._task, what, model.version)
        self._parts.books.count("models of no use")
        if model.form is Form.CHANGE:
            self._change = 0
            self._parts.outbox.subscribe_model(self._task, model.version)

    def _before(self, version: int) -> StoredModel | None:
        newest = self._parts.store.models.newest(self._task)
        return newest if newest is not None and newest.version == version - 1 else None

    def _whole(self, model: Model) -> Model | None:
        """Write a model out. None: it cannot be read."""
        layers = model.spec.layers
        try:
            if model.form is Form.GRID:
                weights = read_model(layers, model.weights)
            else:
                before = self._before(model.version)
                if before is None or before.spec.layers != layers:
                    return None
                pairs = zip(model.exponents, before.exponents, strict=True)
                held = finish(self._parts.store.models.weights(before))
                weights = read_change(layers, [e - b for e, b in pairs], model.weights, held)
        except (NativeError, Missing):
            return None
        return replace(model, weights=weights, form=Form.CANONICAL)


def _hash(model: Model) -> bytes:
    return digest.model_hash(model.spec, model.exponents, model.weights)
