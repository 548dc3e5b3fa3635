"""Personal models: of each task the last that was made, and what chose between it and the fleet's.

The fleet's model is one slot, the row's file the other. A file is written under its hash, read
back, and named by the row in one transaction; only then the one before it goes. Whatever is damaged
later falls back to the fleet's model.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fedling_agent.store.files import remove_job
from fedling_agent.store.models import StoredModel, decode_spec, encode_spec
from fedling_native import Normaliser
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.disk.database import Database
from fedling_protocol.disk.errors import CannotWrite, Missing, stored, writing
from fedling_protocol.runtime.slices import Slices
from fedling_protocol.wire.digest import model_hash, start_model_hash
from fedling_protocol.wire.messages import Hits, TaskSpec

PIECE = 2**18  # bytes that are read and hashed in one slice
FILE = ".model"  # ends the name of a file with weights
BETWEEN = "@"  # task and stream, in the name of a job's folder: no name has one


@dataclass(frozen=True, slots=True)
class Made:
    """A personal model that was made and compared with the fleet's, without its weights."""

    spec: TaskSpec  # of the fleet's model
    version: int  # of the fleet's model from which it was trained further
    base: bytes  # hash of that model
    exponents: tuple[int, ...]
    normaliser: Normaliser
    hash: bytes | None  # as model_hash() has it; None: the fleet's answers, which did no worse
    fleets: Hits  # on the windows that chose
    own: Hits
    examples: int  # windows that trained it
    stock: int  # samples that had come with a label of the task, see stock_of()

    @property
    def task(self) -> str:
        return self.spec.task


class PersonalModels:
    """One for each task, at most. Folders beside the files are jobs that make one.

    Nothing of it is ever on the wire.
    """

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self.directory = directory

    def job(self, task: str, stream: str) -> Path:
        """Where the job that makes a task's personal model from a stream is, or will be."""
        return self.directory / f"{task}{BETWEEN}{stream}"

    def put(self, made: Made, weights: bytes | None) -> Made:
        """Switch to what was made, durably; its job goes. Raises CannotWrite.

        weights: canonical bytes; None: the fleet's model goes on answering
        """
        what, name = f"the personal model of {made.task}", None
        if weights is not None:
            name = model_hash(made.spec, made.exponents, weights)
            with writing(what):
                durable.write_file(self._path(name), weights)
                if self._path(name).read_bytes() != weights:
                    raise CannotWrite(what, "the disk holds something else than was written")
        made = replace(made, hash=name)
        with self._database.transaction(what) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO personal (task, spec, version, base, exponents, normaliser,"
                " hash, windows, fleets_right, own_right, examples, stock)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    made.task,
                    encode_spec(made.spec),
                    made.version,
                    made.base,
                    json.dumps(made.exponents),
                    json.dumps(made.normaliser.to_tuples()),
                    name,
                    made.own.windows,
                    made.fleets.right,
                    made.own.right,
                    made.examples,
                    made.stock,
                ),
            )
        self.end_job(made.task)
        self.clean()
        return made

    def last(self, task: str) -> Made | None:
        """Find what was made last, whether it was better or not; None: nothing, or its file is
        gone, so that it is made again."""
        row = self._database.row(_LAST, task)
        if row is None:
            return None
        with stored("a personal model"):
            spec, version, base, exponents, normaliser, name, windows, fleets, own, *rest = row
            made = Made(
                decode_spec(spec),
                version,
                base,
                tuple(json.loads(exponents)),
                Normaliser.from_tuples(json.loads(normaliser)),
                name,
                Hits(windows, fleets),
                Hits(windows, own),
                *rest,
            )
        return made if name is None or self._path(name).exists() else None

    def in_use(self, newest: StoredModel) -> Made | None:
        """Find the personal model that answers in place of the fleet's newest, if one does: it is
        the better one, and the task still asks for the same."""
        made = self.last(newest.task)
        if made is None or made.hash is None or not is_same(made.spec, newest.spec):
            return None
        return made

    def weights(self, made: Made) -> Slices[bytes]:
        """Read the weights of one that is in use. Raises Missing: they are gone or damaged, and so
        removed: the fleet's model answers, and another one will be made."""
        assert made.hash is not None
        weights, digest = bytearray(), start_model_hash(made.spec, made.exponents)
        path, reason = self._path(made.hash), "damaged"
        try:
            with path.open("rb", buffering=0) as file:
                while data := file.read(PIECE):
                    weights += data
                    digest.update(data)
                    yield
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            if digest.digest() == made.hash:
                return bytes(weights)
        path.unlink(missing_ok=True)
        raise Missing(f"the personal model of {made.task}: {reason}")

    def erase(self, task: str) -> None:
        """Forget a task's personal model. No child may run on its job. Raises CannotWrite."""
        self.end_job(task)
        with self._database.transaction("a personal model") as connection:
            connection.execute("DELETE FROM personal WHERE task = ?", (task,))
        self.clean()

    def erase_stream(self, stream: str) -> None:
        """Forget what was learned from a stream, jobs as well. Raises CannotWrite."""
        self._end_jobs(lambda name: name.endswith(BETWEEN + stream))
        for task, spec in self._database.rows("SELECT task, spec FROM personal"):
            with stored("a personal model"):
                is_of = decode_spec(spec).stream == stream
            if is_of:
                self.erase(task)

    def any(self) -> bool:
        """Whether there is something to forget."""
        return bool(os.listdir(self.directory) or self._database.row("SELECT 1 FROM personal"))

    def erase_all(self) -> None:
        """Forget all: the owner wants none any more. Raises CannotWrite."""
        self._end_jobs(lambda _name: True)
        for (task,) in self._database.rows("SELECT task FROM personal"):
            self.erase(task)

    def end_job(self, task: str) -> None:
        """Remove the job of a task, if there is one. Raises CannotWrite."""
        self._end_jobs(lambda name: name.startswith(task + BETWEEN))

    def _end_jobs(self, wanted: Callable[[str], bool]) -> None:
        for name in os.listdir(self.directory):
            if BETWEEN in name and wanted(name):
                with writing("the folders of the store"):
                    remove_job(self.directory / name)
                    durable.sync_directory(self.directory)

    def clean(self) -> None:
        """Remove files that no row names."""
        rows = self._database.rows("SELECT hash FROM personal WHERE hash IS NOT NULL")
        held = {row[0].hex() + FILE for row in rows}
        for name in os.listdir(self.directory):
            if name.endswith(FILE) and name not in held:
                durable.remove_file(self.directory / name)

    def _path(self, name: bytes) -> Path:
        return self.directory / (name.hex() + FILE)


_LAST = """
SELECT spec, version, base, exponents, normaliser, hash, windows, fleets_right, own_right, examples,
    stock
FROM personal WHERE task = ?
"""


def is_same(one: TaskSpec, other: TaskSpec) -> bool:
    """Whether two versions of a task ask the same of a model: a personal one has a scale of its
    own, and how often a window begins does not matter to it."""
    return replace(one, stride=1, scale=None) == replace(other, stride=1, scale=None)
