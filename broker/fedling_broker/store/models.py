"""The versions of each task's model, and the journal that tells how each came about."""

import json
from dataclasses import replace
from enum import IntEnum
from pathlib import Path

from fedling_broker.aggregation import changes
from fedling_broker.aggregation.optimisers import Setup
from fedling_broker.aggregation.state import ServerState, state_of_weights, state_to_bytes
from fedling_broker.store.horizon import Horizon
from fedling_broker.store.shelf import Damaged, Shelf
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database
from fedling_protocol.wire import digest
from fedling_protocol.wire.messages import Scale, TaskSpec

_SUMS, _WEIGHTS = "SELECT sum_hash FROM journal", "SELECT model_hash FROM models"

_MODEL = "version, model_hash, exponents, scale, drawn"
_FOLD = (
    "round, sum_hash, weight, optimiser, parameters, version, model_hash, state_hash, state_form"
)


ROLLBACK = "rollback"  # in place of an optimiser's name
STATISTICS = "statistics"  # likewise: the sum is of samples, and made a scale


class StateForm(IntEnum):
    """What the journal's hash of a server state is the hash of."""

    VALUES_AND_VELOCITY = 1  # folds before tables 3
    TAGGED = 2  # the file


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A version of a task's model."""

    version: int
    model_hash: bytes
    exponents: tuple[int, ...]
    scale: tuple[Scale, ...] | None = None  # by which its inputs are made; None: none of the fleet
    drawn: bool = False  # nobody has trained it

    def spec(self, task: TaskSpec) -> TaskSpec:
        """The task with the scale of this version."""
        return replace(task, scale=self.scale)


@dataclass(frozen=True, slots=True)
class Fold:
    """A row of the journal: how a model came about."""

    round: int
    sum_hash: bytes
    weight: int  # of all members
    optimiser: str  # its name
    parameters: str  # its parameters, as JSON
    version: int
    model_hash: bytes
    state_hash: bytes  # of the server's state after it
    state_form: int = StateForm.TAGGED

    @property
    def setup(self) -> Setup:
        """Raises ValueError if the row was tampered with."""
        return Setup.parse(self.optimiser, self.parameters)

    @property
    def back_to(self) -> int | None:
        """The version whose weights this one has again; None: it was made of a sum."""
        if self.optimiser != ROLLBACK:
            return None
        return int(json.loads(self.parameters)["version"])

    @property
    def measured(self) -> bool:
        """Whether it made a scale, and left the weights as they were."""
        return self.optimiser == STATISTICS

    @property
    def limited(self) -> bool:
        """Of statistics: whether each device was held near its neighbours."""
        return bool(json.loads(self.parameters)["limited"])

    @property
    def far(self) -> list[str]:
        """Of statistics: the devices that counted as nearer to the others than they were."""
        return list(json.loads(self.parameters)["far"]) if self.measured else []


