"""How long a device's data hold its loop: 16 M samples stored, a task that wants every window.

The stream has one channel, the task windows of 128 samples at stride 1 with a hold-out. The samples
lie in four shapes: one endless recording, 100,000 short ones, a label at every 200 samples, and the
same with labels that the task does not want. They came in small pieces, as sensors send.

First every part by itself, as the loop would run it; then a real service on the first three, in a
round from plan to update while rows stream in and somebody asks for status and predictions.

    agent_worst_stall_ms      the longest that a real service's loop stood still, by its watchdog
    agent_idle_stall_ms       the same while it had nothing to do: what the machine adds
    agent_longest_slice_ms    CPU of the longest single slice or call of the loop
    agent_service_peak_mb     memory of the service at its peak
    agent_freeze_peak_mb      what a freeze of 65,536 windows adds to a process at its peak
    agent_predict_us          a prediction in process, from lines of text to the answer, median

What runs beside the loop (ingest, the write of a frozen set) has rows and is no stall.
"""

import gc
import statistics
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench.report import Report
from bench.support import loaded_agent
from bench.support.loaded_agent import Seen
from fedling_agent.data.counting import Counter
from fedling_agent.data.streams import Channel, Row, Stream
from fedling_agent.service import operations
from fedling_agent.service.predict import Predictor
from fedling_agent.store.aside import COUNT_ANEW
from fedling_agent.store.open_recording import GROWING_BYTES
from fedling_agent.store.recordings import Bounds
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import Freezer
from fedling_native import Loss, dense
from fedling_protocol.runtime.slices import Slices, finish
from fedling_protocol.wire.messages import TaskSpec
from tests.support.device import TRAINING, make_model, make_plan

SAMPLES = 16 * 10**6
WINDOW = 128
STREAM = Stream("wrist", (Channel("x", "g", 0.001),))
SPEC = TaskSpec(
    task="watch",
    stream="wrist",
    window=WINDOW,
    stride=1,
    channels=1,
    normalise="device",
    labels=("down", "up"),
    layers=(dense(WINDOW, 12, relu=True), dense(12, 2)),
    loss=Loss.SOFTMAX,
)
HOLDOUT = replace(TRAINING, holdout=200, holdout_block=2000, min_examples=60_000)
TRAININGS = {
    "hold-out": HOLDOUT,
    "hold-out of nearly all": replace(HOLDOUT, holdout=900, holdout_block=10),
    "none": replace(HOLDOUT, holdout=0),
}
MODEL = make_model(spec=SPEC)
SECRET = bytes(32)
BOUNDS = Bounds(bytes=2**30)
INGESTED = 500  # rows of a call, some seconds of a sensor
INGESTS = 40
PREDICTIONS = 2000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shape:
    """How the samples lie."""

    name: str
    length: int  # samples of a recording
    span: int  # samples of a label
    label: str = "up"


SHAPES = (
    Shape("one recording", SAMPLES, SAMPLES),
    Shape("100,000 recordings", 160, 160),
    Shape("many labels", SAMPLES, 200),
    Shape("unwanted labels", SAMPLES, 200, "other"),
)


@dataclass(slots=True)
class Watch:
    """How long the loop stands still, call by call."""

    longest_s: float = 0.0
    longest_cpu_s: float = 0.0  # below longest_s if another process had the core
    last_s: float = 0.0
    total_s: float = 0.0
    calls: int = 0

    @classmethod
    def of(cls, work: Callable[[], object]) -> "Watch":
        """Of one call."""
        watch = cls()
        watch.call(work)
        return watch

    def call(self, work: Callable[[], T]) -> T:
        """One thing that the loop does in one go."""
        begun, begun_cpu = time.perf_counter(), time.thread_time()
        try:
            return work()
        finally:
            self.last_s = time.perf_counter() - begun
            self.longest_s = max(self.longest_s, self.last_s)
            self.longest_cpu_s = max(self.longest_cpu_s, time.thread_time() - begun_cpu)
            self.total_s += self.last_s
            self.calls += 1

    def run(self, slices: Slices[T]) -> T:
        """To the end; each slice by itself."""
        while True:
            try:
                self.call(slices.__next__)
            except StopIteration as stop:
                result: T = stop.value
                return result


