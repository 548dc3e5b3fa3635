"""Models that a device holds: weights as files by hash, newest first, and its normalisers."""

import json
from dataclasses import dataclass
from pathlib import Path

from fedling_native import Normaliser
from fedling_protocol.disk import durable
from fedling_protocol.disk.database import Database, Fields
from fedling_protocol.disk.errors import Missing, writing
from fedling_protocol.wire import payload
from fedling_protocol.wire.digest import model_hash
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Model, Rest, TaskSpec

KEPT = 8  # versions of a task; a job has its own link to the weights it needs
KEPT_BYTES = 32 * 2**20  # of a task's weights; the newest is kept whatever its size


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model without its weights."""

    task: str
    version: int
    hash: bytes
    spec: TaskSpec
    exponents: tuple[int, ...]
    size: int  # bytes of the weights
    path: Path  # of the weights as bytes


class Models:
    """The newest versions of every task."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self._directory = directory

    def put(self, model: Model) -> StoredModel:
        """Store durably a message that was verified. Again: the same. Raises CannotWrite."""
        name = model_hash(model.spec, model.exponents, model.weights)
        what = f"model {model.version} of {model.spec.task}"
        with writing(what):
            durable.write_file(self._path(name), model.weights)
        about = payload.encode(Rest(model.version, name, model.spec, len(model.weights), 0))
        exponents = json.dumps(model.exponents)
        with self._database.transaction(what) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO models (task, version, hash, about, exponents, size) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (model.spec.task, model.version, name, about, exponents, len(model.weights)),
            )
            dropped = self._beyond(model.spec.task)
            for version in dropped:
                sql = "DELETE FROM models WHERE task = ? AND version = ?"
                connection.execute(sql, (model.spec.task, version))
        self.clean()
        return self._stored((about, exponents, len(model.weights)))

    def newest(self, task: str) -> StoredModel | None:
        """The highest version here."""
        sql = "SELECT about, exponents, size FROM models WHERE task = ? ORDER BY version DESC"
        for row in self._database.rows(sql, task):
            if _is_there(model := self._stored(row)):
                return model
        return None

    def find(self, name: bytes) -> StoredModel | None:
        """The model of this hash, if its weights are here."""
        sql = "SELECT about, exponents, size FROM models WHERE hash = ? LIMIT 1"
        row = self._database.row(sql, name)
        if row is None or not _is_there(model := self._stored(row)):
            return None
        return model

    def tasks(self) -> list[str]:
        """Tasks of which a model is here."""
        return [row[0] for row in self._database.rows("SELECT DISTINCT task FROM models")]

    def weights(self, model: StoredModel) -> bytes:
        """Raises Missing if the file is gone or damaged; a damaged one is put aside."""
        try:
            weights = model.path.read_bytes()
        except OSError as error:
            reason = error.strerror
        else:
            if model_hash(model.spec, model.exponents, weights) == model.hash:
                return weights
            model.path.unlink(missing_ok=True)  # so that it is fetched again
            reason = "damaged"
        raise Missing(f"model {model.version} of {model.task}: {reason}")

    def normaliser(self, task: str) -> Normaliser | None:
        """The one of the last freeze: Plans.begin() keeps it."""
        row = self._database.row("SELECT channels FROM normalisers WHERE task = ?", task)
        return None if row is None else Normaliser.from_tuples(json.loads(row[0]))

    def clean(self) -> None:
        """Remove the files of models that are not held."""
        held = {row[0].hex() for row in self._database.rows("SELECT hash FROM models")}
        for path in self._directory.iterdir():
            if path.name not in held:
                durable.remove_file(path)

    def _beyond(self, task: str) -> list[int]:
        """Versions that are too many."""
        sql = "SELECT version, size FROM models WHERE task = ? ORDER BY version DESC"
        dropped, total = [], 0
        for kept, (version, size) in enumerate(self._database.rows(sql, task)):
            total += size
            if kept > 0 and (kept >= KEPT or total > KEPT_BYTES):
                dropped.append(version)
        return dropped

    def _path(self, name: bytes) -> Path:
        return self._directory / name.hex()

    def _stored(self, row: Fields) -> StoredModel:
        about, exponents, size = row
        rest = payload.decode(Kind.PLAN, about)
        assert isinstance(rest, Rest)
        path = self._path(rest.model_hash)
        values = tuple(json.loads(exponents))
        return StoredModel(
            rest.spec.task, rest.version, rest.model_hash, rest.spec, values, size, path
        )


def _is_there(model: StoredModel) -> bool:
    try:
        return model.path.stat().st_size == model.size
    except OSError:
        return False
