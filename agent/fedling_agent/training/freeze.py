"""Freezes a training set when a plan is accepted, and makes the job that a child process trains.

Reading, cutting, hashing are slices of the loop; what they give is a Write, the durable part.
"""

import hashlib
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fedling_agent.data import listing
from fedling_agent.data.recording import Known, Recording
from fedling_agent.data.windows import (
    Cutter,
    Windows,
    choose,
    held_out_windows,
    room,
    room_for_tests,
    training_windows,
)
from fedling_agent.store.files import remove_job
from fedling_agent.store.plans import Moved, PlanRecord, PlanState
from fedling_agent.store.recordings import Recordings
from fedling_agent.store.store import Store
from fedling_agent.training.job import Coding, Damaged, Job, Recipe
from fedling_native import Loss, Normaliser, Summing, Sums
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import BadInput, CannotWrite, Missing, writing
from fedling_protocol.runtime.slices import Slices, finish
from fedling_protocol.wire import sums
from fedling_protocol.wire.digest import codec_seed, order_seed
from fedling_protocol.wire.messages import Plan, PlanKind, TaskSpec

PIECE_WINDOWS = 512  # assembled in one slice, at most
PIECE_BYTES = 2**17  # the same, in bytes; a window may be as large
STRETCH_BYTES = 2**16  # of samples that are read at once, or one window
TRIES = 3  # a set whose recordings are evicted while it is read is begun anew

# The normaliser of tasks that want none: a count is its own int8 value.
IDENTITY = (0, 128, 7)

LEAST, MOST = b"\x81", b"\x7f"  # -127 and 127: what is beyond is read as one of them

Write = Callable[[], Job]
"""Makes a frozen set durable, beside the loop. Raises CannotWrite (nothing is frozen), Missing
(the base model is not here), Moved (a recording was evicted or relabelled since: freeze again)."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Windows that were held out, in memory."""

    data: bytes | bytearray = b""  # int16 windows one after the other, then one class byte each
    sum: bytes = b""  # SHA-256
    count: int = 0
    recordings: tuple[Recording, ...] = ()  # each from the first sample it needs


NOTHING_HELD_OUT = HeldOut()


class Chosen(NamedTuple):
    """Windows that train and windows that test, each with its recordings."""

    windows: Windows
    used: list[Recording]
    tests: Windows
    tests_used: list[Recording]


@dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen training set that is in memory."""

    data: bytearray  # int16 windows one after the other, then one class byte each
    data_sum: bytes  # SHA-256
    rows: bytes  # its listing, compressed
    hash: bytes  # SHA-256 of ordered ids, label revisions, classes and samples
    sums: Sums  # over all windows
    normaliser: Normaliser
    clipped: int  # values at the limit of what a model reads, or beyond it
    count: int
    recordings: tuple[Recording, ...]  # that it stands on, each from the first sample it needs
    held_out: HeldOut = HeldOut()
    known: Mapping[int, Known] = field(default_factory=dict)  # if the plan wants new examples


class Freezer:
    """Everything between "go" and a finished training that is about files."""

    def __init__(
        self,
        store: Store,
        fleet: str,
        secret: bytes,
        min_examples: int = 1,
        *,
        tests: bool = True,
        device: str = "",
    ) -> None:
        """Freeze from this store. secret: the device's, for batch order and hold-out.

        min_examples: nothing is trained or tested on fewer, whatever a plan says
        tests: False: no model is tested here, and nothing is held out
        device: whose updates are coded as soon as they are trained; empty: when they are signed
        """
        self._store = store
        self._device = device
        self._fleet = fleet
        self._secret = secret
        self._min_examples = min_examples
        self._tests = tests

    def freeze(self, plan: Plan) -> Slices[Write]:
        """Gather windows, labels, normaliser, base weights, order seed. Again: the same job.

        The newest examples are taken, at most 65,536 and 16 MiB. Raises Missing (no examples),
        BadInput (the stream does not fit the task).
        """
        if self._store.plans.task_of(plan.plan_id) is not None:
            known = yield from self.job(plan.plan_id)
            if known is None:
                raise Missing(f"the files of plan {plan.plan_id.hex()} are damaged beyond repair")
            return known
        frozen = yield from self._gather(plan)
        return partial(self._begin, plan, frozen)

    def job(self, plan_id: bytes) -> Slices[Write | None]:
        """Find a frozen plan's job; what damaged files held is made again from the recordings.

        None: not frozen, or beyond repair (then end the plan).
        """
        record = self._store.plans.find(plan_id)
        if record is None or record.state is not PlanState.FROZEN:
            return None
        try:
            job = Job.open(self._store.files.job(plan_id))
            yield from job.check()
            if record.plan.kind is PlanKind.STATISTICS and job.result() is None:
                raise Damaged("result: of statistics it is there from the beginning")
        except Damaged:
            return (yield from self._mend(record))
        return lambda: job

    def recipe(
        self,
        plan: Plan,
        frozen_hash: bytes,
        data_sum: bytes,
        normaliser: Normaliser,
        count: int,
        tests: HeldOut = NOTHING_HELD_OUT,
    ) -> tuple[Recipe, bytes]:
        """Tell what a plan asks for on this frozen set, and its base weights. Raises Missing.

        tests: the windows that test the base model
        """
        model = self._store.models.find(plan.base_hash)
        if model is None:
            raise _no_model(plan)
        base = finish(self._store.models.weights(model))
        recipe = Recipe(
            plan_id=plan.plan_id,
            layers=plan.spec.layers,
            loss=plan.spec.loss,
            exponents=model.exponents,
            training=plan.training,
            seed=order_seed(self._secret, self._fleet, plan.spec.task, plan.plan_id),
            count=count,
            values=plan.spec.window * plan.spec.channels,
            normaliser=normaliser,
            frozen_hash=frozen_hash,
            examples_sum=data_sum,
            base_sum=hashlib.sha256(base).digest(),
            tests=tests.count,
            tests_sum=tests.sum,
            coding=self._coding(plan),
        )
        return recipe, base

    def _coding(self, plan: Plan) -> Coding | None:
        if plan.target is None or not self._device:
            return None
        return Coding(plan.target, codec_seed(plan.plan_id, self._device))

    # --- slices ----------------------------------------------------------------------------------

    def _gather(self, plan: Plan) -> Slices[Frozen]:
        """Gather the set; anew if what it stands on is evicted or relabelled meanwhile."""
        for _ in range(TRIES - 1):
            with suppress(Moved):
                return (yield from self._gather_once(plan))
        return (yield from self._gather_once(plan))

    def _gather_once(self, plan: Plan) -> Slices[Frozen]:
        spec, recordings = plan.spec, self._store.recordings
        check_channels(self._store, spec)
        known = yield from self._known(plan)
        chosen = yield from self._choose(plan)
        count, least = len(chosen.windows), self._least(plan)
        if count < least:
            raise Missing(f"{count} examples for {spec.task}, at least {least} are needed")
        try:
            frozen = yield from assemble(recordings, spec, chosen.windows, chosen.used)
            held_out = yield from _read_tests(recordings, plan, chosen)
        except Missing as error:
            raise Moved(str(error)) from error
        for recording in (*chosen.used, *chosen.tests_used):
            now = recordings.by_key(recording.key)
            if now is None or now.revision != recording.revision:
                raise Moved(f"recording {recording.id} was evicted or relabelled meanwhile")
            yield
            known[recording.key] = Known(recording.samples, recording.revision)
        return replace(frozen, held_out=held_out, known=known if wants_new(plan) else {})

    def _known(self, plan: Plan) -> Slices[dict[int, Known]]:
        """Tell what is stored now, so that what comes while a set is gathered is new."""
        found: dict[int, Known] = {}
        below = None
        while wants_new(plan) and (page := self._store.recordings.newest(plan.spec.stream, below)):
            found.update({one.key: Known(one.samples, one.revision) for one in page})
            below = page[-1].key
            yield
        return found

    def _least(self, plan: Plan) -> int:
        return max(1, self._min_examples, plan.training.min_examples)

    def _choose(self, plan: Plan) -> Slices[Chosen]:
        """Choose the newest windows: for sums the same ones as to train on. Nothing is held out
        where too few, or none of a label, would be left, nor where too few would test."""
        spec, source = plan.spec, self._store.recordings
        if plan.training.holdout and self._tests and spec.loss is Loss.SOFTMAX:
            cutter = training_windows(spec, plan.training, self._secret)
            windows, used = yield from choose(source, spec.stream, cutter, room(spec))
            if len(windows) >= self._least(plan) and cutter.classes == set(windows.labels):
                tests, tests_used = yield from self._choose_tests(plan, len(windows))
                if tests:
                    return Chosen(windows, used, tests, tests_used)
        windows, used = yield from choose(source, spec.stream, Cutter(spec, None), room(spec))
        return Chosen(windows, used, Windows(), [])

    def _choose_tests(self, plan: Plan, trained: int) -> Slices[tuple[Windows, list[Recording]]]:
        """Choose the windows that test the base model."""
        spec = plan.spec
        cutter = held_out_windows(spec, plan.training, self._secret)
        most = room_for_tests(spec, trained)
        windows, used = yield from choose(self._store.recordings, spec.stream, cutter, most)
        # A model could be made to ask about one window: whether it is told right is an answer.
        return (windows, used) if len(windows) >= self._min_examples else (Windows(), [])

    def _mend(self, record: PlanRecord) -> Slices[Write | None]:
        """Make the same training set again. What was held out is not written down: no test."""
        spec, recordings = record.plan.spec, self._store.recordings
        windows = yield from self._store.plans.examples(record)
        try:
            used = yield from find_recordings(recordings, spec.stream, windows)
            frozen = yield from assemble(recordings, spec, windows, used)
        except Missing:
            return None
        here = self._store.models.find(record.plan.base_hash) is not None
        same = frozen.hash == record.frozen_hash
        return partial(self._make, record.plan, frozen) if here and same else None

    # --- beside the loop -------------------------------------------------------------------------

    def _begin(self, plan: Plan, frozen: Frozen) -> Job:
        plans, files = self._store.plans, self._store.files
        try:
            job = self._make(plan, frozen)
            plans.begin(
                plan, frozen.hash, frozen.rows, frozen.count, frozen.normaliser, frozen.recordings,
                frozen.clipped, frozen.held_out.recordings, frozen.known,
            )  # fmt: skip
        except BaseException:
            with suppress(CannotWrite):  # then the next start removes what no plan names
                files.end_job(plan.plan_id)
                files.clear_frozen()  # they may hold what was forgotten meanwhile
            raise
        files.tidy_frozen(frozen.hash)
        return job

    def _make(self, plan: Plan, frozen: Frozen) -> Job:
        """Make the job's folder. What is stored is not written twice: a file has two names."""
        tests = frozen.held_out
        recipe, _ = self.recipe(
            plan, frozen.hash, frozen.data_sum, frozen.normaliser, frozen.count, tests
        )
        with writing("the training set"):
            files = self._store.files
            examples = os.path.join(files.frozen, frozen.hash.hex())
            _keep(examples, frozen.data, frozen.data_sum)
            kept_tests = f"{examples}.tests"
            if tests.count:
                _keep(kept_tests, tests.data, tests.sum)
            folder = files.job(plan.plan_id)
            _make_folder(folder)
            link(examples, os.path.join(folder, "examples"))
            if tests.count:
                link(kept_tests, os.path.join(folder, "tests"))
            link(os.path.join(files.models, plan.base_hash.hex()), os.path.join(folder, "base"))
            job = Job.write(folder, recipe)
            if plan.kind is PlanKind.STATISTICS:  # nothing is trained: this is all of it
                job.write_result(sums.pack(frozen.sums), 0)
            durable.sync_directory(files.jobs)
        return job


