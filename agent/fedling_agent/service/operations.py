"""Ingest and predict, done by the running service or, without one, by the command itself."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from fedling_agent.conditions.owner import LONGEST_REASON, LONGEST_S
from fedling_agent.data.holes import Holes
from fedling_agent.data.recording import Changes
from fedling_agent.data.streams import (
    NOTHING_GIVEN,
    Given,
    Parser,
    Row,
    RowError,
    Stream,
    read_window,
)
from fedling_agent.data.times import Interval, Times
from fedling_agent.service.control import Json
from fedling_agent.service.predict import Predictor
from fedling_agent.store.inputs import Ingested, Input, Mode
from fedling_agent.store.models import StoredModel
from fedling_agent.store.plans import PlanRecord
from fedling_agent.store.recordings import Labelled
from fedling_agent.store.store import Store
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput, Missing
from fedling_protocol.runtime.slices import Slices, finish
from fedling_protocol.wire.labels import tidy
from fedling_protocol.wire.limits import MAX_LABEL_BYTES

Streams = dict[str, Stream]

Ages = tuple[int, int]
NOW: Ages = (0, 0)
LONGEST_ID = 64  # characters of an input's id: the last ones are kept


class Ingest:
    """One input, in as many pieces as it comes: its header and its row numbers go on."""

    def __init__(
        self,
        streams: Streams,
        name: str,
        form: str,
        mode: Mode = Mode.APPEND,
        id: str = "",
        given: Given = NOTHING_GIVEN,
    ) -> None:
        """Begin an input for a stream. id: of an input that is repeated after a restart.

        Raises Missing, BadInput.
        """
        self._stream = find_stream(streams, name)
        self._parser = Parser(self._stream, form, given)
        self._holes = Holes()
        self._input = Input(mode, id)

    @classmethod
    def of_request(cls, streams: Streams, request: Json) -> "Ingest":
        """Begin what the first request of an input asks for. Raises Missing, BadInput."""
        mode = str(request.get("mode", Mode.APPEND))
        if mode not in list(Mode):
            raise BadInput(f"mode {mode}: allowed: {', '.join(Mode)}")
        name, form, id = (str(request.get(key, "")) for key in ("stream", "form", "input"))
        if len(id) > LONGEST_ID:
            raise BadInput(f"input: allowed: {LONGEST_ID} characters")
        words = (str(request.get(key, "")) for key in ("recording", "label", "named"))
        given = Given(*words)
        return cls(streams, name, form, Mode(mode), id, given)

    def feed(
        self,
        store: Store,
        lines: Iterable[str],
        now_ms: int,
        up_ms: int = 0,
        before: int | None = None,
        ages_ms: Ages | None = NOW,
    ) -> Ingested:
        """What became of these rows. now_ms: Unix time; up_ms: since boot.

        before: how many lines of the input came before these, by default those that came here.
        ages_ms: how long ago the first and the last line came; None: they are a file's.
        Raises BadInput, CannotWrite: then none of them is kept. It parses, writes and waits for
        the disk: beside the loop, one call after another.
        """
        before = self._parser.row if before is None else before
        rows = self._rows(lines, before)
        return store.recordings.ingest(
            self._stream, rows, now_ms, up_ms=up_ms, given=self._input, before=before,
            came=ages_ms and Times(now_ms - ages_ms[0], now_ms - ages_ms[1]),
        )  # fmt: skip

    def again(self, lines: Iterable[str], before: int) -> None:
        """Read lines that were stored already, by somebody who is gone. Raises BadInput."""
        self._input.skip(self._rows(lines, before))

    def _rows(self, lines: Iterable[str], before: int) -> Iterable[Row | RowError]:
        self._parser.row = before
        return self._holes.mark(self._parser.feed(lines))


def told(done: Ingested) -> Json:
    """Say what became of some rows, as it is answered."""
    return {
        "stored": done.stored,
        "seen": done.seen,
        "refused": done.refused,
        "errors": [[error.row, error.reason] for error in done.errors],
        "holes": dict(done.holes),
        "notes": [list(note) for note in done.notes],
        "evicted": done.evicted,
        "evicted_samples": done.evicted_samples,
        "gone": done.gone,
        "replaced": done.replaced,
    }


# --- the owner's pause ---


def check_pause(lasts_s: int | None, reason: str) -> None:
    """Raise BadInput unless this may be a pause."""
    if lasts_s is not None and not 1 <= lasts_s <= LONGEST_S:
        raise BadInput(f"a pause of {lasts_s} s: allowed: 1 to {LONGEST_S}")
    if not reason.isprintable() or len(reason) > LONGEST_REASON:
        raise BadInput(f"reason {reason!r}: allowed: {LONGEST_REASON} printable characters")


# --- recordings ---


def listing(store: Store, stream: str | None, below: int | None) -> Json:
    """Tell a page of recordings. It reads their labels: beside the loop."""
    return {"recordings": [asdict(one) for one in store.recordings.listing(stream, below)]}


@dataclass(frozen=True, slots=True)
class Which:
    """The samples that get a label: of a recording, of a time, or of both."""

    stream: str
    recording: str | None = None
    first: int | None = None  # samples of the recording
    last: int | None = None
    interval: Interval | None = None

    def check(self) -> None:
        """Raise BadInput unless it says which."""
        numbers = self.first is not None or self.last is not None
        if self.recording is None and (numbers or self.interval is None):
            raise BadInput("which samples? Name a recording, or a time")
        if self.interval is None:
            return
        if numbers:
            raise BadInput("samples are told by their numbers or by a time, not by both")
        if self.interval.begin_ms >= self.interval.end_ms:
            raise BadInput("the time ends before it begins")


def label(store: Store, which: Which, label: str, now_ms: int, up_ms: int) -> Labelled:
    """Give samples another label, or none (empty). Raises Missing, BadInput, CannotWrite."""
    which.check()
    if which.interval is not None and which.interval.end_ms > now_ms + 1000 * LONGEST_S:
        raise BadInput(f"a time to come: allowed: {LONGEST_S // 86_400} days from now")
    label = tidy(label)
    if not label.isprintable() or len(label.encode()) > MAX_LABEL_BYTES:
        raise BadInput(f"label {label!r}: allowed: {MAX_LABEL_BYTES} bytes of printable text")
    recording = None if which.recording is None else tidy(which.recording)
    if which.interval is not None:
        return store.recordings.label_time(
            which.stream, which.interval, label or None, recording, now_ms=now_ms, up_ms=up_ms
        )
    assert recording is not None
    return store.recordings.relabel(which.stream, recording, which.first, which.last, label or None)


def told_of_labels(labelled: Labelled) -> Json:
    """Say what a label has changed, as it is answered."""
    return {
        "samples": labelled.samples,
        "recordings": len(labelled.changes.relabelled),
        "to_come": labelled.to_come,
        "newest_ms": labelled.newest_ms,
    }


def rounds_on(store: Store, stream: str, names: Sequence[str] | None) -> list[PlanRecord]:
    """List the plans in work that train or test on one of these recordings (None: on any).

    It reads frozen sets: beside the loop. Raises Missing (no such recording).
    """
    for name in names or ():
        if store.recordings.by_id(stream, name) is None:
            raise Missing(f"stream {stream} has no recording {name}")
    records = [r for r in store.plans.in_work() if r.plan.spec.stream == stream]
    if names is None:
        return records
    return [r for r in records if finish(store.plans.recordings(r)) & set(names)]


def forget(store: Store, stream: str, names: Sequence[str] | None, now_ms: int) -> Changes:
    """Remove recordings for good (None: all of a stream), and end what trains or tests on them.

    What was put aside goes first: it may have one that could not be saved. So do training sets
    that are kept for the next round, and personal models of the stream. No child may run on them.
    Raises Missing, CannotWrite, Busy.
    """
    store.forget_aside()
    for record in rounds_on(store, stream, names):
        plan, update = record.plan, record.update_hash
        store.spool.end(plan.spec.task, plan.plan_id, update, None, "erased", now_ms)
    store.files.clear_frozen()
    store.personal.erase_stream(stream)
    return store.recordings.forget(stream, names)


# --- predictions ---


def predict(
    store: Store,
    predictor: Predictor,
    streams: Streams,
    task: str,
    lines: list[str],
    form: str,
    before: int | None = None,
) -> Slices[Json]:
    """Answer about one window. task: empty if there is only one.

    before: lines of the input before the window's rows, by default its header alone.
    Raises Missing, BadInput.
    """
    model = newest_model(store, task)
    stream = find_stream(streams, model.spec.stream)
    window = read_window(stream, lines, form, model.spec.window, before)
    answer = yield from predictor.predict(model, window.counts)
    about: Json = {
        "task": answer.task,
        "model": answer.version,
        "personal": answer.personal,
        "normalised": answer.normalised,
    }
    if answer.label is None:
        return about | {"error": answer.error}
    if window.labelled:
        about["given"] = window.label
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
        here = ", ".join(sorted(store.models.tasks())) or "none"
        raise Missing(f"no model yet of {task}; tasks with a model here: {here}")
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
        raise Missing(
            f'agent.toml names no stream "{name}"; streams: {known}; a new one: fedling-agent'
            f" stream add FILE.csv --name {name}"
        )
    return stream
