"""Models that a device holds: weights as files by hash, newest first, and its normalisers."""

import json
import os
from pathlib import Path

import cbor2

from fedling_native import Normaliser
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.disk.database import Database
from fedling_protocol.disk.errors import Missing, stored, writing
from fedling_protocol.runtime.slices import Slices
from fedling_protocol.wire.digest import model_hash, start_model_hash
from fedling_protocol.wire.messages import Model, TaskSpec
from fedling_protocol.wire.records import TASK_SPEC

KEPT = 8  # models of a task; a job has its own link to the weights it needs
PIECE = 2**18  # bytes that are read and hashed in one slice
DECODED = 64  # descriptions in memory
KEPT_BYTES = 32 * 2**20  # of a task's weights; the newest is kept whatever its size


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model that is here, without its weights."""

    task: str
    version: int
    hash: bytes
    spec: TaskSpec
    exponents: tuple[int, ...]
    size: int  # bytes of the weights
    path: Path  # of the weights as bytes
    drawn: bool  # nobody has trained it


class Models:
    """The models that came last of every task; of a task that was added again only its own.

    The newest is the one that the aggregator named last, as lives.py remembers it. While that one
    is not here it is the one that came last.
    """

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._directory = directory
        self._decoded: dict[tuple[str, int, bytes], StoredModel] = {}
        self._normalisers: dict[str, tuple[str, Normaliser]] = {}  # by task: text, value

    def put(self, model: Model, generation: int = 0, name: bytes | None = None) -> StoredModel:
        """Store durably a message that was verified. Again: the same. Raises CannotWrite.

        name: the model's hash, if it is known already: that of a large one takes a while
        """
        spec = model.spec
        name = name or model_hash(spec, model.exponents, model.weights)
        what, path = f"model {model.version} of {spec.task}", self._path(name)
        with writing(what):
            durable.write_file(path, model.weights)
        size, exponents = len(model.weights), json.dumps(model.exponents)
        with self._database.transaction(what) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO models "
                "(task, version, hash, spec, exponents, size, generation, drawn, number) VALUES "
                "(?, ?, ?, ?, ?, ?, ?, ?, (SELECT 1 + coalesce(max(number), 0) FROM models))",
                (
                    spec.task,
                    model.version,
                    name,
                    encode_spec(spec),
                    exponents,
                    size,
                    generation,
                    model.drawn,
                ),
            )
            self._decoded.pop((spec.task, model.version, name), None)  # it may have other labels
            dropped = self._beyond(spec.task)
            for version in dropped:
                sql = "DELETE FROM models WHERE task = ? AND version = ?"
                connection.execute(sql, (spec.task, version))
        self.clean()
        return self._remember(
            StoredModel(
                spec.task, model.version, name, spec, model.exponents, size, path, model.drawn
            )
        )

    def newest(self, task: str) -> StoredModel | None:
        """The newest of a task here. It is decoded once, so ask as often as you like."""
        for version, name, _ in self._database.rows(_NEWEST, task):
            if model := self._present(task, version, name):
                return model
        return None

    def holds(self, task: str, generation: int, name: bytes) -> bool:
        """Whether a task has the model of this hash."""
        sql = "SELECT version FROM models WHERE task = ? AND generation = ? AND hash = ?"
        row = self._database.row(sql, task, generation, name)
        return row is not None and self._present(task, row[0], name) is not None

    def find(self, name: bytes) -> StoredModel | None:
        """The model of this hash, if its weights are here."""
        row = self._database.row("SELECT task, version FROM models WHERE hash = ? LIMIT 1", name)
        if row is None:
            return None
        task, version = row
        return self._present(task, version, name)

    def tasks(self) -> list[str]:
        """List the tasks of which a model is here."""
        return [row[0] for row in self._database.rows("SELECT DISTINCT task FROM models")]

    def weights(self, model: StoredModel) -> Slices[bytes]:
        """Read the weights. Raises Missing if they are gone or damaged, and so put aside."""
        weights, digest = bytearray(), start_model_hash(model.spec, model.exponents)
        try:
            with model.path.open("rb", buffering=0) as file:
                while data := file.read(PIECE):
                    weights += data
                    digest.update(data)
                    yield
        except OSError as error:
            reason = error.strerror
        else:
            if digest.digest() == model.hash:
                return bytes(weights)
            model.path.unlink(missing_ok=True)  # so that it is fetched again
            reason = "damaged"
        raise Missing(f"model {model.version} of {model.task}: {reason}")

    def normaliser(self, task: str) -> Normaliser | None:
        """The normaliser of a task's last freeze: Plans.begin() keeps it."""
        row = self._database.row("SELECT channels FROM normalisers WHERE task = ?", task)
        if row is None:
            return None
        known = self._normalisers.get(task)
        if known is None or known[0] != row[0]:
            with stored("a normaliser"):
                known = row[0], Normaliser.from_tuples(json.loads(row[0]))
            self._normalisers[task] = known
        return known[1]

    def clean(self) -> None:
        """Remove the files of models that are not held."""
        held = {row[0].hex() for row in self._database.rows("SELECT hash FROM models")}
        for name in os.listdir(self._directory):
            if name not in held and not (path := self._directory / name).is_dir():
                durable.remove_file(path)

    def _beyond(self, task: str) -> list[int]:
        """Find the versions that are too many."""
        dropped, total = [], 0
        for kept, (version, _, size) in enumerate(self._database.rows(_NEWEST, task)):
            total += size
            if kept > 0 and (kept >= KEPT or total > KEPT_BYTES):
                dropped.append(version)
        return dropped

    def _path(self, name: bytes) -> Path:
        return self._directory / name.hex()

    def _present(self, task: str, version: int, name: bytes) -> StoredModel | None:
        """Make a StoredModel of a row; None if its weights are not here."""
        model = self._decoded.get((task, version, name)) or self._decode(task, version, name)
        return model if model is not None and _is_there(model) else None

    def _decode(self, task: str, version: int, name: bytes) -> StoredModel | None:
        """Decode a model's description; None: put() has dropped it meanwhile."""
        sql = "SELECT spec, exponents, size, drawn FROM models WHERE task = ? AND version = ?"
        row = self._database.row(sql, task, version)
        if row is None:
            return None
        spec, exponents, size, drawn = row
        with stored("a model's description"):
            values, path = tuple(json.loads(exponents)), self._path(name)
            found = StoredModel(
                task, version, name, decode_spec(spec), values, size, path, bool(drawn)
            )
        return self._remember(found)

    def _remember(self, model: StoredModel) -> StoredModel:
        while len(self._decoded) >= DECODED:
            del self._decoded[next(iter(self._decoded))]
        self._decoded[model.task, model.version, model.hash] = model
        return model


_NEWEST = """
SELECT models.version, hash, size FROM models LEFT JOIN seen USING (task)
WHERE task = ? AND (seen.generation IS NULL OR seen.generation = models.generation)
ORDER BY hash IS seen.model DESC, number DESC
"""


def encode_spec(spec: TaskSpec) -> bytes:
    """Encode a task as it is stored beside its models: the map that messages hold."""
    return cbor2.dumps(TASK_SPEC.to_wire(spec))


def decode_spec(data: bytes) -> TaskSpec:
    """Decode what encode_spec() gave; it was verified before it was stored."""
    spec = TASK_SPEC.from_wire(cbor2.loads(data))
    assert isinstance(spec, TaskSpec)
    return spec


def _is_there(model: StoredModel) -> bool:
    try:
        return os.stat(model.path).st_size == model.size
    except OSError:
        return False
