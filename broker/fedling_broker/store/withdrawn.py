"""What the MQTT broker may still hold of tasks that were removed."""

from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database

PLAN = 0  # in place of a model's version


@dataclass(frozen=True, slots=True)
class Leftover:
    """A topic that is to be emptied."""

    task: str
    version: int  # of a model; PLAN: the task's plans
    chunks: int = 0  # of each of its messages, at most


class Withdrawn:
    """Noted when a task is removed, forgotten when the MQTT broker has confirmed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def some(self, most: int) -> list[Leftover]:
        """So many at most, in a fixed order."""
        sql = "SELECT task, version, chunks FROM withdrawn ORDER BY task, version LIMIT ?"
        return [Leftover(*row) for row in self._database.rows(sql, most)]

    def forget(self, left: Leftover) -> None:
        """The MQTT broker holds it no more."""
        with self._database.transaction("what is retained") as connection:
            sql = "DELETE FROM withdrawn WHERE task = ? AND version = ?"
            connection.execute(sql, (left.task, left.version))
