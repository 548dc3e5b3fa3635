"""Small facts of the aggregator: numbers that only grow, and what was counted."""

from fedling_protocol.disk.database import Database


class Ledger:
    """The tables `meta` and `counters`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def meta(self, key: str) -> int:
        """ "restore_epoch" (part of every plan id) or "serial" (of the last certificate)."""
        ((value,),) = self._database.rows("SELECT value FROM meta WHERE key = ?", key)
        return int(value)

    def raise_meta(self, key: str) -> int:
        """Add one; the new value."""
        with self._database.transaction(key) as connection:
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = ?", (key,))
            return self.meta(key)

    def count(self, name: str, more: int = 1) -> None:
        """Add to a counter, durably."""
        with self._database.transaction("counters") as connection:
            connection.execute(
                "INSERT INTO counters VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                (name, more),
            )

    def counters(self) -> dict[str, int]:
        """By name."""
        return dict(self._database.rows("SELECT name, value FROM counters ORDER BY name"))
