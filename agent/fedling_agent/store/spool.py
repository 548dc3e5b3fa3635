"""Updates that were signed and have no receipt yet, and how plans ended."""

import json
import sqlite3

from fedling_agent.store.files import Files
from fedling_agent.store.plans import KEPT as KEPT_PLANS
from fedling_agent.store.plans import all_hits, tested_of
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.disk.database import Database, Fields
from fedling_protocol.disk.errors import Missing, stored, writing
from fedling_protocol.wire.digest import message_hash
from fedling_protocol.wire.messages import Hits, Verdict

KEPT = 10_000  # receipts


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """A frozen message: it is sent as these bytes or not at all."""

    plan_id: bytes
    task: str
    update_hash: bytes  # message hash
    size: int
    tested: tuple[Hits, ...] | None = None  # each class, by the base model, as the update says

    @property
    def hits(self) -> Hits | None:
        """All classes of the test together."""
        return all_hits(self.tested)


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """How a plan ended on this device."""

    plan_id: bytes
    task: str
    round: int | None  # None: the plan was never begun here
    update_hash: bytes | None
    verdict: Verdict | None  # None: the device gave it up
    reason: str
    time_ms: int


class Spool:
    """Keeps updates as files by message hash, facts about them in the database."""

    def __init__(self, database: Database, files: Files) -> None:
        self._database = database
        self._files = files

    def put(
        self,
        plan_id: bytes,
        envelope: bytes,
        vector_hash: bytes,
        tested: tuple[Hits, ...] | None = None,
    ) -> SpoolEntry:
        """Keep an update, durably, before its first byte is sent; its job goes. Raises CannotWrite.

        vector_hash: SHA-256 of what was trained, before it was coded: what `replay` computes again
        tested: what the update says of its test of the base model
        """
        name = message_hash(envelope)
        with writing("the update"):
            durable.write_file(self._files.spool / name.hex(), envelope)
        with self._database.transaction("the update") as connection:
            found = connection.execute(
                "UPDATE plans SET state = 'spooled', vector_hash = ?, update_hash = ?, tested = ? "
                "WHERE plan_id = ? RETURNING task",
                (
                    vector_hash,
                    name,
                    None if tested is None else json.dumps(tested),
                    plan_id,
                ),
            ).fetchall()
            if not found:
                raise Missing(f"plan {plan_id.hex()} is not in work")
            ((task,),) = found
            connection.execute(
                "INSERT OR REPLACE INTO spool (plan_id, task, update_hash, size) "
                "VALUES (?, ?, ?, ?)",
                (plan_id, task, name, len(envelope)),
            )
            connection.execute("DELETE FROM pins WHERE plan_id = ?", (plan_id,))
        self._files.end_job(plan_id)
        return SpoolEntry(plan_id, task, name, len(envelope), tested)

    def entries(self, task: str | None = None) -> list[SpoolEntry]:
        """List the updates of a task that wait, oldest first."""
        entries = [_entry(row) for row in self._database.rows(f"{_ENTRIES} ORDER BY spool.number")]
        return [entry for entry in entries if task in (None, entry.task)]

    def find(self, plan_id: bytes) -> SpoolEntry | None:
        """Find the update of a plan."""
        row = self._database.row(f"{_ENTRIES} WHERE plan_id = ?", plan_id)
        return None if row is None else _entry(row)

    def envelope(self, entry: SpoolEntry) -> bytes:
        """Read the bytes to send. Raises Missing if the file is gone or damaged."""
        try:
            with open(self._files.update(entry.update_hash), "rb", buffering=0) as file:
                data = file.readall()
        except OSError as error:
            raise Missing(f"the spooled update cannot be read: {error.strerror}") from error
        if message_hash(data) != entry.update_hash:
            raise Missing("the spooled update is damaged")
        return data

    def end(
        self,
        task: str,
        plan_id: bytes,
        update_hash: bytes | None,
        verdict: Verdict | None,
        reason: str,
        now_ms: int,
    ) -> None:
        """End a plan: it is never begun again, its files go. A repetition changes nothing.

        If nothing of it was spooled, its frozen set is forgotten too. A child must not run on it.
        """
        with self._database.transaction("a receipt") as connection:
            ended = connection.execute(
                "INSERT OR IGNORE INTO endings "
                "(plan_id, task, round, update_hash, verdict, reason, time_ms) "
                "VALUES (?1, ?2, (SELECT round FROM plans WHERE plan_id = ?1), ?3, ?4, ?5, ?6)",
                (plan_id, task, update_hash, verdict, reason, now_ms),
            )
            its = (plan_id, task)
            sql = "DELETE FROM spool WHERE plan_id = ? AND task = ? RETURNING update_hash"
            waiting = connection.execute(sql, its).fetchall()
            sql = "DELETE FROM plans WHERE plan_id = ? AND task = ? AND state = 'frozen'"
            given_up = not waiting and connection.execute(sql, its).rowcount > 0
            if not given_up:
                sql = "UPDATE plans SET state = 'finished' WHERE plan_id = ? AND task = ?"
                connection.execute(sql, its)
            if verdict is not Verdict.ACCEPTED:  # nobody has learned from it: all is new again
                connection.execute("DELETE FROM learned WHERE plan_id = ?", (plan_id,))
            _prune(connection, ended, given_up)
        for (name,) in waiting:
            self._files.end_update(name)
        if given_up:
            self._files.end_job(plan_id)
            self._files.tidy_frozen()

    def receipts(self, task: str | None = None) -> list[ReceiptRecord]:
        """List how plans ended, newest first; the last 10,000 of the device are kept."""
        sql = """SELECT plan_id, task, round, update_hash, verdict, reason, time_ms FROM endings
                 ORDER BY number DESC"""
        records = [_receipt(row) for row in self._database.rows(sql)]
        return [record for record in records if task in (None, record.task)]


_ENTRIES = """
SELECT plan_id, spool.task, spool.update_hash, size, tested FROM spool LEFT JOIN plans
USING (plan_id)"""


def _entry(row: Fields) -> SpoolEntry:
    plan_id, task, update_hash, size, tested = row
    with stored("an update that waits"):
        return SpoolEntry(plan_id, task, update_hash, size, tested_of(tested))


def _prune(connection: sqlite3.Connection, ended: sqlite3.Cursor, given_up: bool) -> None:
    """Forget what is too old.

    ended: the last ending, if it is one; given_up: a plan has gone, and with it perhaps its
    frozen set
    """
    gone = connection.execute(
        "DELETE FROM plans WHERE state = 'finished' AND number <= "
        "(SELECT number FROM plans ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (KEPT_PLANS,),
    )
    if given_up or gone.rowcount > 0:
        connection.execute("DELETE FROM frozen WHERE hash NOT IN (SELECT frozen_hash FROM plans)")
    oldest = int(ended.lastrowid or 0) - KEPT
    if ended.rowcount > 0 and oldest > 0:
        connection.execute("DELETE FROM endings WHERE number <= ?", (oldest,))


def _receipt(row: Fields) -> ReceiptRecord:
    plan_id, task, number, update_hash, word, reason, time_ms = row
    verdict = None if word is None else Verdict(word)
    return ReceiptRecord(plan_id, task, number, update_hash, verdict, reason, time_ms)
