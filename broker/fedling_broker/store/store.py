"""The aggregator's facts: SQLite rows, and the files that they name by hash."""

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedling_broker.aggregation import aggregate, initial
from fedling_broker.aggregation.aggregate import ServerState
from fedling_broker.rounds.events import Decision
from fedling_broker.rounds.state import OnDisk
from fedling_broker.store.database import create_database, open_database
from fedling_broker.store.ledger import Ledger
from fedling_broker.store.shelf import Shelf
from fedling_broker.tasks.task_file import Task
from fedling_native import Layer
from fedling_protocol.disk.errors import writing
from fedling_protocol.wire import digest
from fedling_protocol.wire.messages import TaskSpec, Verdict

FIRST_VERSION = 1
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class TaskExists(Exception):
    """A task of this name was added before."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as it was added."""

    name: str
    text: str
    paused: bool


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A round that was opened."""

    round: int
    plan_id: bytes
    base_version: int
    base_hash: bytes
    opened_ms: int
    boot: str
    age_ms: int
    closed: bool
    folded: bool


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """The first verdict on a device's update, with what accounting needs."""

    device: str
    verdict: str
    reason: str
    update_hash: bytes
    size: int  # bytes of the message; 0: it never came
    weight: int
    saturated: int


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A version of a task's model."""

    version: int
    model_hash: bytes
    exponents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """A row of the journal: how a model came about."""

    round: int
    sum_hash: bytes
    weight: int
    momentum: int
    version: int
    model_hash: bytes
    state_hash: bytes


_PLAN = "round, plan_id, base_version, base_hash, opened_ms, boot, age_ms, closed, folded"
_MODEL = "version, model_hash, exponents"
_FOLD = "round, sum_hash, weight, momentum, version, model_hash, state_hash"


