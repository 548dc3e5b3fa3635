"""Small facts of the aggregator: numbers that only grow, and what was counted."""

from collections.abc import Mapping

from fedling_protocol.disk.database import Database


class Ledger:
    """The tables `meta` and `counters`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def meta(self, key: str) -> int:
        """ "restore_epoch" (part of every plan id), "serial" (of the last certificate), "changed"
        (how often a certificate was added or removed), "old_files" (1: they are to be converted).
        """
        ((value,),) = self._database.rows("SELECT value FROM meta WHERE key = ?", key)
        return int(value)

    def raise_meta(self, key: str) -> int:
        """Add one; the new value."""
        with self._database.transaction(key) as connection:
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = ?", (key,))
            return self.meta(key)

    def clear_meta(self, key: str) -> None:
        """Make it 0."""
        with self._database.transaction(key) as connection:
            connection.execute("UPDATE meta SET value = 0 WHERE key = ?", (key,))

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to counters, durably."""
        with self._database.transaction("counters") as connection:
            connection.executemany(
                "INSERT INTO counters VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                list(counts.items()),
            )

    def counters(self) -> dict[str, int]:
        """By name."""
        return dict(self._database.rows("SELECT name, value FROM counters ORDER BY name"))
