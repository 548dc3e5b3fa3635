"""Makes the job of a personal model: gathered in slices, written beside the loop."""

import hashlib
from collections.abc import Iterator
from functools import partial

from fedling_agent.data.recording import Recording
from fedling_agent.data.windows import Cutter, choose, room, training_windows
from fedling_agent.store.files import remove_job
from fedling_agent.store.models import StoredModel
from fedling_agent.store.store import Store
from fedling_agent.training import personal
from fedling_agent.training.freeze import (
    Read,
    Write,
    check_channels,
    link,
    normaliser_of,
    read_windows,
)
from fedling_agent.training.job import Damaged, Job, Recipe
from fedling_agent.training.personal import Parted
from fedling_native import Sums
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import Missing, writing
from fedling_protocol.runtime.slices import Slices
from fedling_protocol.wire.digest import order_seed
from fedling_protocol.wire.messages import TaskSpec, Training

_ID = b"fedling personal 1"


@dataclass(frozen=True, slots=True)
class Maker:
    """What the job of a personal model is made of, whichever task it is of."""

    store: Store
    fleet: str
    secret: bytes  # the device's, for batch order and hold-out
    tests: bool  # windows that are held out of rounds train no personal model either

    def gather(self, model: StoredModel, training: Training) -> Slices[Write]:
        """Find the job that is in work on this model, or gather a new one.

        training: as the last plan says. Raises Missing (too few windows, or the model is not
        here), BadInput (the stream does not fit the task).
        """
        found = yield from self._find(model)
        if found is not None:
            return partial(_same, found)
        store, spec = self.store, model.spec
        check_channels(store, spec)
        parted, used = yield from self._parted(spec, training)
        train = yield from read_windows(store.recordings, spec, parted.train, used)
        chosen = yield from read_windows(store.recordings, spec, parted.choose, used)
        weights = yield from store.models.weights(model)
        recipe = self._recipe(model, training, weights, parted, train, chosen)
        return partial(self._write, model, recipe, train, chosen)

    def _find(self, model: StoredModel) -> Slices[Job | None]:
        try:
            job = Job.open(self.store.personal.job(model.task, model.spec.stream))
            if job.plan_id != job_id(model.hash, job.recipe.frozen_hash):
                return None
            yield from job.check()
        except Damaged:
            return None
        return job

    def _parted(self, spec: TaskSpec, training: Training) -> Slices[tuple[Parted, list[Recording]]]:
        """Part the newest windows; those that are held out as well where a label has no others."""
        for cutter in self._cutters(spec, training):
            windows, used = yield from choose(
                self.store.recordings, spec.stream, cutter, room(spec)
            )
            parted = yield from personal.part(windows, spec)
            if personal.is_enough(parted, spec):
                return parted, used
        raise Missing(f"too few windows of a label of {spec.task}")

    def _cutters(self, spec: TaskSpec, training: Training) -> Iterator[Cutter]:
        if training.holdout and self.tests:
            yield training_windows(spec, training, self.secret)
        yield Cutter(spec, None)

    def _recipe(
        self,
        model: StoredModel,
        training: Training,
        weights: bytes,
        parted: Parted,
        train: Read,
        chosen: Read,
    ) -> Recipe:
        spec = model.spec
        frozen_hash = hashlib.sha256(_ID + train.sum + chosen.sum).digest()
        name = job_id(model.hash, frozen_hash)
        return Recipe(
            plan_id=name,
            layers=spec.layers,
            loss=spec.loss,
            exponents=model.exponents,
            training=personal.further(training),
            seed=order_seed(self.secret, self.fleet, spec.task, name),
            count=len(parted.train),
            values=spec.window * spec.channels,
            normaliser=normaliser_of(spec, together(train.sums, chosen.sums)),
            frozen_hash=frozen_hash,
            examples_sum=train.sum,
            base_sum=hashlib.sha256(weights).digest(),
            tests=len(parted.choose),
            tests_sum=chosen.sum,
            personal=True,
        )

    def _write(self, model: StoredModel, recipe: Recipe, train: Read, chosen: Read) -> Job:
        """Make the job's folder in place of an older one, which goes first."""
        kept = self.store.personal
        if not model.path.exists():  # newer ones have taken its place
            raise Missing(f"model {model.version} of {model.task} is not here any more")
        with writing("the examples of a personal model"):
            folder = kept.job(model.task, model.spec.stream)
            if folder.exists():
                remove_job(folder)
            folder.mkdir(mode=0o700)
            durable.write_file(folder / "examples", train.data)
            durable.write_file(folder / "tests", chosen.data)
            link(model.path, folder / "base")
            job = Job.write(folder, recipe)
            durable.sync_directory(kept.directory)
        return job


def job_id(base: bytes, frozen_hash: bytes) -> bytes:
    """Name a job by what it is made of, as a plan_id names a round: 16 bytes, never one of those.

    base: hash of the fleet's model
    """
    return hashlib.sha256(_ID + base + frozen_hash).digest()[:16]


def together(one: Sums, other: Sums) -> Sums:
    """Add up sums over windows."""
    columns = (
        tuple(map(sum, zip(*pair, strict=True)))
        for pair in ((one.sums, other.sums), (one.squares, other.squares))
    )
    return Sums(one.count + other.count, *columns)


def _same(job: Job) -> Job:
    return job
