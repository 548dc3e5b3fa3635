"""The owner's pause on disk: it outlasts restarts and reboots, and ends by time that was lived."""

from fedling_agent.store.lived import live, lived
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database
from fedling_protocol.disk.errors import stored


@dataclass(frozen=True, slots=True)
class KeptPause:
    """A pause that is not over."""

    reason: str
    left_ms: int | None  # None: it has no end


class Pauses:
    """There is one pause, or none. up_ms: milliseconds since boot, each time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, lasts_ms: int | None, reason: str, up_ms: int) -> None:
        """Pause for so long of lived time, or until end(); in place of an earlier one."""
        with self._database.transaction("the pause") as connection:
            until_ms = None if lasts_ms is None else live(connection, up_ms) + lasts_ms
            sql = "INSERT OR REPLACE INTO pause (only, until_ms, reason) VALUES (0, ?, ?)"
            connection.execute(sql, (until_ms, reason))

    def end(self) -> bool:
        """End the pause; whether there was one."""
        with self._database.transaction("the end of the pause") as connection:
            return connection.execute("DELETE FROM pause").rowcount > 0

    def find(self, up_ms: int) -> KeptPause | None:
        """Find the pause; None: there is none, or its time is over."""
        row = self._database.row("SELECT until_ms, reason FROM pause")
        if row is None:
            return None
        with stored("the pause"):
            until_ms, reason = row
            left_ms = None if until_ms is None else until_ms - lived(self._database, up_ms)
            pause = KeptPause(str(reason), left_ms)
        return None if left_ms is not None and left_ms <= 0 else pause

    def live(self, up_ms: int) -> None:
        """Write how long the device has run: a reboot prolongs no pause by more than since then."""
        with self._database.transaction("the time that was lived") as connection:
            live(connection, up_ms)
