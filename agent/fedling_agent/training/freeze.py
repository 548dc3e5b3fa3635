"""Freezes a training set when a plan is accepted, and makes the job that a child process trains."""

import hashlib
import os
from pathlib import Path

from fedling_agent.data.windows import Example, HoldOut, cut
from fedling_agent.store.files import remove_job
from fedling_agent.store.plans import PlanState, listing
from fedling_agent.store.recordings import Recording
from fedling_agent.store.store import Store
from fedling_agent.training.job import Damaged, Job, Recipe
from fedling_native import Normaliser
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import BadInput, Missing, writing
from fedling_protocol.wire.digest import order_seed
from fedling_protocol.wire.messages import Plan, TaskSpec, Training

MAX_EXAMPLES = 65_536
MAX_BYTES = 16 * 2**20  # of frozen windows, which are in memory while they are frozen
MAX_SAMPLES = 2**24 - 1  # of a channel in one fit of the normaliser, NUMERICS.md section 6

# The normaliser of tasks that want none: a count is its own int8 value.
IDENTITY = (0, 128, 7)


class Freezer:
    """Everything between "go" and a finished training that is about files."""

    def __init__(self, store: Store, fleet: str, secret: bytes) -> None:
        """secret: the device's, for batch order and hold-out."""
        self._store = store
        self._fleet = fleet
        self._secret = secret

    def count(self, spec: TaskSpec, training: Training) -> int:
        """How many examples freeze() would take now; reads no samples. 0: they do not fit."""
        try:
            return len(self._choose(spec, training))
        except BadInput:
            return 0

    def freeze(self, plan: Plan) -> Job:
        """Durably: windows, labels, normaliser, base weights, order seed. Again: the same job.

        The newest examples are taken, at most 65,536 and 16 MiB. Raises Missing (the base model is
        not here, no examples), BadInput (the stream does not fit the task), CannotWrite (nothing
        is frozen).
        """
        if self._store.plans.find(plan.plan_id) is not None:
            job = self.job(plan.plan_id)
            if job is None:
                raise Missing(f"the files of plan {plan.plan_id.hex()} are damaged beyond repair")
            return job
        examples = self._choose(plan.spec, plan.training)
        if not examples:
            raise Missing(f"no examples for {plan.spec.task}")
        data = assemble(self._store, plan.spec, examples)
        normaliser = fit(plan.spec, data, len(examples))
        frozen_hash = hash_frozen(examples, data)
        with writing("the training set"):
            job = self._make(plan, frozen_hash, data, normaliser, len(examples))
        keys = {r.id: r.key for r in self._store.recordings.of_stream(plan.spec.stream)}
        pinned = sorted({keys[example.recording] for example in examples})
        self._store.plans.begin(plan, frozen_hash, examples, normaliser, pinned)
        self._store.files.tidy()
        return job

    def job(self, plan_id: bytes) -> Job | None:
        """The job of a frozen plan; what damaged files held is made again from the recordings.

        None: not frozen, or beyond repair (then end the plan). Raises CannotWrite.
        """
        record = self._store.plans.find(plan_id)
        if record is None or record.state is not PlanState.FROZEN:
            return None
        try:
            job = Job(self._store.files.job(plan_id))
            job.check()
        except Damaged:
            pass
        else:
            return job
        examples = self._store.plans.examples(record)
        try:
            data = assemble(self._store, record.plan.spec, examples)
            if hash_frozen(examples, data) != record.frozen_hash:
                return None
            with writing("the training set"):
                return self._make(
                    record.plan, record.frozen_hash, data, record.normaliser, len(examples)
                )
        except Missing:
            return None

    def recipe(
        self, plan: Plan, frozen_hash: bytes, data: bytearray, normaliser: Normaliser, count: int
    ) -> tuple[Recipe, bytes]:
        """What a plan asks for on this frozen set, and its base weights. Raises Missing."""
        model = self._store.models.find(plan.base_hash)
        if model is None:
            raise Missing(f"model {plan.base_version} of {plan.spec.task} is not here")
        base = self._store.models.weights(model)
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
            examples_sum=hashlib.sha256(data).digest(),
            base_sum=hashlib.sha256(base).digest(),
        )
        return recipe, base

    def _choose(self, spec: TaskSpec, training: Training) -> list[Example]:
        """The newest that fit, oldest first."""
        check_channels(self._store, spec)
        width = 2 * spec.window * spec.channels
        room = min(MAX_EXAMPLES, MAX_BYTES // width, MAX_SAMPLES // spec.window)
        holdout = HoldOut(self._secret, spec.stream, training)
        pieces: list[list[Example]] = []
        recordings = self._store.recordings
        for recording in reversed(recordings.of_stream(spec.stream)):
            found = list(cut(spec, recording, recordings.spans(recording), holdout))
            pieces.append(found[max(0, len(found) - room) :])
            room -= len(pieces[-1])
            if room == 0:
                break
        return [example for piece in reversed(pieces) for example in piece]

    def _make(
        self, plan: Plan, frozen_hash: bytes, data: bytearray, normaliser: Normaliser, count: int
    ) -> Job:
        """The folder. The same set is not written twice: its file has two names."""
        recipe, base = self.recipe(plan, frozen_hash, data, normaliser, count)
        files = self._store.files
        frozen = files.frozen / frozen_hash.hex()
        if not _holds(frozen, recipe.examples_sum):
            durable.write_file(frozen, data)
        folder = files.job(plan.plan_id)
        if folder.exists():
            remove_job(folder)
        folder.mkdir(mode=0o700)
        _link(frozen, folder / "examples")
        durable.write_file(folder / "base", base)
        job = Job.write(folder, recipe)
        durable.sync_directory(files.jobs)
        return job


def check_channels(store: Store, spec: TaskSpec) -> None:
    """Raises BadInput if what is stored of a stream is not what the task reads."""
    definition = store.recordings.definition(spec.stream)
    if definition is not None and len(definition) != spec.channels:
        raise BadInput(
            f"stream {spec.stream} has {len(definition)} channels, "
            f"task {spec.task} wants {spec.channels}"
        )


def assemble(store: Store, spec: TaskSpec, examples: list[Example]) -> bytearray:
    """int16 windows one after the other, then one class byte each. Raises Missing (evicted)."""
    recordings = {r.id: r for r in store.recordings.of_stream(spec.stream)}
    data = bytearray()
    for example in examples:
        recording: Recording | None = recordings.get(example.recording)
        if recording is None:
            raise Missing(f"samples evicted: recording {example.recording}")
        data += store.recordings.samples(recording, example.first, spec.window)
    data += bytes(example.label for example in examples)
    return data


def hash_frozen(examples: list[Example], data: bytearray) -> bytes:
    """SHA-256 of ordered ids, label revisions, classes and samples."""
    return hashlib.sha256(
        b"fedling frozen 1" + hashlib.sha256(data).digest() + listing(examples)
    ).digest()


def fit(spec: TaskSpec, data: bytearray, count: int) -> Normaliser:
    """The normaliser of a frozen set."""
    if spec.normalise == "none":
        return Normaliser.from_tuples([IDENTITY] * spec.channels)
    width = 2 * spec.window * spec.channels

    def windows() -> list[memoryview]:
        return [memoryview(data)[: count * width]]

    return Normaliser.fit(windows, spec.channels)


def _holds(path: Path, checksum: bytes) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).digest() == checksum
    except OSError:
        return False


def _link(source: Path, target: Path) -> None:
    """A second name; where the file system has none (FAT), a second file."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        durable.write_file(target, source.read_bytes())