def wants_new(plan: Plan) -> bool:
    """Whether a device takes part only if it has new examples; of statistics it always does."""
    return plan.kind is PlanKind.TRAIN and plan.training.new_examples > 0


def check_channels(store: Store, spec: TaskSpec) -> None:
    """Check that a stream holds what the task reads. Raises BadInput."""
    definition = store.recordings.definition(spec.stream)
    if definition is not None and len(definition) != spec.channels:
        raise BadInput(
            f"stream {spec.stream} has {len(definition)} channels, "
            f"task {spec.task} wants {spec.channels}"
        )


def find_recordings(
    recordings: Recordings, stream: str, windows: Windows
) -> Slices[list[Recording]]:
    """Find the recordings that windows.names names. Raises Missing (evicted)."""
    found = []
    for name in windows.names:
        recording = recordings.by_id(stream, name)
        if recording is None:
            raise Missing(f"samples evicted: recording {name}")
        found.append(recording)
        yield
    return found


def assemble(
    recordings: Recordings, spec: TaskSpec, windows: Windows, used: Sequence[Recording]
) -> Slices[Frozen]:
    """Read what windows (of the recordings `used`) hold. Raises Missing (evicted)."""
    read = yield from read_windows(recordings, spec, windows, used)
    frozen_hash, rows = yield from _list(windows, read.sum)
    kept = _from_first(windows, used)
    return Frozen(
        read.data, read.sum, rows, frozen_hash, read.sums, read.normaliser, read.clipped,
        len(windows), kept,
    )  # fmt: skip


def _from_first(windows: Windows, used: Sequence[Recording]) -> tuple[Recording, ...]:
    """Say of each recording from which sample on it is needed. Windows are oldest first."""
    firsts: dict[int, int] = {}
    for number, first in zip(windows.recordings, windows.firsts, strict=True):
        firsts.setdefault(number, first)
    return tuple(replace(one, first=firsts[number]) for number, one in enumerate(used))


class Read(NamedTuple):
    """Windows that were read into memory."""

    data: bytearray  # int16 windows one after the other, then one class byte each
    sum: bytes  # SHA-256
    sums: Sums
    normaliser: Normaliser
    clipped: int


