"""The rounds of each task: plans, places, verdicts, and the updates that a sum is made of."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from fedling_broker.aggregation.limits import FEWEST, NO_LIMIT, Limits, Sizes, limits_of
from fedling_broker.rounds.events import Decision
from fedling_broker.store import update_log
from fedling_broker.store.models import ModelRow
from fedling_broker.store.update_log import Extent, UpdateLog
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.disk.database import Database, Fields
from fedling_protocol.disk.errors import is_of_disk, writing
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import Hits, PlanKind, Verdict

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

LOOKED_BACK = 3  # rounds whose updates set the limits of the next one
FAR = 4  # an update so many times longer than the limit is far off
AGAIN = 3  # updates of a device, one after another
PATIENCE_S = 600.0  # a disk may read in a while what it does not read now
LOST = "lost on the aggregator's disk before a model was made of it"

_PLAN = (
    "round, plan_id, base_version, base_hash, opened_ms, boot, age_ms, closed, folded, kept, "
    "target, limit_weights, limit_biases, limit_examples"
)
_DECISION = (
    "device, verdict, reason, update_hash, first, size, weight, saturated, "
    "norm_weights, norm_biases, tested"
)


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A round that was opened."""

    round: int  # 0: of statistics
    plan_id: bytes
    base_version: int
    base_hash: bytes
    opened_ms: int  # on the boot-time clock of the boot that `boot` names
    boot: str
    age_ms: int  # the largest that was written down
    closed: bool
    folded: bool
    kept: bool  # the log of its updates must be there
    target: int | None  # bytes of a coded vector; None: vectors are not coded
    limits: Limits | None  # None: its own updates will set them

    @property
    def codec(self) -> Codec:
        """How its updates say their vectors."""
        if self.kind is PlanKind.STATISTICS:
            return Codec.SUMS
        return Codec.RAW_INT16 if self.target is None else Codec.CODED

    @property
    def kind(self) -> PlanKind:
        """What it asks for."""
        return PlanKind.TRAIN if self.round else PlanKind.STATISTICS

    @property
    def words(self) -> str:
        """For people."""
        return f"round {self.round}" if self.round else "the round of statistics"

    def age_at(self, now_ms: int, boot: str) -> int:
        """How long the round has been open, as far as the clock of this boot can tell."""
        same_boot = boot != "" and self.boot == boot
        return now_ms - self.opened_ms if same_boot else self.age_ms


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """The first verdict on a device's update, with what accounting needs."""

    device: str
    verdict: str
    reason: str
    update_hash: bytes
    first: int  # where the round's log has it, if it was accepted
    size: int  # bytes of the message; 0: it never came
    weight: int
    saturated: int
    norm_weights: int = 0
    norm_biases: int = 0
    tested: tuple[Hits, ...] | None = None  # each class, by the base model, as the update says

    @property
    def sizes(self) -> Sizes:
        """Of an accepted update."""
        return Sizes(self.norm_weights, self.norm_biases, self.weight)

    @property
    def decision(self) -> Decision:
        """As the rounds want it."""
        return Decision(self.update_hash, Verdict(self.verdict), self.reason)

    @property
    def extent(self) -> Extent:
        """Of an accepted update."""
        return Extent(self.first, self.size)


@dataclass(frozen=True, slots=True)
class Part:
    """What a device has done for a task."""

    device: str
    task: str
    accepted: int  # updates
    refused: int
    last: int  # round in which it was answered last, or has a place; 0: that of statistics
    examples: int | None  # that its last accepted update counted for; None: there is none
    has_place: int  # 1: in the open round: it trains, or its update is on its way


