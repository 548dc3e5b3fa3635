"""Small facts of the aggregator: numbers that only grow, and what was counted."""

import time
from collections.abc import Callable, Mapping

from fedling_protocol.disk.database import Database
from fedling_protocol.wire.limits import MAX_U32


class Ledger:
    """The tables `meta` and `counters`."""

    def __init__(self, database: Database, wall: Callable[[], float] = time.time) -> None:
        """wall: Unix time"""
        self._database = database
        self._wall = wall

    def meta(self, key: str) -> int:
        """ "epoch" (of the last start), "generation" (of the last task), "serial" (of the last
        certificate), "changed" (how often a certificate was added or revoked), "place" (of the
        state), "old_files" (1: they are to be converted), "backup_s" (Unix time of the last one).
        """
        ((value,),) = self._database.rows("SELECT value FROM meta WHERE key = ?", key)
        return int(value)

    def raise_meta(self, key: str) -> int:
        """Add one; the new value."""
        self.set_meta(key, self.meta(key) + 1)
        return self.meta(key)

    def outlive(self, key: str, ahead_s: int = 0) -> int:
        """Raise it above every value that it ever had, also in a state that was lost.

        Nothing is left of such a state but time: the value is that of the clock, in seconds, and
        one more than the last where the clock is behind. ahead_s: so much later than the clock
        """
        with self._database.transaction(key):
            now_s = min(int(self._wall()) + ahead_s, MAX_U32)
            self.set_meta(key, max(self.meta(key) + 1, now_s))
            return self.meta(key)

    def set_meta(self, key: str, value: int) -> None:
        with self._database.transaction(key) as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))

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
