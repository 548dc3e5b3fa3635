"""Ingest and predict, done by the running service or, without one, by the command itself."""

from collections.abc import Iterable

from fedling_agent.data.streams import Parser, Stream, counts_of_window
from fedling_agent.service.control import Json
from fedling_agent.service.predict import Predictor
from fedling_agent.store.models import StoredModel
from fedling_agent.store.recordings import Ingested
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import BadInput, Missing
from fedling_protocol.runtime.slices import Slices

Streams = dict[str, Stream]


class Ingest:
    """One input, in as many pieces as it comes: its header and its row numbers go on."""

    def __init__(self, store: Store, streams: Streams, name: str, form: str) -> None:
        """Begin an input for a stream. Raises Missing, BadInput."""
        self._store = store
        self._stream = find_stream(streams, name)
        self._parser = Parser(self._stream, form)

    def feed(self, lines: Iterable[str], now_ms: int) -> Ingested:
        """What became of these rows. now_ms: Unix time.

        Raises BadInput, CannotWrite: then none of them is kept. It parses, writes and waits for
        the disk: beside the loop, one call after another.
        """
        rows = self._parser.feed(lines)
        return self._store.recordings.ingest(self._stream, rows, now_ms)


def told(done: Ingested) -> Json:
    """Say what became of some rows, as it is answered."""
    return {
        "stored": done.stored,
        "refused": done.refused,
        "errors": [[error.row, error.reason] for error in done.errors],
        "evicted": done.evicted,
    }


def predict(
    store: Store, predictor: Predictor, streams: Streams, task: str, lines: list[str], form: str
) -> Slices[Json]:
    """Answer about one window. task: empty if there is only one. Raises Missing, BadInput."""
    model = newest_model(store, task)
    stream = find_stream(streams, model.spec.stream)
    counts = counts_of_window(stream, lines, form, model.spec.window)
    answer = yield from predictor.predict(model, counts)
    about: Json = {"task": answer.task, "model": answer.version, "normalised": answer.normalised}
    if answer.label is None:
        return about | {"error": answer.error}
    return about | {"label": answer.label, "probabilities": answer.probabilities}


def windows(store: Store, task: str) -> Json:
    """Tell how long a window of this task is. Raises Missing."""
    spec = newest_model(store, task).spec
    return {"task": spec.task, "window": spec.window, "stream": spec.stream}


def newest_model(store: Store, task: str) -> StoredModel:
    """Find a task's newest model. task: empty if there is only one. Raises Missing, BadInput."""
    task = task or only_task(store)
    model = store.models.newest(task)
    if model is None:
        raise Missing(f"no model yet of {task}")
    return model


def only_task(store: Store) -> str:
    """Find the task that is meant when none is named. Raises Missing, BadInput."""
    tasks = store.models.tasks()
    if not tasks:
        raise Missing("no model yet")
    if len(tasks) > 1:
        raise BadInput(f"which task? models are here of {', '.join(sorted(tasks))}")
    return tasks[0]


def find_stream(streams: Streams, name: str) -> Stream:
    """Find a stream by its name. Raises Missing."""
    stream = streams.get(name)
    if stream is None:
        known = ", ".join(sorted(streams)) or "none"
        raise Missing(f'agent.toml names no stream "{name}"; streams: {known}')
    return stream
