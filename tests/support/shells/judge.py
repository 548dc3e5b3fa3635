"""What may never break in a schedule, checked where it happens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from fedling_agent.session.events import (
    FetchModel,
    PlanOver,
    SendJoin,
    SendUpdate,
    StartTraining,
)
from fedling_agent.training.job import Job
from fedling_broker.aggregation import sums
from fedling_broker.aggregation.limits import FEWEST, Sizes, limits_of, middle
from fedling_broker.aggregation.reading import Base
from fedling_broker.aggregation.sums import Sum
from fedling_broker.rounds.events import GrantPlace
from fedling_broker.rounds.synchronous import Synchronous
from fedling_broker.store.models import Fold
from fedling_broker.store.rounds import LOOKED_BACK, DecisionRow, PlanRow
from fedling_broker.store.shelf import Damaged
from fedling_broker.store.store import Store
from fedling_broker.tasks import task_file
from fedling_native import Normaliser
from fedling_protocol.net.framing import publish_size
from fedling_protocol.wire import envelope, payload
from fedling_protocol.wire import sums as wire
from fedling_protocol.wire.digest import message_hash
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Answer, Plan, PlanKind, Receipt, Ticket, Update, Verdict
from fedling_protocol.wire.messages import Message as Words
from fedling_sim.virtual.clock import US
from fedling_sim.virtual.connection import Connection, Message
from fedling_sim.virtual.fleet import Member
from fedling_sim.virtual.link import VirtualLink
from fedling_sim.virtual.network import Lane
from tests.support.shells.violation import must

if TYPE_CHECKING:
    from tests.support.shells.world import World

TASK = "watch"
LOOK_S = 1.5  # a device that moves large bytes, or trains, knows of its conditions after so long
WORK_S = 6  # calls of workers that lie between a look and what it decides, at most


class Judge:
    """Knows what was said and looks at the disks; the services know nothing of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.topics = world.fleet.config.topics
        self.address = cache(self.topics.parse)  # of the few topics of a schedule
        self.store = self.open()
        self.task = task_file.parse_task(world.setup.tasks[0], "a schedule's task")
        self.broken = 0  # how often history was
        self.plans: set[bytes] = set()  # that were published since it broke last
        self.bases: dict[bytes, tuple[int, ...]] = {}  # plan: exponents of its base
        self.renamed: dict[bytes, bytes] = {}  # plan of a copy: what its open plan was before
        self.said: list[tuple[str, bytes]] = []  # by the aggregator, on which topic
        policy = self.task.rules.policy
        assert isinstance(policy, Synchronous)
        self.capacity, self.minimum = policy.capacity, policy.minimum
        self.signed: dict[tuple[str, bytes], bytes] = {}  # device, plan: update hash
        self.updates: dict[bytes, Update] = {}  # by hash
        self.coming: dict[Lane, tuple[int, int]] = {}  # models: first and last byte, us
        self.leaving: dict[
            str, tuple[Connection | None, float]
        ] = {}  # updates: when they have left
        self.joins: dict[tuple[str, bytes], float] = {}  # device, nonce: when it asked
        self.leave_s: dict[tuple[str, bytes], float] = {}  # device, plan: until when, in truth
        self.bad_since: dict[tuple[int, str], float] = {}  # device, condition
        self.grace_s = LOOK_S + WORK_S * world.latency_s

    def open(self) -> Store:
        """It sees what is committed. What it writes as a verb does is dated in virtual time."""
        wall = self.world.fleet.world
        return Store(self.world.fleet.config.state_dir, boot="", wall=lambda: wall.now_us / 1000)

    def close(self) -> None:
        self.store.close()

    # --- breaks in history -----------------------------------------------------------------------

    def on_break(self) -> None:
        """What was asked before is of a former life."""
        self.broken += 1
        self.plans.clear()

    def on_put_back(self) -> None:
        """An old copy of the state is where the state was."""
        self.on_break()
        self.task = task_file.parse_task(self.store.tasks.rows()[0].text, "a schedule's task")

    def is_former(self, plan_id: bytes) -> bool:
        """Whether the plan is of a former life: what was said of it then need not be so now."""
        return self.broken > 0 and plan_id not in self.plans

    # --- conditions ------------------------------------------------------------------------------

    def on_conditions(self, member: Member, which: str, good: bool) -> None:
        """A device knows of it soon; then nothing forbidden may go on."""
        key, world = (member.number, which), self.world
        if good:
            self.bad_since.pop(key, None)
        elif key not in self.bad_since:
            self.bad_since[key] = world.now_s
            if which == "network":
                wants = self.fetches(member)
                world.faults.after(self.grace_s, self.check_transfers, member, world.now_s, wants)

    def fetches(self, member: Member) -> bool:
        """Whether it asks for a model now. One that comes later than it is wanted is not stopped:
        there is no fetch that could be cancelled."""
        runner = None if member.process is None else member.process.service.runners.find(TASK)
        fetch = None if runner is None else runner.session.fetch
        return fetch is not None and fetch.due_ms is not None

    def check_transfers(self, member: Member, since: float, wants: bool) -> None:
        """Some time after conditions became bad."""
        if self.bad_since.get((member.number, "network")) != since or member.process is None:
            return
        link = member.process.service.link
        assert isinstance(link, VirtualLink)
        must(not (wants and self.comes(link, since)), "a model comes against conditions")
        on, leaves_us = self.leaving.get(member.id, (None, 0.0))
        moves = on is link._connection is not None and leaves_us > self.world.fleet.world.now_us
        must(not moves, "an update moves against conditions")

    def comes(self, link: VirtualLink, since: float) -> bool:
        """Whether a model is coming in whose first byte was here by then."""
        if link._connection is None:
            return False
        begins_us, ends_us = self.coming.get(link._connection.down, (0, 0))
        return begins_us <= since * US and self.world.fleet.world.now_us < ends_us

    def on_moving(self, lane: Lane, message: object) -> None:
        """Something is on its way through a slow lane, behind what was sent before."""
        if isinstance(message, Message) and self.address(message.topic).kind is Kind.MODEL:
            assert lane._moving
            self.coming[lane] = lane._moving[-1][:2]

    def long_bad(self, number: int, which: str) -> bool:
        since = self.bad_since.get((number, which))
        return since is not None and self.world.now_s - since > self.grace_s

    def on_batch(self, number: int, job: Job) -> None:
        must(not self.long_bad(number, "temperature"), "a batch against conditions")
        process = self.world.members[number].process
        assert process is not None
        must(not process.store.plans.is_finished(job.plan_id), "a finished plan is trained again")
        must(process.store.spool.find(job.plan_id) is None, "what is spooled is trained again")

    # --- actions ---------------------------------------------------------------------------------

    def on_device_action(self, member: Member, action: Any) -> None:
        process = member.process
        assert process is not None
        match action:
            case SendJoin(nonce=nonce):
                self.joins[member.id, nonce] = self.world.now_s
            case FetchModel():
                must(not self.long_bad(member.number, "network"), "a fetch against conditions")
            case SendUpdate(plan_id=plan_id, update_hash=update_hash):
                entry = process.store.spool.find(plan_id)
                must(entry and entry.update_hash == update_hash, "sent, but not spooled")
                must(self.has_leave(member.id, plan_id), "sent without a good ticket")
            case StartTraining(plan=plan):
                finished = process.store.plans.is_finished(plan.plan_id)
                must(not finished, "a finished plan is trained again")
                # One of a former life may begin in the instant before it hears of the next.
                held = process.store.models.find(plan.base_hash)
                must(held or self.is_former(plan.plan_id), "training without its base model")
                begun = process.store.plans.find(plan.plan_id)
                must(begun or self.has_leave(member.id, plan.plan_id), "begun without leave")
            case PlanOver():
                self.check_over(member, action)

    def check_over(self, member: Member, over: PlanOver) -> None:
        """A device ends a plan: has it a reason?"""
        self.world.seen[over.reason or over.verdict] += 1
        if self.is_former(over.plan_id):
            return
        row = self.store.rounds.plan(TASK, over.plan_id)
        assert row is not None
        if over.reason == "superseded" or over.verdict is Verdict.LATE:
            must(row.closed, "a device gave up an open plan")
        if over.update_hash and over.verdict:
            known = self.store.rounds.decision(TASK, over.plan_id, member.id)
            same = known and (known.update_hash, known.verdict) == (over.update_hash, over.verdict)
            must(same, "a device holds a receipt that is not on the aggregator's disk")

    def on_aggregator_action(self, action: Any) -> None:
        if isinstance(action, GrantPlace) and action.instead_of:
            self.world.seen["a place was given away"] += 1

    # --- messages --------------------------------------------------------------------------------

    def on_publish(self, connection: Connection | None, topic: str, data: bytes) -> None:
        """Handed to a link that is connected."""
        address = self.address(topic)
        device = address.device or ""
        if not address.kind.from_device and data:
            self.said.append((topic, data))
        if address.kind is Kind.PLAN and data:
            self.note_plan(decoded(address.kind, data))
        elif address.kind is Kind.UPDATE:
            self.note_leaving(device, connection, publish_size(topic, len(data)))
            self.check_update(device, data)
        elif address.kind is Kind.TICKET:
            self.check_ticket(device, decoded(address.kind, data))
        elif address.kind is Kind.RECEIPT:
            self.check_receipt(device, decoded(address.kind, data))

    def note_plan(self, plan: Words) -> None:
        """It is of this life, unless its task was removed in this instant."""
        if isinstance(plan, Plan) and self.store.rounds.plan(TASK, plan.plan_id):
            self.plans.add(plan.plan_id)
            base = self.store.models.find(TASK, plan.base_version)
            assert base is not None
            self.bases[plan.plan_id] = base.exponents

    def note_leaving(self, device: str, connection: Connection | None, size: int) -> None:
        rate = self.world.setup.rates[0]
        if connection is not None and rate is not None:
            begins_us = max(self.world.fleet.world.now_us, connection.up.free_us)
            self.leaving[device] = connection, begins_us + size / rate * US

    def on_arrival(self, device: str, topic: str, data: bytes) -> None:
        """Leave to take part counts from the join that asked for it."""
        if self.address(topic).kind is not Kind.TICKET:
            return
        ticket = decoded(Kind.TICKET, data)
        assert isinstance(ticket, Ticket)
        asked_s, key = self.joins.get((device, ticket.nonce)), (device, ticket.plan_id)
        if ticket.answer is Answer.GO and asked_s is not None:
            self.leave_s[key] = max(asked_s + ticket.seconds, self.leave_s.get(key, 0.0))

    def has_leave(self, device: str, plan_id: bytes) -> bool:
        return self.leave_s.get((device, plan_id), 0.0) > self.world.now_s

    def check_update(self, device: str, data: bytes) -> None:
        """Nobody may ever sign two updates for one plan."""
        member = self.world.member(device)
        must(not self.long_bad(member.number, "network"), "an update is sent against conditions")
        update, name = decoded(Kind.UPDATE, data), message_hash(data)
        assert isinstance(update, Update)
        known = self.signed.setdefault((device, update.plan_id), name)
        must(known == name, "two updates of one plan")
        self.updates[name] = update

    def check_ticket(self, device: str, ticket: Words) -> None:
        assert isinstance(ticket, Ticket)
        self.world.seen[ticket.answer, ticket.reason] += 1
        if ticket.answer is not Answer.GO or self.is_former(ticket.plan_id):
            return
        rounds, plan_id = self.store.rounds, ticket.plan_id
        places, members = rounds.places(TASK, plan_id), rounds.members(TASK, plan_id)
        decided = rounds.decision(TASK, plan_id, device)
        must(device in places or decided, "a ticket without a place")
        taken = len(places) + len(members)
        must(taken <= self.capacity, "more places than the cohort has")

    def check_receipt(self, device: str, receipt: Words) -> None:
        """What is said of an update is on disk, whatever happens next."""
        assert isinstance(receipt, Receipt)
        verdict = receipt.of or receipt.verdict
        self.world.seen[receipt.verdict, receipt.of, bool(receipt.update_hash)] += 1
        if self.is_former(receipt.plan_id):  # what it speaks of may have been removed meanwhile
            self.world.seen["of a former life"] += 1
            return
        row = self.store.rounds.plan(TASK, receipt.plan_id)
        must(row is not None, "a plan that is not on disk")
        assert row is not None
        if receipt.update_hash:
            found = self.store.rounds.decision(TASK, receipt.plan_id, device)
            must(found, "a verdict that is not on disk")
            assert found is not None
            must(found.update_hash == receipt.update_hash, "a verdict about another update")
            must(found.verdict is verdict, "a verdict that is not on disk")
            self.check_test(receipt.plan_id, device)
        if verdict is Verdict.ACCEPTED and not row.folded:
            self.check_log(receipt.plan_id, device)
        faults = self.world.faults
        must(verdict is not Verdict.REFUSED or faults.jumped, f"refused: {receipt.reason}")

    def check_test(self, plan_id: bytes, device: str) -> None:
        """What is kept of a test is what the update said of it."""
        rows = self.store.rounds.decisions(TASK, plan_id)
        (row,) = [row for row in rows if row.device == device]
        update = self.updates.get(row.update_hash)
        if row.verdict == Verdict.ACCEPTED and update is not None:
            must(row.tested == update.tested, "a test is kept otherwise than it was told")
            self.world.seen["tested"] += update.tested is not None

    def check_log(self, plan_id: bytes, device: str) -> None:
        rows = [row for row in self.store.rounds.members(TASK, plan_id) if row.device == device]
        must(rows, "accepted, but not on disk")
        try:
            self.store.rounds.update(plan_id, rows[0])
        except Damaged as error:
            must(False, f"accepted, but not on disk: {error}")

    # --- the end ---------------------------------------------------------------------------------

    def at_rest(self, member: Member) -> bool:
        """It has nothing to do, and the newest model."""
        process = member.process
        runner = None if process is None else process.service.runners.find(TASK)
        if process is None or runner is None or runner._conductor.busy:
            return False
        if runner.session.begun or runner.session.spool:
            return False
        held = process.store.models.newest(TASK)
        newest = self.store.models.newest(TASK)
        return held is not None and (held.version, held.hash, held.spec, held.drawn) == (
            newest.version, newest.model_hash, newest.spec(self.task.spec), newest.drawn,
        )  # fmt: skip

    def check_end(self) -> None:
        """Each update that was signed has one verdict; each accepted one is in one sum."""
        counted: set[tuple[str, bytes]] = set()
        middles: list[Sizes] = []
        begins = self.store.models.horizon.beginning(TASK)
        oldest = 0 if begins is None else begins.version
        hashes: set[bytes] = set()
        folds = {fold.round: fold for fold in self.store.models.folds(TASK)}
        for plan in self.store.rounds.plans(TASK):
            erased = plan.base_version < oldest
            must(plan.folded, "a round is in no model")
            must((plan.round in folds) != erased, "what is kept of a round, and what is erased")
            rows = self.store.rounds.members(TASK, plan.plan_id)
            must(len(rows) >= self.minimum, "folded with fewer than the minimum")
            asked = {plan.plan_id, *self.names_before(plan.plan_id)}
            for row in rows:
                counted.add((row.device, plan.plan_id))
                must(self.updates[row.update_hash].plan_id in asked, "an update of a former life")
                must(row.update_hash not in hashes, "an update is counted twice")
                hashes.add(row.update_hash)
            if plan.kind is PlanKind.STATISTICS:
                if not erased:
                    self.check_statistics(plan, folds[plan.round], rows)
                continue
            base = Base(self.task.spec.layers, self.base_of(plan.plan_id), plan.target)
            updates = [self.updates[row.update_hash] for row in rows]
            found = [base.read(r.device, u) for r, u in zip(rows, updates, strict=True)]
            sizes = [read.sizes for read in found]
            own = [Sizes(*map(middle, zip(*sizes, strict=True)))] if len(sizes) >= FEWEST else []
            limits = limits_of(middles[-LOOKED_BACK:] or own, self.task.clip_q8)
            middles += own
            must(plan.limits == limits, "limits that do not follow from the rounds before")
            if erased:
                self.world.seen["erased"] += 1
                continue
            total = Sum(base.layers, base.fraction)
            for vector, size in found:
                total.add(vector, min(size.examples, limits.examples), limits.shares(size))
            fold = folds[plan.round]
            must(fold.weight == total.weight, "a sum is not the sum of its members")
            same = hashlib.sha256(sums.to_bytes(total.total)).digest() == fold.sum_hash
            must(same, "a sum is not the sum of its members")
        for member in self.world.members:
            self.check_device(member, counted)

    def check_statistics(self, plan: PlanRow, fold: Fold, rows: list[DecisionRow]) -> None:
        """All devices have the same samples: whatever is limited, their normaliser is the scale."""
        self.world.seen["statistics"] += 1
        each = [wire.unpack(self.updates[row.update_hash].vector) for row in rows]
        total = wire.unpack(self.store.models.sums.get(fold.sum_hash))
        must(len(set(each)) == 1, "devices with the same samples count otherwise")
        must(total.count == fold.weight == len(each) * each[0].count, "a sum is not that of all")
        by_version = {row.version: row for row in self.store.models.rows(TASK)}
        base, made = by_version[plan.base_version], by_version[fold.version]
        must(made.exponents == base.exponents, "statistics changed the weights")
        must(
            made.scale == Normaliser.of(each[0]).to_tuples(), "another scale than the samples have"
        )

    def base_of(self, plan_id: bytes) -> tuple[int, ...]:
        """Exponents of the model that its updates are added to."""
        names = (plan_id, *self.names_before(plan_id))
        return next(self.bases[name] for name in names if name in self.bases)

    def names_before(self, plan_id: bytes) -> Iterator[bytes]:
        """The ids that a plan had before copies of it were put back."""
        while plan_id in self.renamed:
            plan_id = self.renamed[plan_id]
            yield plan_id

    def check_device(self, member: Member, counted: set[tuple[str, bytes]]) -> None:
        process = member.process
        assert process is not None
        endings = {ending.plan_id: ending for ending in process.store.spool.receipts(TASK)}
        for (device, plan_id), update_hash in self.signed.items():
            if device != member.id:
                continue
            must(plan_id in endings, "a finished update without a receipt")
            ending = endings[plan_id]
            if ending.verdict is not None and not self.is_former(plan_id):
                must(ending.update_hash == update_hash, "a receipt of another update")
                accepted = ending.verdict is Verdict.ACCEPTED
                must(((device, plan_id) in counted) == accepted, "a verdict and a sum disagree")


def decoded(kind: Kind, data: bytes) -> Words:
    return payload.decode(kind, envelope.parse(data, kind).payload)