def boot_id() -> str:
    """Names this boot of the kernel, since other boots had other clocks. Empty: unknown."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:  # a sandbox that hides it
        return ""


def boot_ms() -> int:
    """Milliseconds since boot, time asleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Store:
    """Every write returns when it is on disk. Raises CannotWrite, Busy when it cannot."""

    def __init__(self, directory: Path, *, alone: bool = False) -> None:
        """alone: the caller holds the lock of the directory. Raises as open_database does."""
        self.database = open_database(directory, alone=alone)
        self.ledger = Ledger(self.database)
        shelves = (Shelf(directory / kind) for kind in ("updates", "sums", "states", "models"))
        self.updates, self.sums, self.states, self.models = shelves

    @staticmethod
    def create(directory: Path) -> None:
        """Make the state directory; what is there stays."""
        with writing(str(directory)):
            for kind in ("updates", "sums", "states", "models"):
                (directory / kind).mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
        create_database(directory)

    def tidy(self) -> None:
        """Erase the files that no row speaks of. Only the one process that folds may do this.

        The transaction keeps `add_task` of another process from putting files meanwhile.
        """
        with self.database.transaction("the files of the state") as connection:
            for shelf, query in (
                (self.updates, "SELECT update_hash FROM decisions WHERE kept = 1"),
                (self.sums, "SELECT sum_hash FROM journal"),
                (self.states, "SELECT state_hash FROM newest"),
                (self.models, "SELECT model_hash FROM models"),
            ):
                shelf.keep_only(name for (name,) in connection.execute(query).fetchall())

    def close(self) -> None:
        self.database.close()

    # --- tasks -----------------------------------------------------------------------------------

    def add_task(
        self, task: Task, text: str, seed: bytes, imported: ServerState | None = None
    ) -> None:
        """A task and its first model: drawn from the seed, or imported. Raises TaskExists."""
        state = imported or initial.initial_state(task.spec.layers, seed, task.spec.loss)
        with self.database.transaction("the task") as connection:
            if self.has_task(task.name):
                raise TaskExists(
                    f"task {task.name} is there already; to begin anew: fedling-broker task remove"
                    f" {task.name}"
                )
            model_hash, state_hash = self.put_state(task.spec, state)
            connection.execute(
                "INSERT INTO tasks VALUES (?, ?, 0, ?)",
                (task.name, text, None if imported is None else model_hash),
            )
            self._insert_model(connection, task.name, FIRST_VERSION, model_hash, state.exponents)
            connection.execute("INSERT INTO newest VALUES (?, ?)", (task.name, state_hash))

    def put_state(self, spec: TaskSpec, state: ServerState) -> tuple[bytes, bytes]:
        """The files of a state; their names: model hash, state hash."""
        weights = aggregate.stored_weights(state)
        model_hash = digest.model_hash(spec, state.exponents, weights)
        self.models.put(weights, model_hash)
        return model_hash, self.states.put(aggregate.pack_state(state))

    def tasks(self) -> list[TaskRow]:
        rows = self.database.rows("SELECT name, text, paused FROM tasks ORDER BY name")
        return [TaskRow(name, text, bool(paused)) for name, text, paused in rows]

    def has_task(self, name: str) -> bool:
        return self.database.row("SELECT 1 FROM tasks WHERE name = ?", name) is not None

    def imported(self, name: str) -> bytes | None:
        """Hash of the first model, if it was not drawn from the seed."""
        ((found,),) = self.database.rows("SELECT imported FROM tasks WHERE name = ?", name)
        return None if found is None else bytes(found)

    def pause_task(self, name: str, paused: bool) -> bool:
        """False: there is no such task."""
        with self.database.transaction("the task") as connection:
            changed = connection.execute(
                "UPDATE tasks SET paused = ? WHERE name = ?", (paused, name)
            )
            return changed.rowcount > 0

    def remove_task(self, name: str) -> bool:
        """With all its rounds, models and verdicts. False: there is no such task.

        Another epoch begins: a task that is added again gets other plan ids, since devices never
        train for a plan that they have finished.
        """
        with self.database.transaction("the removal of a task") as connection:
            connection.execute("DELETE FROM decisions WHERE task = ?", (name,))
            if connection.execute("DELETE FROM tasks WHERE name = ?", (name,)).rowcount == 0:
                return False
            self.ledger.raise_meta("restore_epoch")
            return True

    # --- rounds ----------------------------------------------------------------------------------

    def done(self, task: str) -> int:
        """Rounds folded."""
        ((folded,),) = self.database.rows("SELECT count(*) FROM journal WHERE task = ?", task)
        return int(folded)

    def plans(self, task: str) -> list[PlanRow]:
        """By round."""
        rows = self.database.rows(f"SELECT {_PLAN} FROM plans WHERE task = ? ORDER BY round", task)
        return [_plan(row) for row in rows]

    def plan(self, task: str, plan_id: bytes) -> PlanRow | None:
        row = self.database.row(
            f"SELECT {_PLAN} FROM plans WHERE task = ? AND plan_id = ?", task, plan_id
        )
        return None if row is None else _plan(row)

    def on_disk(self, task: str) -> OnDisk | None:
        """The plan that is not folded, as the rounds are restored from it."""
        row = self.database.row(f"SELECT {_PLAN} FROM plans WHERE task = ? AND folded = 0", task)
        if row is None:
            return None
        plan = _plan(row)
        same_boot = plan.boot != "" and plan.boot == boot_id()
        age_ms = boot_ms() - plan.opened_ms if same_boot else plan.age_ms
        accepted = frozenset(d.device for d in self.decisions(task, plan.plan_id, accepted=True))
        return OnDisk(plan.plan_id, plan.closed, age_ms, self.places(task, plan.plan_id), accepted)

    def places(self, task: str, plan_id: bytes) -> Mapping[str, int]:
        rows = self.database.rows(
            "SELECT device, until_ms FROM places WHERE task = ? AND plan_id = ?", task, plan_id
        )
        return dict(rows)

    def open_round(self, task: str, number: int, plan_id: bytes, base: ModelRow) -> None:
        """Idempotent: the same plan may be opened again."""
        with self.database.transaction("the round") as connection:
            connection.execute(
                f"INSERT OR IGNORE INTO plans (task, {_PLAN}) VALUES (?,?,?,?,?,?,?,0,0,0)",
                (task, number, plan_id, base.version, base.model_hash, boot_ms(), boot_id()),
            )

    def grant(
        self, task: str, plan_id: bytes, device: str, until_ms: int, instead_of: str | None
    ) -> None:
        with self.database.transaction("a place") as connection:
            connection.execute(
                "DELETE FROM places WHERE task = ? AND plan_id = ? AND device = ?",
                (task, plan_id, instead_of),
            )
            connection.execute(
                "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)",
                (task, plan_id, device, until_ms),
            )

    def grown(self, task: str, plan_id: bytes, age_ms: int) -> None:
        """The round is so old; part of the transaction around it."""
        with self.database.transaction("the age of a round") as connection:
            connection.execute(
                "UPDATE plans SET age_ms = max(age_ms, ?) WHERE task = ? AND plan_id = ?",
                (age_ms, task, plan_id),
            )

    def close_round(self, task: str, plan_id: bytes) -> None:
        with self.database.transaction("the end of a round") as connection:
            connection.execute(
                "UPDATE plans SET closed = 1 WHERE task = ? AND plan_id = ?", (task, plan_id)
            )

    # --- verdicts --------------------------------------------------------------------------------

    def decide(self, task: str, plan_id: bytes, row: DecisionRow) -> None:
        """The first verdict stays; the device's place ends with it."""
        with self.database.transaction("a verdict") as connection:
            connection.execute(
                "INSERT OR IGNORE INTO decisions VALUES (?,?,?,?,?,?,?,?,?,?)",
                (
                    task, plan_id, row.device, row.verdict, row.reason, row.update_hash,
                    row.size, row.weight, row.saturated, row.verdict == Verdict.ACCEPTED,
                ),
            )  # fmt: skip
            connection.execute(
                "DELETE FROM places WHERE task = ? AND plan_id = ? AND device = ?",
                (task, plan_id, row.device),
            )

    def decision(self, task: str, plan_id: bytes, device: str) -> Decision | None:
        row = self.database.row(
            "SELECT update_hash, verdict, reason FROM decisions"
            " WHERE task = ? AND plan_id = ? AND device = ?",
            task, plan_id, device,
        )  # fmt: skip
        return None if row is None else Decision(row[0], Verdict(row[1]), row[2])

    def decisions(self, task: str, plan_id: bytes, *, accepted: bool = False) -> list[DecisionRow]:
        """By device. accepted: only those in the sum."""
        rows = self.database.rows(
            "SELECT device, verdict, reason, update_hash, size, weight, saturated FROM decisions"
            " WHERE task = ? AND plan_id = ? AND (verdict = 'accepted' OR NOT ?) ORDER BY device",
            task,
            plan_id,
            accepted,
        )
        return [DecisionRow(*row) for row in rows]

    def kept_updates(self, task: str, plan_id: bytes) -> set[bytes]:
        """Hashes of the accepted updates whose files must be there."""
        rows = self.database.rows(
            "SELECT update_hash FROM decisions WHERE task = ? AND plan_id = ? AND kept = 1",
            task,
            plan_id,
        )
        return {update_hash for (update_hash,) in rows}

    # --- models ----------------------------------------------------------------------------------

    def newest(self, task: str) -> ModelRow:
        newest = f"SELECT {_MODEL} FROM models WHERE task = ? ORDER BY version DESC LIMIT 1"
        (row,) = self.database.rows(newest, task)
        return _model(row)

    def model_rows(self, task: str) -> list[ModelRow]:
        """By version."""
        rows = self.database.rows(
            f"SELECT {_MODEL} FROM models WHERE task = ? ORDER BY version", task
        )
        return [_model(row) for row in rows]

    def weights(self, row: ModelRow, spec: TaskSpec) -> bytes:
        """The weights of a version. Raises Damaged."""
        return self.models.get(
            row.model_hash, lambda data: digest.model_hash(spec, row.exponents, data)
        )

    def newest_state(self, task: str, layers: tuple[Layer, ...]) -> ServerState:
        """What the next mean is added to. Raises Damaged."""
        ((name,),) = self.database.rows("SELECT state_hash FROM newest WHERE task = ?", task)
        return aggregate.unpack_state(layers, self.newest(task).exponents, self.states.get(name))

    def folds(self, task: str) -> list[Fold]:
        """The journal, by round."""
        rows = self.database.rows(
            f"SELECT {_FOLD} FROM journal WHERE task = ? ORDER BY round", task
        )
        return [Fold(*row) for row in rows]

    def enter_fold(
        self, task: str, plan_id: bytes, fold: Fold, exponents: tuple[int, ...], keep: bool
    ) -> None:
        """Journal, model and plan in one transaction. keep: the updates stay for audits."""
        with self.database.transaction("a model") as connection:
            connection.execute(
                f"INSERT INTO journal (task, {_FOLD}) VALUES (?,?,?,?,?,?,?,?)",
                (
                    task, fold.round, fold.sum_hash, fold.weight, fold.momentum, fold.version,
                    fold.model_hash, fold.state_hash,
                ),
            )  # fmt: skip
            self._insert_model(connection, task, fold.version, fold.model_hash, exponents)
            connection.execute("UPDATE newest SET state_hash = ? WHERE task = ?",
                               (fold.state_hash, task))  # fmt: skip
            connection.execute(
                "UPDATE decisions SET kept = kept AND ? WHERE task = ? AND plan_id = ?",
                (keep, task, plan_id),
            )
            connection.execute(
                "UPDATE plans SET folded = 1 WHERE task = ? AND plan_id = ?", (task, plan_id)
            )

    def retained_models(self, task: str) -> list[int]:
        """Versions that the MQTT broker may hold."""
        rows = self.database.rows(
            "SELECT version FROM models WHERE task = ? AND retained = 1 ORDER BY version", task
        )
        return [version for (version,) in rows]

    def not_retained(self, task: str, version: int) -> None:
        with self.database.transaction("what is retained") as connection:
            connection.execute(
                "UPDATE models SET retained = 0 WHERE task = ? AND version = ?", (task, version)
            )

    @staticmethod
    def _insert_model(
        connection: sqlite3.Connection,
        task: str,
        version: int,
        model_hash: bytes,
        exponents: tuple[int, ...],
    ) -> None:
        packed = bytes(exponent & 0xFF for exponent in exponents)
        connection.execute(
            "INSERT INTO models VALUES (?, ?, ?, ?, 1)", (task, version, model_hash, packed)
        )


def _plan(row: tuple[int, bytes, int, bytes, int, str, int, int, int]) -> PlanRow:
    return PlanRow(*row[:7], bool(row[7]), bool(row[8]))


def _model(row: tuple[int, bytes, bytes]) -> ModelRow:
    version, model_hash, exponents = row
    return ModelRow(version, model_hash, _exponents(exponents))


def _exponents(data: bytes) -> tuple[int, ...]:
    return tuple(byte - 256 if byte > 127 else byte for byte in data)