def boot_id() -> str:
    """Names this boot of the kernel, since other boots had other clocks. Empty: unknown."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:  # a sandbox that hides it
        return ""


class Rounds:
    """The tables `plans`, `places`, `decisions`, and a log of updates for each round."""

    def __init__(
        self,
        database: Database,
        directory: Path,
        boot: str | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """boot: names the boot whose clock is used; None: this one of the kernel."""
        self._database = database
        self.directory = directory
        self._logs: dict[bytes, UpdateLog] = {}  # of the plans that are open, by id
        self.boot = boot_id() if boot is None else boot
        self._now = now
        self._unread: dict[bytes, float] = {}  # since when the disk does not give a plan's log

    def plans(self, task: str) -> list[PlanRow]:
        """By round."""
        sql = f"SELECT {_PLAN} FROM plans WHERE task = ? ORDER BY round"
        return [_plan(row) for row in self._database.rows(sql, task)]

    def plan(self, task: str, plan_id: bytes) -> PlanRow | None:
        sql = f"SELECT {_PLAN} FROM plans WHERE task = ? AND plan_id = ?"
        row = self._database.row(sql, task, plan_id)
        return None if row is None else _plan(row)

    def unfolded(self, task: str) -> PlanRow | None:
        """The one plan that is in no model yet."""
        row = self._database.row(f"SELECT {_PLAN} FROM plans WHERE task = ? AND folded = 0", task)
        return None if row is None else _plan(row)

    def open(
        self,
        task: str,
        number: int,
        plan_id: bytes,
        base: ModelRow,
        clip_q8: int,
        now_ms: int,
        target: int | None = None,
    ) -> None:
        """Idempotent: the same plan may be opened again. clip_q8: as in limits_of()."""
        target = target if number else None
        middles = self._middles(task, target)
        limits = limits_of(middles, clip_q8) if middles or not clip_q8 else None
        with self._database.transaction("the round") as connection:
            connection.execute(
                f"INSERT OR IGNORE INTO plans (task, {_PLAN})"
                " VALUES (?,?,?,?,?,?,?,0,0,0,1,?,?,?,?)",
                (
                    task, number, plan_id, base.version, base.model_hash, now_ms, self.boot,
                    target, *(limits or (None,) * 3),
                ),
            )  # fmt: skip

    def close(self, task: str, plan_id: bytes, clip_q8: int) -> None:
        """Whatever comes for it from now on is late. It has limits now, of its own if need be."""
        middle = self._middle(task, plan_id)
        own = limits_of([] if middle is None else [middle], clip_q8)
        with self._database.transaction("the end of a round") as connection:
            connection.execute(
                "UPDATE plans SET closed = 1,"
                " (middle_weights, middle_biases, middle_examples) = (?, ?, ?),"
                " limit_weights = coalesce(limit_weights, ?),"
                " limit_biases = coalesce(limit_biases, ?),"
                " limit_examples = coalesce(limit_examples, ?) WHERE task = ? AND plan_id = ?",
                (*(middle or (None,) * 3), *own, task, plan_id),
            )
            connection.execute(_DROP_CHUNKS, (task, plan_id))

    def _middles(self, task: str, target: int | None) -> list[Sizes]:
        """The middle updates of the last rounds that were coded alike.

        An estimate is longer than what it is of, and the more so the fewer bytes it came in.
        """
        sql = """SELECT middle_weights, middle_biases, middle_examples FROM plans
                 WHERE task = ? AND middle_examples IS NOT NULL AND round > 0 AND target IS ?
                 ORDER BY round DESC LIMIT ?"""
        return [Sizes(*row) for row in self._database.rows(sql, task, target, LOOKED_BACK)]

    def _middle(self, task: str, plan_id: bytes) -> Sizes | None:
        """The median of what was accepted, each size for itself; None: too few were."""
        ((count,),) = self._database.rows(f"SELECT count(*) {_ACCEPTED}", task, plan_id)
        if count < FEWEST:
            return None
        columns = ("norm_weights", "norm_biases", "weight")
        sql = "SELECT {0} " + _ACCEPTED + " ORDER BY {0} LIMIT 1 OFFSET ?"
        found = [
            self._database.rows(sql.format(column), task, plan_id, (count - 1) // 2)
            for column in columns
        ]
        return Sizes(*(value for ((value,),) in found))

    def end(self, task: str, plan_id: bytes, *, keep: bool) -> None:
        """It is in a model; part of the transaction that enters it. keep: the log, for audits."""
        with self._database.transaction("the end of a round") as connection:
            sql = """UPDATE plans SET closed = 1, folded = 1, kept = ?
                     WHERE task = ? AND plan_id = ?"""
            connection.execute(sql, (keep, task, plan_id))
            connection.execute(_DROP_CHUNKS, (task, plan_id))

    def rename(self, task: str, old: bytes, new: bytes) -> None:
        """Give an open plan another id: places and verdicts go along, and so does its log.

        The log has both names until files are tidied: a crash before the commit loses nothing.
        """
        with self._database.transaction("another id of a plan") as connection:
            if self.log(old).exists():
                with writing(str(self.log(new))):
                    durable.link_file(self.log(old), self.log(new))
            connection.execute("PRAGMA defer_foreign_keys = ON")
            connection.execute(_DROP_CHUNKS, (task, old))  # they are for another topic
            for table in ("plans", "places", "decisions"):
                sql = f"UPDATE {table} SET plan_id = ? WHERE task = ? AND plan_id = ?"
                connection.execute(sql, (new, task, old))

    def grow(self, task: str, plan_id: bytes, age_ms: int) -> None:
        """The round is at least so old."""
        with self._database.transaction("the age of a round") as connection:
            sql = "UPDATE plans SET age_ms = max(age_ms, ?) WHERE task = ? AND plan_id = ?"
            connection.execute(sql, (age_ms, task, plan_id))

    # --- places ----------------------------------------------------------------------------------

    def places(self, task: str, plan_id: bytes) -> Mapping[str, int]:
        """Until which age of the round, by device."""
        sql = "SELECT device, until_ms FROM places WHERE task = ? AND plan_id = ?"
        return dict(self._database.rows(sql, task, plan_id))

    def grant(
        self, task: str, plan_id: bytes, device: str, until_ms: int, instead_of: str | None
    ) -> None:
        """A place, or a longer one; `instead_of` loses its own."""
        with self._database.transaction("a place") as connection:
            if instead_of is not None:
                connection.execute(_TAKE_PLACE, (task, plan_id, instead_of))
            connection.execute(
                "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)",
                (task, plan_id, device, until_ms),
            )

    # --- verdicts --------------------------------------------------------------------------------

    def decide(self, task: str, plan_id: bytes, row: DecisionRow) -> None:
        """The first verdict stays; the device's place ends with it."""
        with self._database.transaction("a verdict") as connection:
            connection.execute(
                f"INSERT OR IGNORE INTO decisions (task, plan_id, {_DECISION})"
                " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    task, plan_id, row.device, row.verdict, row.reason, row.update_hash, row.first,
                    row.size, row.weight, row.saturated, row.norm_weights, row.norm_biases,
                    None if row.tested is None else json.dumps(row.tested),
                ),
            )  # fmt: skip
            connection.execute(_TAKE_PLACE, (task, plan_id, row.device))
            connection.execute(f"{_DROP_CHUNKS} AND device = ?", (task, plan_id, row.device))

    def decision(self, task: str, plan_id: bytes, device: str) -> Decision | None:
        sql = f"SELECT {_DECISION} FROM decisions WHERE task = ? AND plan_id = ? AND device = ?"
        row = self._database.row(sql, task, plan_id, device)
        return None if row is None else _decision(row).decision

    def decisions(self, task: str, plan_id: bytes) -> list[DecisionRow]:
        """By device."""
        sql = f"SELECT {_DECISION} FROM decisions WHERE task = ? AND plan_id = ? ORDER BY device"
        return [_decision(row) for row in self._database.rows(sql, task, plan_id)]

    def tests(self, task: str, plan_id: bytes) -> list[tuple[Hits, ...]]:
        """What accepted updates say of their tests of the plan's base, by device."""
        sql = f"SELECT tested {_ACCEPTED} AND tested IS NOT NULL ORDER BY device"
        return [_tested(text) for (text,) in self._database.rows(sql, task, plan_id)]

    def members(self, task: str, plan_id: bytes) -> list[DecisionRow]:
        """Whose updates are in the sum, as they lie in the log."""
        rows = self.decisions(task, plan_id)
        accepted = [row for row in rows if row.verdict == Verdict.ACCEPTED and row.reason != LOST]
        return sorted(accepted, key=lambda row: row.first)

    def may_come_back(self, plan_id: bytes, damaged: Exception) -> bool:
        """Whether it is a disk that fails to read an accepted update, and not yet for long."""
        if not is_of_disk(damaged.__cause__):
            return False
        now = self._now()
        return now < self._unread.setdefault(plan_id, now) + PATIENCE_S

    def parts(self) -> list[Part]:
        """What each device has done, by device and task; nothing of one that did nothing."""
        return [Part(*row) for row in self._database.rows(_PARTS)]

    def lose(self, task: str, plan_id: bytes, devices: Iterable[str]) -> None:
        """Write down whose accepted updates are not in the sum: the disk did not keep them.

        Part of the transaction that enters the model.
        """
        with self._database.transaction("the loss of an update") as connection:
            connection.executemany(
                "UPDATE decisions SET reason = ? WHERE task = ? AND plan_id = ? AND device = ?",
                [(LOST, task, plan_id, device) for device in devices],
            )

    def far_again(self, task: str, plan: PlanRow) -> list[str]:
        """The devices whose update to this round was far off, as their last ones were."""
        if plan.limits is None:
            return []
        sql = """SELECT device FROM decisions WHERE task = ? AND plan_id = ? AND
                 verdict = 'accepted' AND (norm_weights > ? OR norm_biases > ?) ORDER BY device"""
        most = FAR * plan.limits.weights, FAR * plan.limits.biases
        bounds = [min(value, NO_LIMIT) for value in most]
        found = self._database.rows(sql, task, plan.plan_id, *bounds)
        return [device for (device,) in found if self._is_far_again(task, plan.round, device)]

    def _is_far_again(self, task: str, number: int, device: str) -> bool:
        sql = """SELECT d.norm_weights > ?1 * p.limit_weights OR
                 d.norm_biases > ?1 * p.limit_biases FROM plans AS p JOIN decisions AS d
                 ON d.task = p.task AND d.plan_id = p.plan_id AND d.device = ?2
                 WHERE p.task = ?3 AND p.round <= ?4 AND d.verdict = 'accepted'
                 ORDER BY p.round DESC LIMIT ?5"""
        rows = self._database.rows(sql, FAR, device, task, number, AGAIN)
        return len(rows) == AGAIN and all(far for (far,) in rows)

    # --- updates ---------------------------------------------------------------------------------

    def log(self, plan_id: bytes) -> Path:
        """The file of a plan's accepted updates."""
        return self.directory / plan_id.hex()

    def add_update(self, task: str, plan_id: bytes, message: bytes) -> Extent:
        """Where it will lie in the log. It is on disk when what take_writes() gives was called."""
        log = self._logs.get(plan_id)
        if log is None:
            end = max((row.extent.end for row in self.members(task, plan_id)), default=0)
            log = self._logs[plan_id] = UpdateLog(self.log(plan_id), end)
        return log.add(message)

    def take_writes(self) -> list[Callable[[], None]]:
        """What must be called before the transaction is committed. They raise OSError."""
        return [write for log in self._logs.values() if (write := log.take()) is not None]

    def forget_logs(self) -> None:
        """What was added and not committed was never there."""
        self._logs.clear()

    def forget_log(self, plan_id: bytes) -> None:
        """No update of this plan is added any more; what was is committed."""
        self._logs.pop(plan_id, None)

    def erase_log(self, plan_id: bytes) -> None:
        """Remove the plan's updates for good. Raises CannotWrite."""
        with writing(str(self.log(plan_id))):
            durable.remove_file(self.log(plan_id))

    def update(self, plan_id: bytes, row: DecisionRow) -> bytes:
        """An accepted update, the whole message. Raises Damaged."""
        return update_log.read(self.log(plan_id), row.extent, row.update_hash)

    def keep_only_logs(self) -> None:
        """Erase the files of updates that no plan needs. Raises CannotWrite."""
        kept = {plan_id.hex() for (plan_id,) in self._database.rows(_KEPT)}
        with writing(str(self.directory)):
            found = [path for path in self.directory.iterdir() if not path.is_dir()]
            left = [path for path in found if path.name not in kept]
            if left:
                durable.remove_files(left)


