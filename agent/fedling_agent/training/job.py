"""A job: the folder with everything one training needs, and what it leaves there.

    job         what to do (JSON), behind its checksum; written last: it makes the folder a job
    examples    int16 windows of all examples, then one class byte each
    tests       the same of windows that were held out, if there are any
    base        weights as bytes: the model's own file by a second name
    lock        held by the process that trains
    checkpoint  weights and velocity after some batches
    tally       how far the test of models has come, and what it gave
    result      the update, coded if its plan wants that; of a personal model its weights

Whatever is damaged (zeroed by a power cut on a bad card) is noticed by its checksum.
Without `tests` a job is whole: then nothing is tested.
"""

import hashlib
import json
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from fedling_native import Layer, Loss, Normaliser, coded
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.runtime.slices import Slices
from fedling_protocol.wire import work
from fedling_protocol.wire.messages import Hits, Training

_TRAINING = tuple(field.name for field in fields(Training))
_SUM = 32  # bytes of SHA-256
_CHECKPOINT = struct.Struct("<II")  # steps done, bytes of the weights
_RESULT = struct.Struct("<II")  # saturated, examples
_TALLY = struct.Struct("<I")  # windows done
_TESTED = struct.Struct("<II")  # windows, right

PIECE = 2**18  # bytes that are read and hashed in one slice


class Damaged(Exception):
    """A file of the job is missing or not what was written."""


