"""The simulated aggregator: the rounds of one task, and the database that its shell would have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from fedling_agent.session.events import PlanOver, SendJoin, SendUpdate
from fedling_broker.rounds.events import (
    CloseRound,
    Connected,
    Decision,
    DeviceGone,
    Folded,
    FoldRound,
    GrantPlace,
    JoinSeen,
    Opened,
    OpenRound,
    Past,
    PublishPlan,
    PublishRest,
    RecordDecision,
    SendReceipt,
    SendTicket,
    StoreUpdate,
    Tick,
    UpdateSeen,
)
from fedling_broker.rounds.state import OnDisk, Open, Rounds, Rules, due, open_plan, restore
from fedling_broker.rounds.synchronous import Synchronous
from fedling_broker.rounds.terms import Terms
from fedling_native import Loss, dense
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import (
    Answer,
    Conditions,
    Join,
    Plan,
    Receipt,
    Rest,
    TaskSpec,
    Training,
    Update,
    Verdict,
)
from tests.support.schedules.faults import Fault
from tests.support.schedules.node import Node
from tests.support.schedules.violation import must

if TYPE_CHECKING:
    from tests.support.schedules.device import Device
    from tests.support.schedules.world import World

SPEC = TaskSpec("task", "stream", 2, 1, 1, "none", ("a", "b"), (dense(2, 2),), Loss.SOFTMAX)
TRAINING = Training(1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0)
PLAN = Plan(b"", 0, 0, b"", SPEC, TRAINING, Conditions(False, 0, 99), 0, Codec.RAW_INT16, None, 100)
REST = Rest(0, b"", SPEC, 100, 0)
TICK = Tick()


@dataclass(slots=True)
class Row:
    """A plan in the database."""

    plan: Plan
    boot: int
    opened_ms: int  # on the clock of that boot
    at_ms: int = 0
    closed: bool = False
    folded: bool = False
    places: dict[str, int] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def terms_of(plan: Plan) -> Terms:
    return Terms(plan.base_version, plan.base_hash, plan.codec, 1, 2)


def spare(policy: Synchronous, devices: int) -> int:
    """How many may drop out of a round that comes to its end although they keep their places.

    Who waits for a place may get one that expired, of a device that is told so too late: another
    one is lost by each, no more.
    """
    needed = policy.goal if policy.deadline_ms is None else policy.minimum
    return min(policy.capacity, devices) - needed


@dataclass(frozen=True, slots=True)
class Fold:
    """A line of the journal."""

    plan_id: bytes
    total: int
    members: dict[str, bytes]  # device: update hash


class Aggregator(Node):
    """On its disk: rows, version, journal."""

    CRASHES = (Fault.AGGREGATOR_KILLED, Fault.AGGREGATOR_POWER_CUT)

    state: Rounds

    def __init__(self, world: World, policy: Synchronous, rounds: int, pause_s: int) -> None:
        super().__init__(world, "aggregator")
        self.rules = Rules(policy, rounds, pause_s)
        self.capacity, self.minimum = policy.capacity, policy.minimum
        self.spare = spare(policy, len(world.devices))
        self.rows: dict[bytes, Row] = {}
        self.version = 1
        self.journal: list[Fold] = []
        self.boot = 0
        self.jumped = False  # its clock leapt: a place may expire before its ticket
        self.forgotten: set[tuple[str, bytes]] = set()  # places, of devices that were revoked

    # --- the process ---

    def step(self, event: Any, now_ms: int) -> list[Any]:
        self.state, actions = self.world.machines.rounds(self.state, event, now_ms)
        if isinstance(self.state.phase, Open):
            taken = self.state.phase.cohort.taken
            must(taken <= self.capacity, "more places than the cohort has")
        return actions

    def due(self) -> int | None:
        return due(self.state)

    def on_timer(self, due: int) -> None:
        if self.up and self.tick_at == due:
            self.tick_at = None
            self.give(TICK)

    def crash(self, reboot: bool) -> None:
        super().crash(reboot)
        self.boot += reboot

    def start(self) -> None:
        if self.up:
            return
        self.up = True
        now = self.world.now + self.clock
        row = next((row for row in self.rows.values() if not row.folded), None)
        self.state = restore(
            self.rules, len(self.journal), self.on_disk(row, now) if row else None, now
        )
        self.world.after(self.world.delay(), self.connect, self.connection)
        self.give(TICK)

    def on_disk(self, row: Row, now: int) -> OnDisk:
        age = now - row.opened_ms if row.boot == self.boot else row.at_ms
        places = {d: until for d, until in row.places.items() if d not in row.decisions}
        terms = terms_of(row.plan)
        return OnDisk(row.plan.plan_id, terms, row.closed, age, places, row.decisions)

    def connect(self, connection: int) -> None:
        if self.up and not self.connected and connection == self.connection:
            self.connected = True
            self.connection += 1
            self.give(Connected())

    def disconnect(self) -> None:
        if self.connected:
            self.connected = False
            self.connection += 1
            self.world.after(self.world.delay() * 2, self.connect, self.connection)

    def plans_of(self, device: Device) -> list[bytes]:
        """Those in which it has a place, and nothing is decided about it."""
        return [
            plan
            for plan, row in self.rows.items()
            if not row.closed and device.name in row.places.keys() - row.decisions.keys()
        ]

    def forget(self, device: Device) -> None:
        """Its place goes from the disk, then the rounds hear of it."""
        for plan, row in self.rows.items():
            if row.places.pop(device.name, None) is not None:
                self.forgotten.add((device.name, plan))
        if self.up:
            self.give(DeviceGone(device.name))

    # --- messages ---

    def on_join(self, device: Device, asked: SendJoin) -> None:
        if self.connected:
            join = Join(asked.plan_id, asked.nonce, asked.have, None)
            past = self.past(join.plan_id, device)
            self.give(JoinSeen(device.name, join, device.certified, past))

    def on_update(self, device: Device, sent: SendUpdate) -> None:
        """The simulated message is its hash. Without a certificate nobody's signature is good."""
        if self.connected and device.certified:
            plan = self.rows[sent.plan_id].plan
            update = Update(
                plan.plan_id, plan.base_version, plan.base_hash, 1, plan.codec, b"12", 0, 1
            )
            past = self.past(sent.plan_id, device)
            message = sent.update_hash
            self.give(UpdateSeen(device.name, update, message, sent.update_hash, past))

    def past(self, plan_id: bytes, device: Device) -> Past | None:
        row = self.rows.get(plan_id)
        if row is None or plan_id == open_plan(self.state):
            return None
        return Past(row.decisions.get(device.name))

    def device(self, name: str) -> Device:
        return self.world.devices[int(name[-1])]

    def send_ticket(self, action: SendTicket) -> None:
        ticket = action.ticket
        row = self.rows[ticket.plan_id]
        if ticket.answer is Answer.GO:
            must(action.device in row.places and not row.closed, "a ticket without a place")
        self.world.seen[ticket.answer, ticket.reason] += 1
        if self.connected:
            self.world.carry(self.device(action.device).on_ticket, ticket)

    def send_receipt(self, action: SendReceipt) -> None:
        receipt = action.receipt
        if self.world.machines.watched:
            self.check_receipt(action.device, receipt)
        self.world.seen[receipt.verdict, receipt.of, bool(receipt.update_hash)] += 1
        if self.connected:
            self.world.carry(self.device(action.device).on_receipt, receipt)

    def check_receipt(self, device: str, receipt: Receipt) -> None:
        """What is said of an update is on disk, whatever happens next."""
        verdict = receipt.of or receipt.verdict
        row = self.rows[receipt.plan_id]
        if receipt.update_hash:
            known = row.decisions.get(device)
            must(known, "a verdict that is not on disk")
            assert known
            must(known.update_hash == receipt.update_hash, "a verdict about another update")
            must(known.verdict is verdict, "a verdict that is not on disk")
        if verdict is Verdict.ACCEPTED:
            must(row.folded or device in row.files, "accepted, but not on disk")
        without_place = self.jumped or (device, receipt.plan_id) in self.forgotten
        must(verdict is not Verdict.REFUSED or without_place, f"refused: {receipt.reason}")

    def publish_plan(self, action: PublishPlan) -> None:
        if self.connected:
            plan = self.rows[action.plan_id].plan
            self.world.publish(plan, {plan.base_version, self.version})

    def publish_rest(self, action: PublishRest) -> None:
        if self.connected:
            version = self.version
            rest = replace(
                REST,
                version=version,
                model_hash=b"model%d" % version,
                look_again_s=action.look_again_s,
            )
            self.world.publish(rest, {version})

    # --- the database ---

    def open_round(self, action: OpenRound) -> None:
        plan_id = b"plan%d on model%d" % (action.round, self.version)
        if plan_id not in self.rows:
            plan = replace(
                PLAN,
                plan_id=plan_id,
                round=action.round,
                base_version=self.version,
                base_hash=b"model%d" % self.version,
                spread_s=self.world.spread_s,
            )
            self.rows[plan_id] = Row(plan, self.boot, self.world.now + self.clock)
        self.pending.append(Opened(plan_id, terms_of(self.rows[plan_id].plan)))

    def grant_place(self, action: GrantPlace) -> None:
        row = self.rows[action.plan_id]
        must(self.device(action.device).certified, "a place for one that nobody vouches for")
        row.at_ms = max(row.at_ms, action.at_ms)
        row.places[action.device] = action.until_ms
        if action.instead_of:
            self.world.seen["a place was given away"] += 1
            row.places.pop(action.instead_of, None)

    def store_update(self, action: StoreUpdate) -> None:
        row = self.rows[action.update.plan_id]
        must(not row.closed, "accepted after the round was closed")
        must(action.device in row.places, "accepted without a place")
        decision = Decision(action.update_hash, Verdict.ACCEPTED, "")
        known = row.decisions.setdefault(action.device, decision)
        must(known == decision, "two decisions about one update")
        row.files[action.device] = action.message
        row.at_ms = max(row.at_ms, action.at_ms)

    def record_decision(self, action: RecordDecision) -> None:
        decisions = self.rows[action.plan_id].decisions
        known = decisions.setdefault(action.device, action.decision)
        must(known == action.decision, "two decisions about one update")

    def close_round(self, action: CloseRound) -> None:
        self.rows[action.plan_id].closed = True

    def fold_round(self, action: FoldRound) -> None:
        row = self.rows[action.plan_id]
        must(row.closed, "folded, but not closed")
        if not row.folded:
            accepted = {
                device: known.update_hash
                for device, known in row.decisions.items()
                if known.verdict is Verdict.ACCEPTED
            }
            must(len(accepted) >= self.minimum, "folded with fewer than the minimum")
            total = sum(int.from_bytes(row.files[device], "big") for device in accepted)
            self.journal.append(Fold(action.plan_id, total, accepted))
            self.version += 1
            row.folded = True
            row.files.clear()
        self.pending.append(Folded(action.plan_id))

    def check_over(self, device: Device, over: PlanOver) -> None:
        """A device ends a plan: has it a reason?"""
        self.world.seen[over.reason or over.verdict] += 1
        row = self.rows[over.plan_id]
        if over.reason == "superseded" or over.verdict is Verdict.LATE:
            must(row.closed, "a device gave up an open plan")
        if over.update_hash and over.verdict:
            known = row.decisions.get(device.name)
            same = known and (known.update_hash, known.verdict) == (over.update_hash, over.verdict)
            must(same, "a device holds a receipt that is not on the aggregator's disk")

    ACTIONS: ClassVar[dict[type, Callable[..., None]]] = {
        OpenRound: open_round,
        PublishPlan: publish_plan,
        PublishRest: publish_rest,
        GrantPlace: grant_place,
        SendTicket: send_ticket,
        StoreUpdate: store_update,
        RecordDecision: record_decision,
        SendReceipt: send_receipt,
        CloseRound: close_round,
        FoldRound: fold_round,
    }
