"""The tasks of a fleet, as they were added."""

from dataclasses import dataclass

from fedling_broker.store.ledger import Ledger
from fedling_protocol.disk.database import Database

_TASKS = "SELECT name, text, paused, epoch FROM tasks"


class TaskExists(Exception):
    """A task of this name was added before."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as it was added."""

    name: str
    text: str  # of the task file
    paused: bool
    epoch: int  # a task of the same name that was removed had an older one


class Tasks:
    """Written by the admin verbs, read by the running aggregator."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    def rows(self) -> list[TaskRow]:
        """By name."""
        return [_task(row) for row in self._database.rows(f"{_TASKS} ORDER BY name")]

    def find(self, name: str) -> TaskRow | None:
        row = self._database.row(f"{_TASKS} WHERE name = ?", name)
        return None if row is None else _task(row)

    def add(self, name: str, text: str, imported: bytes | None) -> None:
        """imported: hash of a first model that came from elsewhere."""
        with self._database.transaction("the task") as connection:
            epoch = self._ledger.meta("restore_epoch")
            values = (name, text, imported, epoch)
            connection.execute("INSERT INTO tasks VALUES (?, ?, 0, ?, ?)", values)

    def imported(self, name: str) -> bytes | None:
        """Hash of the first model, if it was not drawn from the seed."""
        row = self._database.row("SELECT imported FROM tasks WHERE name = ?", name)
        return None if row is None else row[0]

    def pause(self, name: str, paused: bool) -> bool:
        """False: there is no such task."""
        with self._database.transaction("the task") as connection:
            sql = "UPDATE tasks SET paused = ? WHERE name = ?"
            return connection.execute(sql, (paused, name)).rowcount > 0

    def remove(self, name: str) -> bool:
        """With all its rounds, models and verdicts. False: there is no such task.

        Another epoch begins: a task that is added again gets other plan ids, since devices never
        train for a plan that they have finished.
        """
        with self._database.transaction("the removal of a task") as connection:
            connection.execute("DELETE FROM decisions WHERE task = ?", (name,))
            if connection.execute("DELETE FROM tasks WHERE name = ?", (name,)).rowcount == 0:
                return False
            self._ledger.raise_meta("restore_epoch")
            return True


def _task(row: tuple[str, str, int, int]) -> TaskRow:
    name, text, paused, epoch = row
    return TaskRow(name, text, bool(paused), epoch)