class Bench:
    """The measurements on one store."""

    def __init__(self, report: Report, shape: Shape, store: Store) -> None:
        self._report = report
        self._shape = shape
        self._store = store
        self.slice_s = 0.0
        self.freeze_mb = 0.0
        self.predict_s: list[float] = []

    def run(self) -> None:
        """Part after part."""
        self._store.models.put(MODEL)
        self._count()
        self._ingest()
        self._row("status", Watch.of(self._store.recordings.summary))
        self._predict()
        if self._shape.label in SPEC.labels:
            self._freeze()

    def _row(self, part: str, watch: Watch, *, beside: bool = False) -> None:
        self._report.row(
            store=self._shape.name,
            part=part,
            loop=not beside,
            calls=watch.calls,
            longest_ms=round(watch.longest_s * 1000, 2),
            longest_cpu_ms=round(watch.longest_cpu_s * 1000, 2),
            total_ms=round(watch.total_s * 1000, 1),
        )
        if not beside:
            self.slice_s = max(self.slice_s, watch.longest_cpu_s)

    def _count(self) -> None:
        for name, training in TRAININGS.items():
            watch = Watch()
            watch.run(Counter(self._store.recordings, SPEC, training).count())
            self._row(f"count, {name}", watch)

    def _ingest(self) -> None:
        """Of a label that has never enough, so that all that comes is counted."""
        spec, recordings = replace(SPEC, labels=("new",)), self._store.recordings
        counter = Counter(recordings, spec, HOLDOUT)
        finish(counter.count())
        ingest, count = Watch(), Watch()
        for number in range(INGESTS):
            rows = list(new_rows("stream" if number % 2 else f"new {number}"))
            done = ingest.call(partial(recordings.ingest, STREAM, rows, 1))
            count.call(partial(counter.changed, done.changes))
            count.run(counter.count())
        self._row("ingest", ingest, beside=True)
        self._row("count while it streams", count)

    def _predict(self) -> None:
        predictor, streams = Predictor(self._store), {STREAM.name: STREAM}
        lines = ["x\n", *(f"{n / 1000:.3f}\n" for n in range(WINDOW))]
        first, later = Watch(), Watch()
        for number in range(PREDICTIONS):
            answer = operations.predict(self._store, predictor, streams, "watch", lines, "csv")
            (later if number else first).run(answer)
            if number:
                self.predict_s.append(later.last_s)
        self._row("predict, first", first)
        self._row("predict", later)

    def _freeze(self) -> None:
        freezer = Freezer(self._store, "bench", SECRET)
        freeze, write, again, mend = Watch(), Watch(), Watch(), Watch()
        plan = make_plan(MODEL, 1, HOLDOUT)
        before = forget_peak()
        job = write.call(freeze.run(freezer.freeze(plan)))
        self.freeze_mb = peak_mb() - before
        assert job.recipe.count == 65_536
        again.run(freezer.freeze(plan))
        (job.directory / "examples").unlink()
        mend.run(freezer.freeze(plan))
        self._row("freeze", freeze)
        self._row("write of the frozen set", write, beside=True)
        self._row("check of the frozen set", again)
        self._row("mend the frozen set", mend)


def new_rows(recording: str) -> Iterator[Row]:
    """As they come from the parser."""
    for number in range(INGESTED):
        yield Row(number, recording, "new", None, (number,))


def fill(store: Store, shape: Shape, samples: int = SAMPLES) -> None:
    """So many samples, in chunks as a stream of single rows makes them."""
    store.recordings.ingest(STREAM, [Row(1, "first", None, None, (0,))], 1)
    dice = array("h", [(n * 7919) % 4001 - 2000 for n in range(GROWING_BYTES // 2)])
    with store.database.transaction("the store") as connection:
        for number in range(samples // shape.length):
            key = connection.execute(
                "INSERT INTO recordings (stream, id, start_ms, grown_ms, samples, bytes, "
                "revision) VALUES (?, ?, 1, 1, ?, ?, 0)",
                (STREAM.name, f"r{number}", shape.length, 2 * shape.length),
            ).lastrowid
            connection.execute(
                "INSERT INTO stretches (recording, first, last) VALUES (?, 0, ?)",
                (key, shape.length - 1),
            )
            connection.executemany(
                "INSERT INTO chunks (recording, first, data) VALUES (?, ?, ?)",
                (
                    (key, first, dice[: shape.length - first].tobytes())
                    for first in range(0, shape.length, len(dice))
                ),
            )
            connection.executemany(
                "INSERT INTO spans VALUES (?, ?, ?, ?, 0)",
                (
                    (key, first, first + shape.span - 1, shape.label)
                    for first in range(0, shape.length, shape.span)
                ),
            )
        for statement in ("DELETE FROM labels", *COUNT_ANEW):
            connection.execute(statement)


def forget_peak() -> float:
    """MB in use; the peak is counted from here."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return memory_mb("VmRSS")


def peak_mb() -> float:
    return memory_mb("VmHWM")


def memory_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(name)]
    return int(line.split()[1]) / 1024


def watch_service(report: Report, shape: Shape) -> Seen:
    """A real service on a store of this shape."""

    def fill_state(state: Path) -> None:
        store = Store(state, BOUNDS)
        fill(store, shape)
        store.close()

    with tempfile.TemporaryDirectory() as folder:
        seen = loaded_agent.watch(Path(folder), fill_state, MODEL, WINDOW)
    report.row(
        store=shape.name,
        part="real service, a round",
        loop=True,
        calls=seen.pieces,
        longest_ms=round(seen.stall_s * 1000, 2),
        longest_cpu_ms=None,
        total_ms=round(seen.round_s * 1000, 1),
    )
    return seen


def main() -> int:
    """0: measured."""
    report = Report("agent_stall")
    benches = []
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder), BOUNDS)
            fill(store, shape)
            benches.append(Bench(report, shape, store))
            benches[-1].run()
            store.close()
    predictions = [s for bench in benches for s in bench.predict_s]
    services = [watch_service(report, shape) for shape in SHAPES if shape.label in SPEC.labels]
    report.figure("agent_worst_stall_ms", round(max(s.stall_s for s in services) * 1000, 2))
    report.figure("agent_idle_stall_ms", round(max(s.idle_stall_s for s in services) * 1000, 2))
    report.figure("agent_longest_slice_ms", round(max(b.slice_s for b in benches) * 1000, 2))
    report.figure("agent_service_peak_mb", round(max(s.peak_mb for s in services), 1))
    report.figure("agent_freeze_peak_mb", round(max(b.freeze_mb for b in benches), 1))
    report.figure("agent_predict_us", round(statistics.median(predictions) * 1e6, 1))
    report.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
