"""One task at the aggregator: gives its rounds events, executes what they ask for."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from fedling_broker.rounds import events as ev
from fedling_broker.rounds import machine, state
from fedling_broker.rounds.terms import Terms
from fedling_broker.service import fold
from fedling_broker.store.store import DecisionRow, ModelRow, Store, boot_ms
from fedling_broker.tasks.task_file import Task
from fedling_native import weights_size
from fedling_protocol.net.ports import Link
from fedling_protocol.runtime.loop import Loop, Timer
from fedling_protocol.wire import digest, envelope
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    Join,
    Message,
    Model,
    Plan,
    Rest,
    Update,
    Verdict,
)
from fedling_protocol.wire.topics import Topics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """What the tasks of an aggregator share."""

    loop: Loop
    store: Store
    topics: Topics
    key: SigningKey  # the online key
    secret: bytes
    link: Link
    keep_updates: bool  # for audits
    guard: Callable[[Callable[[], None]], bool]  # False: the disk refused; all works are made anew


class Work:
    """The rounds of one task, and their hands."""

    def __init__(self, task: Task, paused: bool, tools: Tools) -> None:
        """Restored from what is on disk; `begin` starts it."""
        self.task = task
        self._tools = tools
        self.rounds = restore(task, paused, tools.store)
        self.closed = False
        self._events: deque[ev.Event] = deque()
        self._busy = False
        self._timer: Timer | None = None
        self._sealed: tuple[int, bytes] | None = None  # the newest Model message

    # --- what the service tells ------------------------------------------------------------------

    def begin(self) -> None:
        self.give(ev.Tick())
        if self._tools.link.connected:
            self.give(ev.Connected())

    def join(self, device: str, join: Join, certified: bool) -> None:
        """A verified Join."""
        self.give(ev.JoinSeen(device, join, certified, self._past(join.plan_id, device)))

    def update(self, device: str, update: Update, message: bytes) -> None:
        """A verified Update and all its bytes."""
        update_hash, past = digest.message_hash(message), self._past(update.plan_id, device)
        self.give(ev.UpdateSeen(device, update, message, update_hash, past))

    def _past(self, plan_id: bytes, device: str) -> ev.Past | None:
        """What the database says of a plan that is not open."""
        store, task = self._tools.store, self.task.name
        if plan_id == state.open_plan(self.rounds) or store.plan(task, plan_id) is None:
            return None
        return ev.Past(store.decision(task, plan_id, device))

    def give(self, event: ev.Event) -> None:
        """Step the rounds, execute their actions, and what follows from them."""
        self._events.append(event)
        if self._busy or self.closed:
            return
        self._busy = True
        try:
            self._tools.guard(self._run)
        finally:
            self._busy = False
        self._set_timer()

    def close(self) -> None:
        """No timer and no action any more. What is on disk stays."""
        self.closed = True
        self._events.clear()
        if self._timer is not None:
            self._timer.cancel()

    def withdraw(self) -> None:
        """The task is no more: take its model back. Who still asks is told that."""
        if self._sealed is not None:
            topic = self._tools.topics.of(Kind.MODEL, self.task.name, self._sealed[0])
            self._tools.link.publish(topic, b"", retain=True)

    # --- the machine -----------------------------------------------------------------------------

    def _run(self) -> None:
        if not self._tools.store.has_task(self.task.name):  # removed a moment ago by its verb
            self.close()
        while self._events and not self.closed:
            self.rounds, actions = machine.step(self.rounds, self._events.popleft(), boot_ms())
            for action in actions:
                self._do(action)

    def _do(self, action: ev.Action) -> None:
        match action:
            case ev.OpenRound():
                self._open(action)
            case ev.GrantPlace():
                self._grant(action)
            case ev.StoreUpdate():
                self._store(action)
            case ev.RecordDecision():
                self._record(action)
            case ev.CloseRound():
                self._tools.store.close_round(self.task.name, action.plan_id)
            case ev.FoldRound():
                self._fold(action)
            case ev.SendTicket():
                self._ticket(action)
            case ev.SendReceipt():
                self._receipt(action)
            case ev.PublishPlan():
                self._publish_plan(action)
            case ev.PublishRest():
                self._publish_rest(action)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = None if self.closed else state.due(self.rounds)
        if due is not None:
            self._timer = self._tools.loop.at(due / 1000, lambda: self.give(ev.Tick()))

    # --- rounds, durably -------------------------------------------------------------------------

    def _open(self, action: ev.OpenRound) -> None:
        store, tools = self._tools.store, self._tools
        base = store.newest(self.task.name)
        epoch = store.ledger.meta("restore_epoch")
        plan_id = digest.plan_id(
            tools.secret,
            tools.topics.fleet,
            self.task.name,
            action.round,
            base.model_hash,
            epoch,
        )
        store.open_round(self.task.name, action.round, plan_id, base)
        log.info("%s: round %d open on model %d", self.task.name, action.round, base.version)
        self._events.append(ev.Opened(plan_id, terms_of(self.task, base.version, base.model_hash)))

    def _grant(self, action: ev.GrantPlace) -> None:
        name, store = self.task.name, self._tools.store
        with store.database.transaction("a place"):
            store.grant(name, action.plan_id, action.device, action.until_ms, action.instead_of)
            store.grown(name, action.plan_id, action.at_ms)

    def _store(self, action: ev.StoreUpdate) -> None:
        store, update = self._tools.store, action.update
        store.updates.put(action.message, action.update_hash)
        row = DecisionRow(
            action.device,
            Verdict.ACCEPTED,
            "",
            action.update_hash,
            len(action.message),
            update.weight,
            update.saturated,
        )
        with store.database.transaction("a verdict"):
            store.decide(self.task.name, update.plan_id, row)
            store.grown(self.task.name, update.plan_id, action.at_ms)

    def _record(self, action: ev.RecordDecision) -> None:
        decision = action.decision
        row = DecisionRow(
            action.device,
            decision.verdict,
            decision.reason,
            decision.update_hash,
            action.size,
            0,
            0,
        )
        self._tools.store.decide(self.task.name, action.plan_id, row)

    def _fold(self, action: ev.FoldRound) -> None:
        store = self._tools.store
        plan = store.plan(self.task.name, action.plan_id)
        assert plan is not None
        if not plan.folded:
            fold.fold(store, self.task, plan, keep=self._tools.keep_updates)
            log.info(
                "%s: round %d made model %d", self.task.name, plan.round, plan.base_version + 1
            )
        self._events.append(ev.Folded(action.plan_id))

    # --- words -----------------------------------------------------------------------------------

    def _ticket(self, action: ev.SendTicket) -> None:
        topic = self._tools.topics.of(Kind.TICKET, self.task.name, action.device)
        self._send(topic, action.ticket)

    def _receipt(self, action: ev.SendReceipt) -> None:
        topic = self._tools.topics.of(Kind.RECEIPT, self.task.name, action.device)
        self._send(topic, action.receipt)

    def _publish_plan(self, action: ev.PublishPlan) -> None:
        row = self._tools.store.plan(self.task.name, action.plan_id)
        assert row is not None
        model = self._newest()
        task = self.task
        plan = Plan(
            row.plan_id, row.round, row.base_version, row.base_hash, task.spec, task.training,
            task.conditions, 0, Codec.RAW_INT16, task.cohort, self._publish_model(model),
            task.spread_s,
        )  # fmt: skip
        self._retain(plan, model)

    def _publish_rest(self, action: ev.PublishRest) -> None:
        model = self._newest()
        size = self._publish_model(model)
        rest = Rest(model.version, model.model_hash, self.task.spec, size, action.look_again_s)
        self._retain(rest, model)

    def _retain(self, message: Plan | Rest, model: ModelRow) -> None:
        """The plan's topic is never empty: it is set before the models before it are emptied."""
        self._send(
            self._tools.topics.of(Kind.PLAN, self.task.name, Plan.kind), message, retain=True
        )
        for version in self._tools.store.retained_models(self.task.name):
            if version != model.version:
                self._empty(version)

    def _empty(self, version: int) -> None:
        def gone() -> None:
            store = self._tools.store
            self._tools.guard(lambda: store.not_retained(self.task.name, version))

        topic = self._tools.topics.of(Kind.MODEL, self.task.name, version)
        self._tools.link.publish(topic, b"", retain=True, done=gone)

    def _newest(self) -> ModelRow:
        return self._tools.store.newest(self.task.name)

    def _publish_model(self, row: ModelRow) -> int:
        """Bytes of the Model message."""
        topic = self._tools.topics.of(Kind.MODEL, self.task.name, row.version)
        if self._sealed is None or self._sealed[0] != row.version:
            weights = self._tools.store.weights(row, self.task.spec)
            model = Model(row.version, self.task.spec, row.exponents, weights)
            sealed = envelope.seal(model, self._tools.topics.bound(topic), self._tools.key)
            self._sealed = row.version, sealed
        self._tools.link.publish(topic, self._sealed[1], retain=True)
        return len(self._sealed[1])

    def _send(self, topic: str, message: Message, *, retain: bool = False) -> None:
        if self._tools.link.connected:
            sealed = envelope.seal(message, self._tools.topics.bound(topic), self._tools.key)
            self._tools.link.publish(topic, sealed, retain=retain)


def terms_of(task: Task, base_version: int, base_hash: bytes) -> Terms:
    """What a plan of this task on this model asks of an update."""
    return Terms(
        base_version,
        base_hash,
        Codec.RAW_INT16,
        task.training.weight_cap,
        weights_size(task.spec.layers),
    )


def on_disk(task: Task, store: Store) -> state.OnDisk | None:
    """The plan that is not folded, as the rounds are restored from it."""
    plan = store.unfolded(task.name)
    if plan is None:
        return None
    rows = store.decisions(task.name, plan.plan_id)
    return state.OnDisk(
        plan.plan_id,
        terms_of(task, plan.base_version, plan.base_hash),
        plan.closed,
        plan.age_now_ms(),
        store.places(task.name, plan.plan_id),
        {row.device: row.decision for row in rows},
    )


def restore(task: Task, paused: bool, store: Store) -> state.Rounds:
    """The rounds after a start. A paused task ends the round in work and opens no other."""
    done, plan = store.done(task.name), on_disk(task, store)
    if not paused:
        return state.restore(task.rules, done, plan, boot_ms())
    if plan is None:
        return state.Rounds(task.rules, done, state.Over())
    return state.restore(replace(task.rules, rounds=done + 1), done, plan, boot_ms())
