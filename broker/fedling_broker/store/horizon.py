"""How far back a task's history goes: what lies before is erased while the aggregator runs.

A model can be made again from the one before, so what is kept begins with a server's state. The
horizon moves from one such state to the next, so between `keep` and twice as many rounds are there.
"""

import sqlite3

from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database, one

FIRST_VERSION = 1  # of a model: what a task begins with


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where the history that is kept begins."""

    version: int  # of the oldest model that is kept
    state_hash: bytes  # the server's state after it, from which the next ones are made again


class Horizon:
    """The table `horizon`, and the rows of models, journal and plans that lie before it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def beginning(self, task: str) -> Beginning | None:
        """None: the history is whole."""
        sql = "SELECT version, state_hash FROM horizon WHERE task = ? AND version > 0"
        row = self._database.row(sql, task)
        return None if row is None else Beginning(*row)

    def states(self, task: str | None = None) -> list[bytes]:
        """The server's states that are kept for it, besides the newest ones."""
        sql = """SELECT state_hash FROM horizon WHERE version > 0 AND task = coalesce(?1, task)
                 UNION SELECT next_state_hash FROM horizon
                 WHERE next_version > 0 AND task = coalesce(?1, task)"""
        return [name for (name,) in self._database.rows(sql, task)]

    def move(self, task: str, version: int, state_hash: bytes, keep: int) -> bool:
        """Take in that a round made this model; part of the transaction that ends the round.

        keep: rounds, 0: all. True: files lie around now that no row speaks of (Store.tidy)
        """
        if keep == 0:
            return False
        with self._database.transaction("the horizon") as connection:
            sql = "INSERT OR IGNORE INTO horizon VALUES (?, 0, x'', 0, x'')"
            connection.execute(sql, (task,))
            sql = "SELECT next_version, next_state_hash FROM horizon"
            found = one(connection, f"{sql} WHERE task = ?", (task,))
            assert found is not None
            last, last_state = found
            if version - (last or FIRST_VERSION) < keep:
                return False
            connection.execute(
                "UPDATE horizon SET version = ?, state_hash = ?, next_version = ?,"
                " next_state_hash = ? WHERE task = ?",
                (last, last_state, version, state_hash, task),
            )
            if last:
                _prune(connection, task, last)
            return bool(last)


def _prune(connection: sqlite3.Connection, task: str, base: int) -> None:
    """Forget what came about before a version.

    Weights stay that the MQTT broker holds, or that a later version has again.
    """
    before = "FROM journal WHERE task = ?1 AND version <= ?2"
    connection.execute(
        f"UPDATE plans SET kept = 0 WHERE task = ?1 AND round IN (SELECT round {before})",
        (task, base),
    )
    connection.execute(f"DELETE {before}", (task, base))
    connection.execute(
        """DELETE FROM models WHERE task = ?1 AND version < ?2 AND retained = 0 AND version NOT IN
        (SELECT json_extract(parameters, '$.version') FROM journal
         WHERE task = ?1 AND optimiser = 'rollback')""",
        (task, base),
    )
