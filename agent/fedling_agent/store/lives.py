"""How far the history of each task had come when this device last heard of it."""

from fedling_protocol.disk.database import Database, one
from fedling_protocol.disk.errors import stored
from fedling_protocol.wire import payload
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Moment, Plan, Rest, Tasks


class Lives:
    """What a restart must know, so that nothing of a former life is believed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def seen(self) -> dict[str, Moment]:
        """The last moment of each task."""
        sql = "SELECT task, epoch, generation, version, open FROM seen"
        rows = self._database.rows(sql)
        with stored("what was heard of a task"):
            return {t: Moment(e, g, version, bool(is_open)) for t, e, g, version, is_open in rows}

    def remember(self, task: str, message: Plan | Rest) -> bool:
        """Remember a plan or rest that holds; whether models of a former life were dropped."""
        moment = message.moment
        with self._database.transaction("what was heard of a task") as connection:
            row = one(connection, "SELECT generation FROM seen WHERE task = ?", (task,))
            if row is not None and row[0] != moment.generation:
                for table in ("normalisers", "learned", "personal"):
                    connection.execute(f"DELETE FROM {table} WHERE task = ?", (task,))  # noqa: S608
            sql = "DELETE FROM models WHERE task = ? AND generation != ?"
            dropped = connection.execute(sql, (task, moment.generation)).rowcount
            connection.execute(
                "INSERT OR REPLACE INTO seen (task, epoch, generation, version, open, model)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    task,
                    moment.epoch,
                    moment.generation,
                    moment.version,
                    moment.open,
                    message.newest,
                ),
            )
            return dropped > 0

    def forget(self, task: str) -> None:
        """The task is no more: nothing of it answers."""
        with self._database.transaction("a task that was removed") as connection:
            for table in ("seen", "models", "normalisers", "learned", "personal"):
                connection.execute(f"DELETE FROM {table} WHERE task = ?", (task,))  # noqa: S608

    def in_force(self) -> Tasks | None:
        """The last list of tasks; None: none was seen."""
        row = self._database.row("SELECT message FROM in_force")
        if row is None:
            return None
        with stored("the list of tasks"):
            message = payload.decode(Kind.TASKS, row[0])
            assert isinstance(message, Tasks)
        return message

    def keep_in_force(self, message: Tasks) -> None:
        """Keep the last list of tasks."""
        with self._database.transaction("the list of tasks") as connection:
            sql = "INSERT OR REPLACE INTO in_force (only, message) VALUES (0, ?)"
            connection.execute(sql, (payload.encode(message),))