# A bare column beside max() is of the row that has the most (SQLite, "bare columns").
_PARTS = """
WITH answered AS (
    SELECT device, d.task, sum(verdict = 'accepted') AS accepted,
        sum(verdict = 'refused') AS refused, max(round) AS last
    FROM decisions AS d JOIN plans AS p USING (task, plan_id) GROUP BY device, d.task),
counted AS (
    SELECT device, d.task, weight, max(round) FROM decisions AS d JOIN plans AS p
    USING (task, plan_id) WHERE verdict = 'accepted' GROUP BY device, d.task),
placed AS (
    SELECT device, p.task, p.round FROM places JOIN plans AS p USING (task, plan_id)
    WHERE p.closed = 0),
known AS (SELECT device, task FROM answered UNION SELECT device, task FROM placed)
SELECT device, task, coalesce(accepted, 0), coalesce(refused, 0), max(coalesce(last, 0),
    coalesce(placed.round, 0)), weight, placed.round IS NOT NULL
FROM known LEFT JOIN answered USING (device, task) LEFT JOIN counted USING (device, task)
LEFT JOIN placed USING (device, task) ORDER BY device, task
"""
_DROP_CHUNKS = "DELETE FROM chunks WHERE task = ? AND plan_id = ?"
_TAKE_PLACE = "DELETE FROM places WHERE task = ? AND plan_id = ? AND device = ?"
_KEPT = "SELECT plan_id FROM plans WHERE kept = 1"
_ACCEPTED = "FROM decisions WHERE task = ? AND plan_id = ? AND verdict = 'accepted'"


def _decision(row: Fields) -> DecisionRow:
    decision = DecisionRow(*row)
    return decision if decision.tested is None else replace(decision, tested=_tested(row[-1]))


def _tested(text: str) -> tuple[Hits, ...]:
    return tuple(Hits(*one) for one in json.loads(text))


def _plan(row: Fields) -> PlanRow:
    number, plan_id, version, base_hash, opened_ms, boot, age_ms, *flags_and_limits = row
    closed, folded, kept, target, *limits = flags_and_limits
    known = None if limits[0] is None else Limits(*limits)
    return PlanRow(
        number, plan_id, version, base_hash, opened_ms, boot, age_ms,
        bool(closed), bool(folded), bool(kept), target, known,
    )  # fmt: skip
