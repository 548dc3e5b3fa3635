"""The plans that a device took part in: what replay needs to know about the last hundred."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType

from fedling_agent.data import listing
from fedling_agent.data.recording import Known, Recording
from fedling_agent.data.windows import Windows
from fedling_native import Normaliser
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.database import Database, Fields, one
from fedling_protocol.disk.errors import Missing, stored
from fedling_protocol.runtime.slices import Slices
from fedling_protocol.wire import payload
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Hits, Plan

KEPT = 100

_COLUMNS = (
    "message, state, frozen_hash, examples, normaliser, vector_hash, update_hash, clipped, tested"
)


class Moved(Missing):
    """What was frozen is no longer what is stored: freeze it again."""


class PlanState(StrEnum):
    """How far a plan has come on this device."""

    FROZEN = "frozen"  # accepted: being trained, or paused
    SPOOLED = "spooled"  # the update waits for its receipt
    FINISHED = "finished"  # receipted


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """One line of the device's memory of a plan."""

    plan: Plan
    state: PlanState
    frozen_hash: bytes  # of the frozen set
    examples: int
    normaliser: Normaliser
    vector_hash: bytes | None  # SHA-256 of the update's vector
    update_hash: bytes | None  # message hash of the update as sent
    clipped: int  # values of the frozen set at the limit of what a model reads, or beyond it
    tested: tuple[Hits, ...] | None = None  # each class, by the base model, as the update says

    @property
    def hits(self) -> Hits | None:
        """All classes of the test together."""
        return all_hits(self.tested)

    @property
    def values(self) -> int:
        """How many values the frozen set has."""
        return self.examples * self.plan.spec.window * self.plan.spec.channels


