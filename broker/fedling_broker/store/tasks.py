"""The tasks of a fleet, as they were added."""

from dataclasses import field

from fedling_broker.store.ledger import Ledger
from fedling_broker.store.withdrawn import PLAN
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database
from fedling_protocol.wire.limits import MAX_TASKS

_TASKS = "SELECT name, text, paused, generation, revision, asked, why_paused FROM tasks"


class TaskExists(Exception):
    """A task of this name was added before, or there is no room for one more."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task as it was added, and changed."""

    name: str
    text: str  # of the task file
    paused: bool
    generation: int  # a task of the same name that was removed had a lower one
    revision: int  # how often it was changed
    asked: str | None = field(compare=False)  # what devices do in the open round; None: as `text`
    why_paused: str = ""  # the operator's words, which devices show


class Tasks:
    """Written by the admin verbs, read by the running aggregator."""

    def __init__(self, database: Database, ledger: Ledger) -> None:
        self._database = database
        self._ledger = ledger

    def rows(self) -> list[TaskRow]:
        """By name."""
        return [_task(*row) for row in self._database.rows(f"{_TASKS} ORDER BY name")]

    def find(self, name: str) -> TaskRow | None:
        row = self._database.row(f"{_TASKS} WHERE name = ?", name)
        return None if row is None else _task(*row)

    def add(self, name: str, text: str, imported: bytes | None) -> None:
        """imported: hash of a first model that came from elsewhere. Raises TaskExists."""
        with self._database.transaction("the task") as connection:
            if len(self.rows()) >= MAX_TASKS:
                raise TaskExists(f"there are {MAX_TASKS} tasks already, the most of a fleet")
            values = (name, text, imported, self._ledger.outlive("generation"))
            connection.execute("INSERT INTO tasks VALUES (?, ?, 0, ?, ?, 0, NULL, '')", values)
            # Its plan takes the place of the removed task's at the MQTT broker.
            sql = "DELETE FROM withdrawn WHERE task = ? AND version = ?"
            connection.execute(sql, (name, PLAN))

    def imported(self, name: str) -> bytes | None:
        """Hash of the first model, if it was not drawn from the seed."""
        row = self._database.row("SELECT imported FROM tasks WHERE name = ?", name)
        return None if row is None else row[0]

    def pause(self, name: str, why: str = "") -> bool:
        """Open no other round. why: words that devices show. False: there is no such task."""
        with self._database.transaction("the task") as connection:
            sql = "UPDATE tasks SET paused = 1, why_paused = ? WHERE name = ?"
            return connection.execute(sql, (why, name)).rowcount > 0

    def resume(self, name: str) -> bool:
        """False: there is no such task."""
        with self._database.transaction("the task") as connection:
            sql = "UPDATE tasks SET paused = 0, why_paused = '' WHERE name = ?"
            return connection.execute(sql, (name,)).rowcount > 0

    def change(self, name: str, text: str, asked: str | None) -> None:
        """Put another text in place. asked: as in TaskRow."""
        with self._database.transaction("the task") as connection:
            sql = "UPDATE tasks SET text = ?, asked = ?, revision = revision + 1 WHERE name = ?"
            connection.execute(sql, (text, asked, name))

    def asks_as_told(self, name: str) -> None:
        """A round is opened: devices do what the text says."""
        with self._database.transaction("the task") as connection:
            sql = "UPDATE tasks SET asked = NULL WHERE name = ? AND asked IS NOT NULL"
            connection.execute(sql, (name,))

    def remove(self, name: str) -> bool:
        """With all its rounds, models and verdicts. False: there is no such task.

        What the MQTT broker may hold of it is noted. The list of tasks becomes another one.
        """
        with self._database.transaction("the removal of a task") as connection:
            connection.execute(
                "INSERT OR IGNORE INTO withdrawn (task, version, chunks)"
                " SELECT name, ?, 0 FROM tasks WHERE name = ?"
                " UNION SELECT task, version, chunks FROM models WHERE task = ? AND retained = 1",
                (PLAN, name, name),
            )
            connection.execute("DELETE FROM decisions WHERE task = ?", (name,))
            if connection.execute("DELETE FROM tasks WHERE name = ?", (name,)).rowcount == 0:
                return False
            self._ledger.outlive("generation")
            return True


def _task(
    name: str,
    text: str,
    paused: int,
    generation: int,
    revision: int,
    asked: str | None,
    why_paused: str,
) -> TaskRow:
    return TaskRow(name, text, bool(paused), generation, revision, asked, why_paused)