class Models:
    """Rows of models and of the journal; weights, sums and states as files named by hash."""

    def __init__(self, database: Database, directory: Path) -> None:
        self._database = database
        self.horizon = Horizon(database)
        self.weights = Shelf(directory / "models")
        self.sums = Shelf(directory / "sums")
        self.states = Shelf(directory / "states")

    def newest(self, task: str) -> ModelRow:
        sql = f"SELECT {_MODEL} FROM models WHERE task = ? ORDER BY version DESC LIMIT 1"
        (row,) = self._database.rows(sql, task)
        return _model(*row)

    def find(self, task: str, version: int) -> ModelRow | None:
        sql = f"SELECT {_MODEL} FROM models WHERE task = ? AND version = ?"
        row = self._database.row(sql, task, version)
        return None if row is None else _model(*row)

    def rows(self, task: str) -> list[ModelRow]:
        """By version."""
        sql = f"SELECT {_MODEL} FROM models WHERE task = ? ORDER BY version"
        return [_model(*row) for row in self._database.rows(sql, task)]

    def bytes_of(self, row: ModelRow, spec: TaskSpec) -> bytes:
        """The weights of a version. Raises Damaged."""
        scaled = row.spec(spec)
        return self.weights.get(
            row.model_hash, lambda data: digest.model_hash(scaled, row.exponents, data)
        )

    def change(self, row: ModelRow, spec: TaskSpec) -> bytes | None:
        """What the version before must change by to become this one; None: it is not said so.

        Raises Damaged, if this one is not here.
        """
        before = self.find(spec.task, row.version - 1)
        if before is None or len(before.exponents) != len(row.exponents):
            return None  # of another task, which had this name before or has it since
        try:
            held = self.bytes_of(before, spec)
        except Damaged:
            return None
        shifts = [now - then for now, then in zip(row.exponents, before.exponents, strict=True)]
        return changes.change(spec.layers, held, shifts, self.bytes_of(row, spec))

    def newest_state(self, task: str) -> bytes:
        """The name of the server's state that the next mean is added to."""
        ((name,),) = self._database.rows("SELECT state_hash FROM newest WHERE task = ?", task)
        return bytes(name)

    def put_state(self, spec: TaskSpec, state: ServerState) -> tuple[bytes, bytes]:
        """The files of a state; their names: model hash, state hash. Raises CannotWrite."""
        model_hash = digest.model_hash(spec, state.exponents, state.view)
        self.weights.put(state.view, model_hash)
        return model_hash, self.states.put(state_to_bytes(state))

    def add_first(self, task: str, row: ModelRow, state_hash: bytes) -> None:
        """What the first round stands on; part of the transaction that adds the task."""
        with self._database.transaction("the first model") as connection:
            self._insert(task, row)
            connection.execute("INSERT INTO newest VALUES (?, ?)", (task, state_hash))

    def enter(self, task: str, fold: Fold, made: ModelRow) -> None:
        """Journal and model; part of the transaction that ends the round."""
        with self._database.transaction("a model") as connection:
            connection.execute(
                f"INSERT INTO journal (task, {_FOLD}) VALUES (?,?,?,?,?,?,?,?,?,?)",
                (
                    task, fold.round, fold.sum_hash, fold.weight, fold.optimiser, fold.parameters,
                    fold.version, fold.model_hash, fold.state_hash, fold.state_form,
                ),
            )  # fmt: skip
            self._insert(task, made)
            self.set_newest_state(task, fold.state_hash)

    def set_newest_state(self, task: str, name: bytes) -> None:
        with self._database.transaction("the server's state") as connection:
            sql = "UPDATE newest SET state_hash = ? WHERE task = ?"
            connection.execute(sql, (name, task))

    def roll_back(self, task: str, spec: TaskSpec, to: ModelRow) -> ModelRow:
        """Make the next version of an old one's weights; part of the transaction that ends a round.

        It takes the place of a round in the journal. Raises Damaged.
        """
        state = state_of_weights(spec.layers, to.exponents, self.bytes_of(to, spec))
        newest = self.newest(task)
        scale = to.scale or newest.scale  # what was measured stays known
        model_hash, state_hash = self.put_state(replace(spec, scale=scale), state)
        made = ModelRow(newest.version + 1, model_hash, state.exponents, scale, to.drawn)
        number, parameters = self.folded(task) + 1, json.dumps({"version": to.version})
        fold = Fold(number, b"", 0, ROLLBACK, parameters, made.version, model_hash, state_hash)
        self.enter(task, fold, made)
        return made

    def erase_state(self, name: bytes) -> None:
        """Erase a former state, unless a task stands on it: two may begin with one model.

        The transaction keeps others from adding such a task meanwhile. Raises CannotWrite, Busy.
        """
        with self._database.transaction("the server's states"):
            if name not in self._states():
                self.states.erase(name)

    def folds(self, task: str) -> list[Fold]:
        """The journal, by version."""
        sql = f"SELECT {_FOLD} FROM journal WHERE task = ? ORDER BY version"
        return [Fold(*row) for row in self._database.rows(sql, task)]

    def folded(self, task: str) -> int:
        """How many rounds made a model; statistics are none."""
        sql = "SELECT coalesce(max(round), 0) FROM journal WHERE task = ?"
        ((count,),) = self._database.rows(sql, task)
        return int(count)

    # --- what the MQTT broker retains ------------------------------------------------------------

    def retained(self, task: str) -> list[int]:
        """Versions that the MQTT broker may hold."""
        sql = "SELECT version FROM models WHERE task = ? AND retained = 1 ORDER BY version"
        return [version for (version,) in self._database.rows(sql, task)]

    def chunks(self, task: str, version: int) -> int:
        """How many chunks of each message of a version the MQTT broker may hold."""
        sql = "SELECT chunks FROM models WHERE task = ? AND version = ?"
        return sum(count for (count,) in self._database.rows(sql, task, version))

    def note_chunks(self, task: str, version: int, count: int) -> None:
        """The MQTT broker may hold so many, unless it may hold more."""
        with self._database.transaction("what is retained") as connection:
            sql = "UPDATE models SET chunks = max(chunks, ?) WHERE task = ? AND version = ?"
            connection.execute(sql, (count, task, version))

    def not_retained(self, task: str, version: int) -> None:
        """The MQTT broker has forgotten it."""
        with self._database.transaction("what is retained") as connection:
            sql = "UPDATE models SET retained = 0 WHERE task = ? AND version = ?"
            connection.execute(sql, (task, version))

    def keep_only_files(self) -> None:
        """Erase the files that no row speaks of. Raises CannotWrite."""
        for shelf, query in ((self.sums, _SUMS), (self.weights, _WEIGHTS)):
            shelf.keep_only(name for (name,) in self._database.rows(query))
        self.states.keep_only(self._states())

    def _states(self) -> set[bytes]:
        """The states that a task stands on, or can be made again from."""
        newest = {name for (name,) in self._database.rows("SELECT state_hash FROM newest")}
        return newest.union(self.horizon.states())

    def _insert(self, task: str, row: ModelRow) -> None:
        packed = bytes(exponent & 0xFF for exponent in row.exponents)
        scale = None if row.scale is None else json.dumps(row.scale)
        with self._database.transaction("a model") as connection:
            connection.execute(
                "INSERT INTO models (task, version, model_hash, exponents, retained, scale, drawn,"
                " chunks) VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6, coalesce("
                "(SELECT chunks FROM withdrawn WHERE task = ?1 AND version = ?2), 0))",
                (task, row.version, row.model_hash, packed, scale, row.drawn),
            )
            # It takes the place of a removed task's at the MQTT broker.
            sql = "DELETE FROM withdrawn WHERE task = ? AND version = ?"
            connection.execute(sql, (task, row.version))


def _model(
    version: int, model_hash: bytes, exponents: bytes, scale: str | None, drawn: int
) -> ModelRow:
    signed = tuple(byte - 256 if byte > 127 else byte for byte in exponents)
    known = None if scale is None else tuple(Scale(*row) for row in json.loads(scale))
    return ModelRow(version, model_hash, signed, known, bool(drawn))
