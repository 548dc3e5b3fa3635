"""The plans that a device took part in: what replay needs to know about the last hundred."""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import cbor2

from fedling_agent.data.windows import Example
from fedling_native import Normaliser
from fedling_protocol.disk.database import Database, Fields
from fedling_protocol.wire import payload
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Plan

KEPT = 100

_COLUMNS = "message, state, frozen_hash, examples, normaliser, vector_hash, update_hash"


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


class Plans:
    """Written by Freezer and Spool, read by everyone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        plan: Plan,
        frozen_hash: bytes,
        examples: list[Example],
        normaliser: Normaliser,
        recordings: Iterable[int],
    ) -> None:
        """The plan is in work: its recordings are not evicted, its normaliser is predict's."""
        channels = json.dumps(normaliser.to_tuples())
        with self._database.transaction("the plan") as connection:
            connection.execute(
                "INSERT OR IGNORE INTO frozen (hash, listing) VALUES (?, ?)",
                (frozen_hash, zlib.compress(listing(examples))),
            )
            connection.execute(
                "INSERT INTO plans "
                "(plan_id, task, round, state, message, frozen_hash, examples, normaliser) "
                "VALUES (?, ?, ?, 'frozen', ?, ?, ?, ?)",
                (
                    plan.plan_id,
                    plan.spec.task,
                    plan.round,
                    payload.encode(plan),
                    frozen_hash,
                    len(examples),
                    channels,
                ),
            )
            connection.executemany(
                "INSERT INTO pins (plan_id, recording) VALUES (?, ?)",
                [(plan.plan_id, key) for key in recordings],
            )
            connection.execute(
                "INSERT OR REPLACE INTO normalisers (task, channels) VALUES (?, ?)",
                (plan.spec.task, channels),
            )

    def find(self, plan_id: bytes) -> PlanRecord | None:
        """One of the last hundred."""
        sql = f"SELECT {_COLUMNS} FROM plans WHERE plan_id = ?"  # noqa: S608 (a constant)
        row = self._database.row(sql, plan_id)
        return None if row is None else _record(row)

    def recent(self) -> list[PlanRecord]:
        """The last hundred, newest first."""
        sql = f"SELECT {_COLUMNS} FROM plans ORDER BY number DESC"  # noqa: S608 (a constant)
        return [_record(row) for row in self._database.rows(sql)][:KEPT]

    def in_work(self, task: str | None = None) -> list[PlanRecord]:
        """Frozen and spooled ones, oldest first: what a session is restored from."""
        sql = f"SELECT {_COLUMNS} FROM plans WHERE state != 'finished' ORDER BY number"  # noqa: S608
        records = [_record(row) for row in self._database.rows(sql)]
        return [r for r in records if task in (None, r.plan.spec.task)]

    def is_finished(self, plan_id: bytes) -> bool:
        """Whether Spool.end() was called for it; remembered longer than the records."""
        return self._database.row("SELECT 1 FROM endings WHERE plan_id = ?", plan_id) is not None

    def examples(self, record: PlanRecord) -> list[Example]:
        """The frozen windows, in their order."""
        row = self._database.row("SELECT listing FROM frozen WHERE hash = ?", record.frozen_hash)
        assert row is not None  # a foreign key
        return [Example(*fields) for fields in cbor2.loads(zlib.decompress(row[0]))]


def listing(examples: list[Example]) -> bytes:
    """Ids, label revisions and classes, as hashed."""
    rows = [[e.recording, e.first, e.revision, e.label] for e in examples]
    return cbor2.dumps(rows, canonical=True)


def _record(row: Fields) -> PlanRecord:
    message, state, frozen_hash, examples, normaliser, vector_hash, update_hash = row
    plan = payload.decode(Kind.PLAN, message)
    assert isinstance(plan, Plan)
    channels = Normaliser.from_tuples(json.loads(normaliser))
    return PlanRecord(
        plan, PlanState(state), frozen_hash, examples, channels, vector_hash, update_hash
    )
