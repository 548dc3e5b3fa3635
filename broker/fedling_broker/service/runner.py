"""One task at the aggregator: gives its rounds events, executes what they ask for."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fedling_broker.aggregation.limits import Sizes
from fedling_broker.aggregation.reading import Base, Read
from fedling_broker.aggregation.sums import GroupSum
from fedling_broker.rounds import events as ev
from fedling_broker.rounds import machine, state
from fedling_broker.rounds.state import Rounds
from fedling_broker.service.fold import Made, fold
from fedling_broker.service.measure import measure, measured
from fedling_broker.service.plans import asked_of, largest_vector, plan_of, restore, terms_of
from fedling_broker.service.publisher import Publisher, Retained, Wish
from fedling_broker.service.reader import Reader
from fedling_broker.service.running_sum import Lost, RunningSum
from fedling_broker.service.turns import Turns
from fedling_broker.store.models import ModelRow
from fedling_broker.store.rounds import DecisionRow, PlanRow
from fedling_broker.store.shelf import Damaged
from fedling_broker.store.store import Store
from fedling_broker.store.tasks import TaskRow
from fedling_broker.tasks.task_file import Task, parse_task
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadDatabase, Busy, CannotWrite
from fedling_protocol.net.ports import Done
from fedling_protocol.runtime.conductor import Conductor
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.worker import Worker
from fedling_protocol.wire import digest
from fedling_protocol.wire.chunks import Whole
from fedling_protocol.wire.limits import MAX_SMALL, TESTED_SIZE
from fedling_protocol.wire.messages import Chunk, Join, Plan, PlanKind, Rest, Update, Verdict
from fedling_protocol.wire.refused import Reason, Refused

log = logging.getLogger(__name__)

MOST_NAMED = 10  # devices in the log after one round
OF_THE_DISK = (CannotWrite, Busy, BadDatabase)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the runners of an aggregator share."""

    clock: Clock
    disk: Worker
    compute: Worker
    store: Store
    turns: Turns
    publisher: Publisher
    fleet: str
    secret: bytes
    keep_updates: bool  # for audits
    keep_rounds: int  # that can be recomputed, at least; 0: all
    untidy: Callable[[], None]  # told that files lie around which no row speaks of
    refused: Callable[[Exception], None]  # told what the disk refused
    halt: Callable[[str, Exception], None]  # told what went wrong with a task alone

    def name_plan(self, task: str, generation: int, number: int, base: bytes, epoch: int) -> bytes:
        """Name the plan of a round on this base that is opened in an epoch."""
        return digest.plan_id(self.secret, self.fleet, task, number, base, epoch, generation)