class Coding(NamedTuple):
    """How an update is coded when it is written (NUMERICS.md section 10): twice a byte a weight
    would wear a card out for what is sent as some bits."""

    target: int  # bytes
    seed: tuple[int, int]  # digest.codec_seed


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to train; with examples and base it decides every bit of the result."""

    plan_id: bytes
    layers: tuple[Layer, ...]
    loss: Loss
    exponents: tuple[int, ...]
    training: Training
    seed: bytes  # of the batch order
    count: int  # examples
    values: int  # of one example
    normaliser: Normaliser
    frozen_hash: bytes
    examples_sum: bytes  # SHA-256 of the file
    base_sum: bytes
    tests: int = 0  # windows that were held out
    tests_sum: bytes = b""  # SHA-256 of their file
    personal: bool = False  # it makes a personal model, not an update
    coding: Coding | None = None  # None: the result is written as it is

    @property
    def batches(self) -> int:
        """How many batches one epoch has; the last may be short."""
        return -(-self.count // self.training.batch)

    @property
    def total_steps(self) -> int:
        """How many batches all epochs have."""
        return self.training.epochs * self.batches

    @property
    def total_tests(self) -> int:
        """How many answers are tested: the base's and, of a personal model, its own, too."""
        return (1 + self.personal) * self.tests

    @property
    def batch_work(self) -> int:
        """Multiply-accumulates of a batch."""
        return work.of_batch(self.layers, self.training.batch)

    def to_json(self) -> bytes:
        """Write it as from_json reads it."""
        return json.dumps(
            {
                "plan_id": self.plan_id.hex(),
                "layers": [layer.to_ints() for layer in self.layers],
                "loss": self.loss,
                "exponents": self.exponents,
                "training": {name: getattr(self.training, name) for name in _TRAINING},
                "seed": self.seed.hex(),
                "count": self.count,
                "values": self.values,
                "normaliser": self.normaliser.to_tuples(),
                "frozen_hash": self.frozen_hash.hex(),
                "examples_sum": self.examples_sum.hex(),
                "base_sum": self.base_sum.hex(),
                "tests": self.tests,
                "tests_sum": self.tests_sum.hex(),
                "personal": self.personal,
                "coding": self.coding,
            }
        ).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Recipe":
        """Read it from a file whose checksum is right."""
        values = json.loads(data)
        values.setdefault("tests_sum", "")  # of a job that was frozen before there were tests
        sums = ("frozen_hash", "examples_sum", "base_sum", "tests_sum")
        for name in ("plan_id", "seed", *sums):
            values[name] = bytes.fromhex(values[name])
        values["layers"] = tuple(Layer.from_ints(layer) for layer in values["layers"])
        values["loss"] = Loss(values["loss"])
        values["exponents"] = tuple(values["exponents"])
        values["training"] = Training(**values["training"])
        values["normaliser"] = Normaliser.from_tuples(values["normaliser"])
        if values.setdefault("coding", None) is not None:  # a release before this one has none
            target, seed = values["coding"]
            values["coding"] = Coding(target, tuple(seed))
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a training after some steps."""

    steps: int
    weights: bytes
    velocity: bytes  # empty without momentum


@dataclass(frozen=True, slots=True)
class Tally:
    """The state of a test after some windows."""

    done: int
    tested: tuple[Hits, ...]  # each class of each model


@dataclass(frozen=True, slots=True)
class Result:
    """What training changed, ready to be put into an Update, or a personal model."""

    vector: bytes  # NUMERICS.md section 7, coded if the recipe says so; of a personal model weights
    vector_hash: bytes  # SHA-256 of it before it was coded
    saturated: int
    examples: int
    tested: tuple[Hits, ...] | None = None  # each class, by each model; None: nothing was


class Job:
    """A folder made by Freezer, whole and unchanged since."""

    def __init__(self, directory: Path, recipe: Recipe, data: bytes) -> None:
        """A folder whose `job` holds the recipe, as data. Use open() or write()."""
        self.directory = directory
        self.recipe = recipe
        self._identity = hashlib.sha256(data).digest()  # of all that comes of it

    @classmethod
    def open(cls, directory: Path) -> "Job":
        """Open a folder. Raises Damaged if there is no whole `job` in it."""
        data = _read(os.path.join(directory, "job"))
        with _sound("job"):
            return cls(directory, Recipe.from_json(data), data)

    @classmethod
    def write(cls, directory: Path, recipe: Recipe) -> "Job":
        """Make a folder with `examples` and `base` in it a job."""
        data = recipe.to_json()
        _write(directory, "job", data)
        return cls(directory, recipe, data)

    @property
    def plan_id(self) -> bytes:
        """The plan that the job answers."""
        return self.recipe.plan_id

    @property
    def total_steps(self) -> int:
        """Batches of all epochs."""
        return self.recipe.total_steps

    @property
    def batch_work(self) -> int:
        """Multiply-accumulates of one of them."""
        return self.recipe.batch_work

    def base(self) -> bytes:
        """The weights that training starts from. Raises Damaged."""
        try:
            data = (self.directory / "base").read_bytes()
        except OSError as error:
            raise Damaged(f"base: {error.strerror}") from error
        if hashlib.sha256(data).digest() != self.recipe.base_sum:
            raise Damaged("base: wrong checksum")
        return data

    @contextmanager
    def examples(self) -> Iterator[memoryview]:
        """Map the file of examples as long as it is used, page by page. Raises Damaged."""
        size = self.recipe.count * (2 * self.recipe.values + 1)
        path = self.directory / "examples"
        with ExitStack() as held:
            try:
                file = held.enter_context(path.open("rb"))
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:  # ValueError: an empty file
                raise Damaged(f"examples: {error}") from error
            view = held.enter_context(memoryview(held.enter_context(mapped)))
            if len(view) != size or hashlib.sha256(view).digest() != self.recipe.examples_sum:
                raise Damaged("examples: wrong checksum")
            yield view

    def tests(self) -> bytes:
        """Read the windows that test the base model; empty: there are none. Raises Damaged."""
        if not self.recipe.tests:
            return b""
        try:
            data = (self.directory / "tests").read_bytes()
        except OSError as error:
            raise Damaged(f"tests: {error.strerror}") from error
        if hashlib.sha256(data).digest() != self.recipe.tests_sum:
            raise Damaged("tests: wrong checksum")
        return data

    def check(self) -> Slices[None]:
        """Look whether training could start on this job. Raises Damaged if not."""
        sums = {"base": self.recipe.base_sum, "examples": self.recipe.examples_sum}
        for name, expected in sums.items():
            digest = hashlib.sha256()
            try:
                with (self.directory / name).open("rb", buffering=0) as file:
                    while data := file.read(PIECE):
                        digest.update(data)
                        yield
            except OSError as error:
                raise Damaged(f"{name}: {error.strerror}") from error
            if digest.digest() != expected:
                raise Damaged(f"{name}: wrong checksum")

    def checkpoint(self) -> Checkpoint | None:
        """Read the last checkpoint; None if there is none. Raises Damaged."""
        data = self._find("checkpoint")
        if data is None:
            return None
        with _sound("checkpoint"):
            steps, size = _CHECKPOINT.unpack_from(data)
        end = _CHECKPOINT.size + size
        return Checkpoint(steps, data[_CHECKPOINT.size : end], data[end:])

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, durably; it replaces the one before."""
        head = self._identity
        head += _CHECKPOINT.pack(checkpoint.steps, len(checkpoint.weights))
        _write(self.directory, "checkpoint", head + checkpoint.weights + checkpoint.velocity)

    def done_steps(self) -> int:
        """How many batches the last checkpoint has behind it."""
        try:
            checkpoint = self.checkpoint()
        except Damaged:
            return 0
        return checkpoint.steps if checkpoint else 0

    def tally(self) -> Tally | None:
        """Read how far the test has come; None: not begun, or not known any more."""
        try:
            data = self._find("tally")
        except Damaged:
            return None
        if data is None:
            return None
        (done,) = _TALLY.unpack_from(data)
        return Tally(done, tuple(Hits(*one) for one in _TESTED.iter_unpack(data[_TALLY.size :])))

    def write_tally(self, tally: Tally) -> None:
        """Keep how far the test has come, durably."""
        data = _TALLY.pack(tally.done) + b"".join(_TESTED.pack(*one) for one in tally.tested)
        _write(self.directory, "tally", self._identity + data)

    def result(self) -> Result | None:
        """Read the result; None if the training has not finished. Raises Damaged."""
        try:
            data = self._find("result")
        except Damaged:
            return None
        if data is None:
            return None
        with _sound("result"):
            saturated, examples = _RESULT.unpack_from(data)
        tally = self.tally()
        whole = tally is not None and tally.done == self.recipe.total_tests
        tested = tally.tested if tally is not None and whole else None
        vector, vector_hash = data[_RESULT.size :], b""
        if self.recipe.coding is not None:
            vector, vector_hash = vector[_SUM:], vector[:_SUM]
        vector_hash = vector_hash or hashlib.sha256(vector).digest()
        return Result(vector, vector_hash, saturated, examples, tested)

    def write_result(self, vector: bytes, saturated: int) -> None:
        """Keep the result, durably: the tally of the test is there, if there was one."""
        head = self._identity + _RESULT.pack(saturated, self.recipe.count)
        if (coding := self.recipe.coding) is not None:
            head += hashlib.sha256(vector).digest()
            vector = coded.encode(self.recipe.layers, self.recipe.exponents, vector, *coding)
        _write(self.directory, "result", head + vector)

    def _find(self, name: str) -> bytes | None:
        """Find what was written for just this recipe, by whatever processor and version."""
        path = os.path.join(self.directory, name)
        if not os.path.exists(path):
            return None
        data = _read(path)
        if not data.startswith(self._identity):
            raise Damaged(f"{name}: of another job")
        return data[len(self._identity) :]


@contextmanager
def _sound(name: str) -> Iterator[None]:
    """Read what has the right checksum, and may be of another version. Raises Damaged."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise Damaged(f"{name}: of another version of fedling: {error!r}") from error


def _write(directory: Path, name: str, data: bytes) -> None:
    durable.write_file(directory / name, hashlib.sha256(data).digest() + data)


def _read(path: str) -> bytes:
    name = os.path.basename(path)
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.readall()
    except OSError as error:
        raise Damaged(f"{name}: {error.strerror}") from error
    if hashlib.sha256(data[_SUM:]).digest() != data[:_SUM]:
        raise Damaged(f"{name}: wrong checksum")
    return data[_SUM:]
