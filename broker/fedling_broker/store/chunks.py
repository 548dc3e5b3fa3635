"""Chunks of updates that have not come wholly: of one update a device, as long as it may come."""

from fedling_protocol.disk.database import Database
from fedling_protocol.wire import chunks
from fedling_protocol.wire.chunks import Whole
from fedling_protocol.wire.digest import message_hash


class Chunks:
    """Rows: they are committed with the turn, and gone with the decision or the round."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, task: str, plan_id: bytes, device: str, whole: Whole, number: int, data: bytes
    ) -> bytes | None:
        """Keep a chunk; those of another update of the device go. The update, if all of it is here.

        Chunks that do not make it are forgotten.
        """
        its = (task, plan_id, device, whole.hash, whole.each)
        with self._database.transaction("a chunk of an update") as connection:
            connection.execute(_OTHERS, its)
            sql = "INSERT OR IGNORE INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)"
            connection.execute(sql, (*its, number, data))
            if len(self._numbers(its)) < whole.count:
                return None
            rows = self._database.rows(f"SELECT data {_OF} ORDER BY number", *its)
            message = b"".join(part for (part,) in rows)
            if message_hash(message) == whole.hash:
                return message
            connection.execute(f"DELETE {_OF}", its)
            return None

    def forget(self, task: str, plan_id: bytes, device: str) -> None:
        """The update that they make is none."""
        with self._database.transaction("the chunks of an update") as connection:
            sql = "DELETE FROM chunks WHERE task = ? AND plan_id = ? AND device = ?"
            connection.execute(sql, (task, plan_id, device))

    def here(self, task: str, plan_id: bytes, device: str, whole: bytes, each: int) -> bytes:
        """Tell which chunks of an update are here, as a ticket says it."""
        return chunks.bits(self._numbers((task, plan_id, device, whole, each)))

    def _numbers(self, its: tuple[str, bytes, str, bytes, int]) -> list[int]:
        return [number for (number,) in self._database.rows(f"SELECT number {_OF}", *its)]


_OF = "FROM chunks WHERE task = ? AND plan_id = ? AND device = ? AND whole = ? AND each = ?"
_OTHERS = """DELETE FROM chunks WHERE task = ? AND plan_id = ? AND device = ?
AND NOT (whole = ? AND each = ?)"""