def read_windows(
    recordings: Recordings, spec: TaskSpec, windows: Windows, used: Sequence[Recording]
) -> Slices[Read]:
    """Read windows' samples, and fit the normaliser of just these. Raises Missing (evicted)."""
    width = 2 * spec.window * spec.channels
    data, digest, summing = bytearray(), hashlib.sha256(), Summing(spec.channels)
    at = 0
    while at < len(windows):
        stop, first = _stretch(windows, at, spec), windows.firsts[at]
        count = windows.firsts[stop - 1] + spec.window - first
        samples = memoryview(recordings.samples(used[windows.recordings[at]], first, count))
        offsets = [(begin - first) * 2 * spec.channels for begin in windows.firsts[at:stop]]
        piece = b"".join([samples[offset : offset + width] for offset in offsets])
        data += piece  # grows in place: 16 MiB at once would be a stall of their own
        digest.update(piece)
        summing.add(piece)
        at = stop
        yield
    total = summing.sums()
    normaliser = normaliser_of(spec, total)
    clipped = yield from _count_clipped(data, normaliser, spec.channels)
    data += windows.labels
    digest.update(windows.labels)
    return Read(data, digest.digest(), total, normaliser, clipped)


def _count_clipped(data: bytearray, normaliser: Normaliser, channels: int) -> Slices[int]:
    """Count values that are read as the smallest or the largest there is."""
    clipped, size = 0, 2 * channels * max(1, PIECE_BYTES // (2 * channels))
    for at in range(0, len(data), size):
        with memoryview(data) as view:  # let go of it: data grows
            x = normaliser.apply(view[at : at + size])
        clipped += x.count(LEAST) + x.count(MOST)
        yield
    return clipped


def _stretch(windows: Windows, at: int, spec: TaskSpec) -> int:
    """Tell where the windows end that are read together with the one at `at`."""
    width = 2 * spec.window * spec.channels
    most = min(PIECE_WINDOWS, max(1, PIECE_BYTES // width), len(windows) - at)
    last = windows.firsts[at] + STRETCH_BYTES // (2 * spec.channels) - spec.window
    stop = at + 1
    while (
        stop < at + most
        and windows.recordings[stop] == windows.recordings[at]
        and windows.firsts[stop] <= last
    ):
        stop += 1
    return stop


def _list(windows: Windows, data_sum: bytes) -> Slices[tuple[bytes, bytes]]:
    """Make the hash of a frozen set and its listing, compressed."""
    # Names repeat within a few KB. By its own choice zlib takes, and clears, a quarter of a
    # megabyte for each listing, and packs no better.
    packer = zlib.compressobj(wbits=12, memLevel=5)
    digest = hashlib.sha256(b"fedling frozen 1" + data_sum)
    packed = bytearray()
    for piece in listing.pieces(windows):
        digest.update(piece)
        packed += packer.compress(piece)
        yield
    return digest.digest(), bytes(packed + packer.flush())


def normaliser_of(spec: TaskSpec, sums: Sums) -> Normaliser:
    """Tell how a model of the task reads the samples that have these sums.

    As long as the fleet's scale is not known no model reads any: then it is the device's own.
    """
    if spec.normalise == "none":
        return Normaliser.from_tuples([IDENTITY] * spec.channels)
    if spec.scale is not None:
        return Normaliser.from_tuples(spec.scale)
    return Normaliser.of(sums)


def _no_model(plan: Plan) -> Missing:
    return Missing(f"model {plan.base_version} of {plan.spec.task} is not here")


def _read_tests(recordings: Recordings, plan: Plan, chosen: Chosen) -> Slices[HeldOut]:
    """Read the windows that test; a model of which only sums are wanted is not tested. Raises
    Missing (evicted)."""
    if plan.kind is not PlanKind.TRAIN or not chosen.tests:
        return HeldOut()
    read = yield from read_windows(recordings, plan.spec, chosen.tests, chosen.tests_used)
    kept = _from_first(chosen.tests, chosen.tests_used)
    return HeldOut(read.data, read.sum, len(chosen.tests), kept)


def _make_folder(path: Path) -> None:
    """Make an empty folder, in place of one that a killed process has left."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        remove_job(path)
        os.mkdir(path, 0o700)


def _keep(path: str, data: bytes | bytearray, checksum: bytes) -> None:
    """Write a file, unless it is there."""
    if not _holds(path, checksum):
        durable.write_file(Path(path), data)


def _holds(path: str, checksum: bytes) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:
            return hashlib.sha256(file.readall()).digest() == checksum
    except OSError:
        return False


def link(source: str | Path, target: str | Path) -> None:
    """Give a file a second name; where the file system has none (FAT), copy it."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        durable.write_file(Path(target), Path(source).read_bytes())