class Plans:
    """Remembers plans: Freezer and Spool write it, everyone reads it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        plan: Plan,
        frozen_hash: bytes,
        rows: bytes,
        count: int,
        normaliser: Normaliser,
        recordings: Iterable[Recording],
        clipped: int = 0,
        held_out: Iterable[Recording] = (),
        known: Mapping[int, Known] = MappingProxyType({}),
    ) -> None:
        """Begin a plan: its recordings are not evicted, its normaliser is predict's.

        recordings: each from the first sample that is needed: older ones may go
        rows: the listing of the frozen set, compressed; clipped: how many values of it were
        held_out: recordings with windows that test the base: a file has these, so they may go
        known: what was stored, by recording, when the set was gathered: later it is not new
        Raises Moved (a recording is not what it was), CannotWrite.
        """
        channels = json.dumps(normaliser.to_tuples())
        with self._database.transaction("the plan") as connection:
            kept = [_unchanged(connection, recording) for recording in recordings]
            tests = [_unchanged(connection, recording).id for recording in held_out]
            connection.execute(
                "INSERT OR IGNORE INTO frozen (hash, listing) VALUES (?, ?)", (frozen_hash, rows)
            )
            connection.execute(
                "INSERT INTO plans "
                "(plan_id, task, round, state, message, frozen_hash, examples, normaliser, "
                "clipped, held_out) VALUES (?, ?, ?, 'frozen', ?, ?, ?, ?, ?, ?)",
                (
                    plan.plan_id,
                    plan.spec.task,
                    plan.round,
                    payload.encode(plan),
                    frozen_hash,
                    count,
                    channels,
                    clipped,
                    json.dumps(tests),
                ),
            )
            connection.executemany(
                "INSERT INTO pins (plan_id, recording, first) VALUES (?, ?, ?)",
                [(plan.plan_id, recording.key, recording.first) for recording in kept],
            )
            if known:
                _learn(connection, plan, known)
            connection.execute(
                "INSERT OR REPLACE INTO normalisers (task, channels) VALUES (?, ?)",
                (plan.spec.task, channels),
            )

    def known(self, task: str, recording: int) -> Known | None:
        """How much of a recording the last plan of a task that was begun here has known.

        None: nothing, or that plan's update was not accepted.
        """
        sql = "SELECT samples, revision FROM learned WHERE recording = ? AND task = ?"
        row = self._database.row(sql, recording, task)
        return None if row is None else Known(*row)

    def find(self, plan_id: bytes) -> PlanRecord | None:
        """Find one of the last hundred plans by its id."""
        sql = f"SELECT {_COLUMNS} FROM plans WHERE plan_id = ?"  # noqa: S608 (a constant)
        row = self._database.row(sql, plan_id)
        return None if row is None else _record(row)

    def task_of(self, plan_id: bytes) -> str | None:
        """Tell whose plan it is, if it was begun here and is one of the last hundred."""
        row = self._database.row("SELECT task FROM plans WHERE plan_id = ?", plan_id)
        return None if row is None else row[0]

    def recent(self) -> list[PlanRecord]:
        """List the last hundred plans, newest first."""
        sql = f"SELECT {_COLUMNS} FROM plans ORDER BY number DESC"  # noqa: S608 (a constant)
        return [_record(row) for row in self._database.rows(sql)][:KEPT]

    def last(self, task: str) -> PlanRecord | None:
        """Find the last plan of a task that was begun here and trained something."""
        sql = f"SELECT {_COLUMNS} FROM plans WHERE task = ? AND round > 0 ORDER BY number DESC LIMIT 1"  # noqa: E501, S608
        row = self._database.row(sql, task)
        return None if row is None else _record(row)

    def last_tested(self, task: str) -> PlanRecord | None:
        """Find the last plan of a task whose base model was tested here."""
        sql = f"SELECT {_COLUMNS} FROM plans WHERE task = ? AND tested IS NOT NULL ORDER BY number DESC LIMIT 1"  # noqa: E501, S608
        row = self._database.row(sql, task)
        return None if row is None else _record(row)

    def in_work(self, task: str | None = None) -> list[PlanRecord]:
        """List frozen and spooled plans, oldest first: what a session is restored from."""
        sql = f"SELECT {_COLUMNS} FROM plans WHERE state != 'finished' ORDER BY number"  # noqa: S608
        records = [_record(row) for row in self._database.rows(sql)]
        return [r for r in records if task in (None, r.plan.spec.task)]

    def frozen(self, task: str) -> Plan | None:
        """The plan of a task that is begun and not finished."""
        found = [r.plan for r in self.in_work(task) if r.state is PlanState.FROZEN]
        return found[0] if found else None

    def unfinished_tasks(self) -> list[str]:
        """List tasks with a plan that is begun, or with an update that waits for its receipt."""
        sql = """SELECT task FROM plans WHERE state != 'finished' UNION SELECT task FROM spool
                 ORDER BY task"""
        return [task for (task,) in self._database.rows(sql)]

    def is_finished(self, plan_id: bytes) -> bool:
        """Whether Spool.end() was called for it; remembered longer than the records."""
        return self._database.row("SELECT 1 FROM endings WHERE plan_id = ?", plan_id) is not None

    def examples(self, record: PlanRecord) -> Slices[Windows]:
        """Go through the frozen windows of a plan, in their order."""
        row = self._database.row("SELECT listing FROM frozen WHERE hash = ?", record.frozen_hash)
        with stored("a frozen set"):
            assert row is not None  # a foreign key
            return listing.read(row[0])

    def recordings(self, record: PlanRecord) -> Slices[set[str]]:
        """Name the recordings that a plan trains on, and those that it tests the base on."""
        sql = "SELECT held_out FROM plans WHERE plan_id = ?"
        row = self._database.row(sql, record.plan.plan_id)
        windows = yield from self.examples(record)
        with stored("a plan"):
            return {*windows.names, *(json.loads(row[0]) if row else ())}


def _unchanged(connection: sqlite3.Connection, recording: Recording) -> Recording:
    """Samples never change, and more of them do not matter."""
    sql = "SELECT revision FROM recordings WHERE key = ? AND first <= ?"
    if one(connection, sql, (recording.key, recording.first)) != (recording.revision,):
        raise Moved(f"recording {recording.id} was evicted or relabelled meanwhile")
    return recording


def _learn(connection: sqlite3.Connection, plan: Plan, known: Mapping[int, Known]) -> None:
    """Write down what is known in place of what was before; some may have been evicted since."""
    task = plan.spec.task
    connection.execute("DELETE FROM learned WHERE task = ?", (task,))
    connection.executemany(
        "INSERT INTO learned (recording, task, plan_id, samples, revision) "
        "SELECT key, ?, ?, ?, ? FROM recordings WHERE key = ?",
        [(task, plan.plan_id, one.samples, one.revision, key) for key, one in known.items()],
    )


@lru_cache(maxsize=8)
def _plan(message: bytes) -> Plan:
    """The one in work is asked for several times a round."""
    plan = payload.decode(Kind.PLAN, message)
    assert isinstance(plan, Plan)
    return plan


def _record(row: Fields) -> PlanRecord:
    (
        message, state, frozen_hash, examples, normaliser, vector_hash, update_hash, clipped, tested
    ) = row  # fmt: skip
    with stored("a plan"):
        plan = _plan(message)
        return PlanRecord(
            plan,
            PlanState(state),
            frozen_hash,
            examples,
            Normaliser.from_tuples(json.loads(normaliser)),
            vector_hash,
            update_hash,
            clipped,
            tested_of(tested),
        )


def tested_of(text: str | None) -> tuple[Hits, ...] | None:
    """Read what a row says of the test of a base model."""
    return None if text is None else tuple(Hits(*one) for one in json.loads(text))


def all_hits(tested: tuple[Hits, ...] | None) -> Hits | None:
    """Add the classes of a test up."""
    return None if tested is None else Hits(*map(sum, zip(*tested, strict=True)))
