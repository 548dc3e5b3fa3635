"""What left the device and what was refused: the sent log, counters, bytes."""

import sqlite3
from collections.abc import Mapping, Sequence

from fedling_agent.conditions.used import Hour
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database

KEPT_SENT = 10_000
KEPT_DAYS = 400  # of traffic, in rows: one a day and plan


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that left."""

    time_ms: int
    kind: str  # "join", "update", "state"
    topic: str
    size: int  # bytes of the envelope
    plan_id: bytes | None
    meaning: str  # for a person: "asks to take part in round 3 of watch"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that went through the socket on one day for one plan."""

    day: str  # 2026-03-01; empty: all that is older than what is kept by day
    plan_id: bytes | None  # None: of no plan
    sent: int
    received: int


class Ledger:
    """Keeps small facts, of each kind a bounded number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_sent(self, *messages: Sent) -> None:
        """Log messages, durably, before the first is handed to the socket; keep the last 10,000."""
        with self._database.transaction("the log of what was sent") as connection:
            for sent in messages:
                inserted = connection.execute(
                    "INSERT INTO sent (time_ms, kind, topic, size, plan_id, meaning) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (sent.time_ms, sent.kind, sent.topic, sent.size, sent.plan_id, sent.meaning),
                )
            oldest = int(inserted.lastrowid or 0) - KEPT_SENT
            if oldest > 0:
                connection.execute("DELETE FROM sent WHERE number <= ?", (oldest,))

    def sent(self, limit: int = KEPT_SENT) -> list[Sent]:
        """List the messages that left, newest first."""
        sql = """SELECT time_ms, kind, topic, size, plan_id, meaning FROM sent
                 ORDER BY number DESC LIMIT ?"""
        return [Sent(*row) for row in self._database.rows(sql, limit)]

    def add(
        self, rows: Sequence[Traffic], counts: Mapping[str, int], hours: Sequence[Hour] = ()
    ) -> None:
        """Add up bytes, by plan and day, and counters, durably in one transaction.

        hours: what the day has cost as it is now, oldest first
        """
        with self._database.transaction("byte counts") as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO used (hour, work_ms, bytes) VALUES (?, ?, ?)",
                [(hour.number, hour.work_ms, hour.bytes) for hour in hours],
            )
            if hours:
                connection.execute("DELETE FROM used WHERE hour < ?", (hours[0].number,))
            connection.executemany(
                "INSERT INTO counters (name, value) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                list(counts.items()),
            )
            connection.executemany(
                "INSERT INTO traffic (day, plan_id, sent, received) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (day, plan_id) DO UPDATE SET "
                "sent = sent + excluded.sent, received = received + excluded.received",
                [(row.day, row.plan_id or b"", row.sent, row.received) for row in rows],
            )
            _fold_old(connection, {(row.day, row.plan_id or b"") for row in rows})

    def used(self) -> list[Hour]:
        """What the last hours have cost, oldest first."""
        sql = "SELECT hour, work_ms, bytes FROM used ORDER BY hour"
        return [Hour(*row) for row in self._database.rows(sql)]

    def counters(self) -> dict[str, int]:
        """Read all counters, by name."""
        return dict(self._database.rows("SELECT name, value FROM counters ORDER BY name"))

    def probe(self) -> None:
        """Whether the disk can be written, durably. Raises CannotWrite."""
        self.mark("probe")
        self.unmark("probe")

    def traffic(self) -> list[Traffic]:
        """List the bytes, newest day first: of 400 days and plans, then all others together."""
        sql = "SELECT day, plan_id, sent, received FROM traffic ORDER BY day DESC, plan_id"
        return [Traffic(day, plan or None, *n) for day, plan, *n in self._database.rows(sql)]

    def mark(self, name: str) -> None:
        """Note, durably, what is under way and must go on after a restart, as "erasing"."""
        with self._database.transaction("a mark") as connection:
            connection.execute("INSERT OR IGNORE INTO marks (name) VALUES (?)", (name,))

    def unmark(self, name: str) -> None:
        """Note that what mark() spoke of is done."""
        with self._database.transaction("a mark") as connection:
            connection.execute("DELETE FROM marks WHERE name = ?", (name,))

    def is_marked(self, name: str) -> bool:
        """Whether mark() was called and unmark() was not."""
        return self._database.row("SELECT 1 FROM marks WHERE name = ?", name) is not None


def _fold_old(connection: sqlite3.Connection, new: set[tuple[str, bytes]]) -> None:
    """Add what is too old to be kept by day to one row: the sum of all rows stays.

    A clock that says 1970 must not make what was written just now the oldest.
    """
    sql = """SELECT day, plan_id, sent, received FROM traffic WHERE day != ''
             ORDER BY day DESC, plan_id LIMIT -1 OFFSET ?"""
    for day, plan_id, sent, received in connection.execute(sql, (KEPT_DAYS,)).fetchall():
        if (day, plan_id) in new:
            continue
        connection.execute(
            "INSERT INTO traffic (day, plan_id, sent, received) VALUES ('', x'', ?, ?) "
            "ON CONFLICT (day, plan_id) DO UPDATE SET "
            "sent = sent + excluded.sent, received = received + excluded.received",
            (sent, received),
        )
        connection.execute("DELETE FROM traffic WHERE day = ? AND plan_id = ?", (day, plan_id))