class RoundsRunner:
    """The rounds of one task, and their hands. Restored from what is on disk.

    All but close() belongs in a turn.
    """

    def __init__(self, task: Task, row: TaskRow, parts: Parts) -> None:
        self.task = task
        self._ended = False  # by close(); a machine that fails closes itself
        self.folding = False  # files are being made that no row speaks of yet
        self._generation = row.generation
        self._why_paused = row.why_paused if row.paused else None
        self._asked = task if row.asked is None else parse_task(row.asked, f"task {row.name}")
        self._parts = parts
        self._wanted = object()  # changes with each wish of what is to be retained
        self._emptied: set[int] = set()  # versions of which the MQTT broker holds a change at most
        self._sum: RunningSum | None = None  # of the round in work
        self._reader = Reader(parts.compute, self._on_read, self._fail)
        self._conductor: Conductor[Rounds, ev.Event, ev.Action] = Conductor(
            parts.clock,
            restore(task, self._asked, row.paused, parts.store, self._now_ms()),
            machine.step,
            self._perform,
            state.due,
            lambda: parts.turns.run(self.look),
        )
        self._restore_sum()  # last: one that is only half made must not be heard of again

    @property
    def rounds(self) -> Rounds:
        return self._conductor.state

    # --- what the service tells ------------------------------------------------------------------

    def look(self) -> None:
        """Look at the time."""
        self._part(lambda: self._conductor.give(ev.Tick()))

    def connected(self) -> None:
        """What is retained has to be set again: the MQTT broker may have gone back in time."""
        self._emptied.clear()
        self._part(lambda: self._conductor.give(ev.Connected()))

    def join(self, device: str, join: Join, certified: bool) -> None:
        """A verified Join."""
        past = self._past(join.plan_id, device)
        self._conductor.give(ev.JoinSeen(device, join, certified, past, self._here(device, join)))

    def _here(self, device: str, join: Join) -> bytes:
        if join.have is None or not machine.is_awaited(self.rounds, join.plan_id, device):
            return b""
        each = self._parts.publisher.chunk_size
        return self._parts.store.chunks.here(self.task.name, join.plan_id, device, join.have, each)

    def chunk(self, device: str, plan_id: bytes, number: int, chunk: Chunk) -> bytes | None:
        """Keep a verified chunk of an update that may be accepted; the update, if all is here.

        Raises Refused: it is none of an update of this task.
        """
        whole = Whole(chunk.whole, chunk.size, self._parts.publisher.chunk_size)
        if chunk.size > self.largest_update or not whole.fits(chunk, number):
            raise Refused(Reason.SHAPE, "not a chunk of an update of this task")
        if not machine.is_awaited(self.rounds, plan_id, device):
            return None
        return self._parts.store.chunks.add(
            self.task.name, plan_id, device, whole, number, chunk.data
        )

    @property
    def largest_vector(self) -> int:
        """The most bytes that the vector of an update may have, to the open plan or the next."""
        return max(largest_vector(self.task), largest_vector(self._asked))

    @property
    def largest_update(self) -> int:
        """The most bytes that an update may have, likewise."""
        return self.largest_vector + TESTED_SIZE * len(self.task.spec.labels) + MAX_SMALL

    def update(self, device: str, update: Update, message: bytes, update_hash: bytes) -> bool:
        """A verified Update and all its bytes. False: it is not looked at, its device asks again.

        A coded one that may be accepted is read first, beside the loop.
        """
        past = self._past(update.plan_id, device)
        event = ev.UpdateSeen(device, update, message, update_hash, past)
        if self._sum is not None and machine.is_to_be_read(self.rounds, event):
            return self._reader.add(self._sum.base, event)
        self._conductor.give(event)
        return True

    def _on_read(self, event: ev.UpdateSeen) -> None:
        """Decide about it in a turn, and about whatever came in the meantime."""

        def decide() -> None:
            past = self._past(event.update.plan_id, event.device)
            self._part(lambda: self._conductor.give(replace(event, past=past)))
            self._reader.next()

        self._parts.turns.run(decide)

    def gone(self, device: str) -> None:
        """The device was revoked."""
        self._part(lambda: self._conductor.give(ev.DeviceGone(device)))

    def close(self) -> None:
        """No timer and no action any more. What is on disk stays."""
        self._ended = True
        self._conductor.close()
        self._reader.close()
        if self._sum is not None:
            self._sum.close()
        self._wanted = object()

    # --- what goes wrong: with the disk, for all; with anything else, for this task alone ---------

    def _part(self, call: Callable[[], None]) -> None:
        """Make a call that is a part of a turn, and undo it if it fails."""
        try:
            with self._parts.turns.part():
                call()
        except Exception as error:  # noqa: BLE001 (the boundary of a task)
            self._fail(error, in_turn=True)

    def _bounded(self, call: Callable[[], None]) -> None:
        """Make a call that is no part of a turn."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 (the boundary of a task)
            self._fail(error)

    def _fail(self, error: Exception, *, in_turn: bool = False) -> None:
        if isinstance(error, OF_THE_DISK):
            if in_turn:
                raise error
            self._parts.refused(error)
        elif not self._ended:
            self._parts.halt(self.task.name, error)

    def _then(self, answer: Callable[[], None]) -> None:
        self._parts.turns.then(lambda: self._bounded(answer))

    def _next_turn(self, call: Callable[[], None]) -> None:
        """Make it a part of another turn, when this one is on disk."""
        self._then(lambda: self._parts.turns.run(lambda: self._part(call)))

    def _past(self, plan_id: bytes, device: str) -> ev.Past | None:
        """What the database says of a plan that is not open."""
        rounds, name = self._parts.store.rounds, self.task.name
        if plan_id == state.open_plan(self.rounds) or rounds.plan(name, plan_id) is None:
            return None
        return ev.Past(rounds.decision(name, plan_id, device))

    def _now_ms(self) -> int:
        return int(self._parts.clock.now() * 1000)

    # --- rounds, durably: written in the turn that asks for it -----------------------------------

    def _perform(self, action: ev.Action) -> None:
        PERFORM[type(action)](self, action)

    def _open(self, action: ev.OpenRound) -> None:
        parts, name = self._parts, self.task.name
        base = parts.store.models.newest(name)
        epoch = parts.store.ledger.meta("epoch")
        plan_id = parts.name_plan(name, self._generation, action.round, base.model_hash, epoch)
        parts.store.tasks.asks_as_told(name)
        self._asked = self.task
        rounds = parts.store.rounds
        clip, target = self.task.clip_q8, self.task.target
        rounds.open(name, action.round, plan_id, base, clip, self._now_ms(), target)
        plan = rounds.plan(name, plan_id)
        assert plan is not None
        log.info("%s: %s open on model %d", name, plan.words, base.version)
        self._restore_sum()
        self._conductor.give(ev.Opened(plan_id, terms_of(self.task, plan)))

    def _grant(self, action: ev.GrantPlace) -> None:
        name, rounds = self.task.name, self._parts.store.rounds
        rounds.grant(name, action.plan_id, action.device, action.until_ms, action.instead_of)
        rounds.grow(name, action.plan_id, action.at_ms)

    def _store(self, action: ev.StoreUpdate) -> None:
        """On disk when the turn is; in the sum at once, which is lost with a turn that fails.

        Statistics have none: they limit each other, so they are added when all are there.
        """
        name, rounds, update = self.task.name, self._parts.store.rounds, action.update
        extent = rounds.add_update(name, update.plan_id, action.message)
        sizes = Sizes(0, 0, 0) if self._sum is None else self._add(self._sum, action)
        row = DecisionRow(
            action.device,
            Verdict.ACCEPTED,
            "",
            action.update_hash,
            extent.first,
            extent.size,
            update.weight,
            update.saturated,
            sizes.weights,
            sizes.biases,
            update.tested,
        )
        rounds.decide(name, update.plan_id, row)
        rounds.grow(name, update.plan_id, action.at_ms)

    def _add(self, total: RunningSum, action: ev.StoreUpdate) -> Sizes:
        read: Read = action.read or total.base.read(action.device, action.update)
        total.add(read)
        return read.sizes

    def _record(self, action: ev.RecordDecision) -> None:
        decision = action.decision
        row = DecisionRow(
            action.device,
            decision.verdict,
            decision.reason,
            decision.update_hash,
            0,
            action.size,
            0,
            0,
        )
        self._parts.store.rounds.decide(self.task.name, action.plan_id, row)

    def _close(self, action: ev.CloseRound) -> None:
        rounds, name = self._parts.store.rounds, self.task.name
        rounds.close(name, action.plan_id, self.task.clip_q8)
        self._parts.turns.then(lambda: rounds.forget_log(action.plan_id))

    # --- the fold, beside the loop ---------------------------------------------------------------

    def _restore_sum(self) -> None:
        plan = self._parts.store.rounds.unfolded(self.task.name)
        if plan is not None and plan.kind is PlanKind.TRAIN:
            self._begin_sum(plan)

    def _begin_sum(self, plan: PlanRow) -> RunningSum:
        """With the updates that are on disk."""
        parts, rounds, name = self._parts, self._parts.store.rounds, self.task.name
        exponents = parts.store.models.newest(name).exponents
        base = Base(self.task.spec.layers, exponents, plan.target)
        self._sum = RunningSum(base, plan.limits)
        members = rounds.members(name, plan.plan_id)
        self._sum.restore(parts.compute, rounds, plan.plan_id, members, self._fail)
        return self._sum

    def _fold(self, action: ev.FoldRound) -> None:
        parts, task = self._parts, self.task
        plan = parts.store.rounds.plan(task.name, action.plan_id)
        assert plan is not None
        self.folding = True
        if plan.kind is PlanKind.STATISTICS:
            self._next_turn(lambda: self._measure(plan))  # when all of them are on disk
        elif self._sum is None or self._sum.limits is None:  # known now, when all of it is on disk
            self._next_turn(lambda: self._add_up_and_make(plan))
        else:
            self._make(plan, self._sum)

    def _add_up_and_make(self, plan: PlanRow) -> None:
        if not self._conductor.closed:
            self._make(plan, self._begin_sum(plan))

    def _make(self, plan: PlanRow, of: RunningSum) -> None:
        """Make the files of the next model as soon as the sum is whole."""
        task, models = self.task, self._parts.store.models
        before, base = models.newest_state(task.name), models.newest(task.name)
        assert of.limits is not None
        steps = of.limits.steps

        def make(total: GroupSum) -> None:
            if not total.weight:
                log = self._parts.store.rounds.log(plan.plan_id)
                self._fail(Damaged(f"{log}: none of its {len(of.lost)} updates is whole"))
                return
            self._compute(
                plan, before, lambda: fold(models, task, base, before, total, steps), of.lost
            )

        of.when_whole(make)

    def _measure(self, plan: PlanRow) -> None:
        """Make the files of the model that knows the scale."""
        if self._conductor.closed:
            return
        task, models, rounds = self.task, self._parts.store.models, self._parts.store.rounds
        before, base = models.newest_state(task.name), models.newest(task.name)
        members = rounds.members(task.name, plan.plan_id)
        lost: list[Lost] = []
        limited = task.clip_q8 > 0
        self._compute(
            plan,
            before,
            lambda: measure(
                models,
                task.spec,
                base,
                before,
                measured(rounds, plan.plan_id, members, lost),
                limited=limited,
            ),
            lost,
        )

    def _compute(
        self, plan: PlanRow, before: bytes, make: Callable[[], Made], lost: Sequence[Lost] = ()
    ) -> None:
        """Beside the loop. lost: updates that nothing can be made of"""
        self._parts.compute.do(
            make, lambda made: self._on_folded(plan, before, made, lost), self._fail
        )

    def _on_folded(self, plan: PlanRow, before: bytes, made: Made, lost: Sequence[Lost]) -> None:
        """The files are on disk."""
        if not self._conductor.closed:
            enter = partial(self._enter, plan, before, made, lost)
            self._parts.turns.run(lambda: self._part(enter))

    def _enter(self, plan: PlanRow, before: bytes, made: Made, lost: Sequence[Lost]) -> None:
        """Journal, model and plan in one turn, then the updates and the old state are erased."""
        parts, task, model = self._parts, self.task, made.model
        if self._conductor.closed:
            return
        self._name_who_is_far_off(plan)
        self._name_what_is_lost(plan, lost)
        entry, models = made.entry(plan.round), parts.store.models
        self._name_who_was_measured_far_off(entry.far)
        models.enter(task.name, entry, model)
        if models.horizon.move(task.name, model.version, made.state_hash, parts.keep_rounds):
            parts.untidy()
        parts.store.rounds.end(task.name, plan.plan_id, keep=parts.keep_updates)
        self.folding = False
        log.info("%s: %s made model %d", task.name, plan.words, model.version)
        self._sum = None
        self._conductor.give(ev.Folded(plan.plan_id))
        self._then(lambda: self._erase(plan, before))  # the next model is sealed before it

    def _name_who_is_far_off(self, plan: PlanRow) -> None:
        for device in self._parts.store.rounds.far_again(self.task.name, plan)[:MOST_NAMED]:
            log.warning(
                "%s: the updates of device %s are far longer than others' again and again; what is "
                "left of them counts. See: fedling-broker round show %s %d",
                self.task.name, device, self.task.name, plan.round,
            )  # fmt: skip

    def _name_what_is_lost(self, plan: PlanRow, lost: Sequence[Lost]) -> None:
        """It stays accepted, which is what its device was told; the sum is without it."""
        name = self.task.name
        self._parts.store.rounds.lose(name, plan.plan_id, [update.device for update in lost])
        for update in lost[:MOST_NAMED]:
            log.error(
                "%s: round %d goes on without the update of %s: %s",
                name, plan.round, update.device, update.why,
            )  # fmt: skip

    def _name_who_was_measured_far_off(self, devices: list[str]) -> None:
        for device in devices[:MOST_NAMED]:
            log.warning(
                "%s: the samples of device %s lie far further off than others' on some channel, and"
                " count as nearer; if its sensor differs, the task wants normalise = \"device\"",
                self.task.name, device,
            )  # fmt: skip

    def _erase(self, plan: PlanRow, before: bytes) -> None:
        """The state waits for the transaction of a turn; the disk, which commits it, must not."""
        parts, store = self._parts, self._parts.store
        if not parts.keep_updates:
            parts.disk.do(
                lambda: store.rounds.erase_log(plan.plan_id), lambda _: None, parts.refused
            )
        parts.compute.do(
            lambda: store.models.erase_state(before), lambda _: None, self._on_not_erased
        )

    def _on_not_erased(self, error: Exception) -> None:
        """What stays because others write is erased with what else no row speaks of."""
        if isinstance(error, Busy):
            self._parts.untidy()
        else:
            self._parts.refused(error)

    # --- words: said when the turn is on disk ----------------------------------------------------

    def _ticket(self, action: ev.SendTicket) -> None:
        say = self._parts.publisher.ticket
        self._then(partial(say, self.task.name, action.device, action.ticket))

    def _receipt(self, action: ev.SendReceipt) -> None:
        say = self._parts.publisher.receipt
        self._then(partial(say, self.task.name, action.device, action.receipt))

    def _publish_plan(self, action: ev.PublishPlan) -> None:
        row = self._parts.store.rounds.plan(self.task.name, action.plan_id)
        assert row is not None
        asked = asked_of(self.task, self._asked)
        self._retain(lambda model, sizes: plan_of(asked, row, model, sizes, self._generation))

    def _publish_rest(self, action: ev.PublishRest) -> None:
        spec, look_again_s, generation = self.task.spec, action.look_again_s, self._generation

        def rest(model: ModelRow, sizes: Retained) -> Rest:
            return Rest(
                model.version,
                model.model_hash,
                model.spec(spec),
                sizes.size,
                look_again_s,
                generation=generation,
                change_size=sizes.change,
                chunked=sizes.cut(0),
                recent=sizes.recent,
                paused=self._why_paused,
            )

        self._retain(rest)

    def _retain(self, make: Callable[[ModelRow, Retained], Plan | Rest]) -> None:
        """The newest model first; then what stands on it; then other models are emptied.

        So the plan's topic is never empty, and never speaks of a model that is not there.
        """
        parts, spec, models = self._parts, self.task.spec, self._parts.store.models
        model = models.newest(spec.task)
        others = [v for v in models.retained(spec.task) if v != model.version]
        wish = self._wanted = object()

        def wanted() -> bool:
            return wish is self._wanted

        def say(sizes: Retained) -> None:
            parts.publisher.plan(spec.task, make(model, sizes))
            for version in others:
                self._empty(version, sizes)

        def begin() -> None:
            if wanted():
                note = partial(self._note_chunks, model.version)
                wish = Wish(wanted, note, say, self._fail)
                parts.publisher.model(models, spec, model, wish)

        self._then(begin)

    def _note_chunks(self, version: int, count: int, done: Done) -> None:
        models, name = self._parts.store.models, self.task.name

        def note() -> None:
            models.note_chunks(name, version, count)
            self._then(done)

        self._parts.turns.run(lambda: self._part(note))

    def _empty(self, version: int, newest: Retained) -> None:
        """Empty a model, and its change, unless that leads to the newest from what devices hold."""
        parts, name = self._parts, self.task.name

        def gone() -> None:
            self._emptied.discard(version)
            parts.turns.run(lambda: parts.store.models.not_retained(name, version))

        chunks, publisher = parts.store.models.chunks(name, version), parts.publisher
        if newest.has_change(version):
            if version not in self._emptied:
                publisher.no_model(name, version, chunks, partial(self._emptied.add, version))
        elif version in self._emptied:
            publisher.no_change(name, version, gone)
        else:
            publisher.no_change(name, version)
            publisher.no_model(name, version, chunks, gone)


PERFORM: dict[type[ev.Action], Callable[[RoundsRunner, Any], None]] = {
    ev.OpenRound: RoundsRunner._open,
    ev.PublishPlan: RoundsRunner._publish_plan,
    ev.PublishRest: RoundsRunner._publish_rest,
    ev.GrantPlace: RoundsRunner._grant,
    ev.SendTicket: RoundsRunner._ticket,
    ev.StoreUpdate: RoundsRunner._store,
    ev.RecordDecision: RoundsRunner._record,
    ev.SendReceipt: RoundsRunner._receipt,
    ev.CloseRound: RoundsRunner._close,
    ev.FoldRound: RoundsRunner._fold,
}
