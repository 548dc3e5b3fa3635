"""One task at the aggregator: gives its rounds events, executes what they ask for."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from fedling_broker.rounds import events as ev
from fedling_broker.rounds import machine, state
from fedling_broker.service import fold
from fedling_broker.store.store import DecisionRow, ModelRow, PlanRow, Store, boot_ms
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
    Receipt,
    Rest,
    Ticket,
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
        self._update: tuple[bytes, Update] | None = None  # the one that an event is about
        self._sealed: tuple[int, bytes] | None = None  # the newest Model message

    # --- what the service tells ------------------------------------------------------------------

    def begin(self) -> None:
        self.give(ev.Tick())
        if self._tools.link.connected:
            self.give(ev.Connected())

    def join(self, device: str, join: Join, certified: bool) -> None:
        """A verified Join."""
        store, plan_id = self._tools.store, join.plan_id
        known = store.decision(self.task.name, plan_id, device)
        known_plan = store.plan(self.task.name, plan_id) is not None
        self.give(ev.JoinSeen(device, certified, plan_id, join.nonce, join.have, known_plan, known))

    def update(self, device: str, update: Update, message: bytes) -> None:
        """A verified Update and all its bytes."""
        plan_id = update.plan_id
        plan = self._tools.store.plan(self.task.name, plan_id)
        known = self._tools.store.decision(self.task.name, plan_id, device)
        misfit = "" if plan is None else self._misfit(plan, update)
        self._update = message, update
        update_hash = digest.message_hash(message)
        self.give(ev.UpdateSeen(device, plan_id, update_hash, misfit, plan is not None, known))
        self._update = None

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

    def _misfit(self, plan: PlanRow, update: Update) -> str:
        """What of the update is not as the plan asked; empty: nothing."""
        if (update.base_version, update.base_hash) != (plan.base_version, plan.base_hash):
            return "base"
        if update.codec != Codec.RAW_INT16:
            return "codec"
        if update.weight > self.task.training.weight_cap:
            return "weight"
        if len(update.vector) != weights_size(self.task.spec.layers):
            return "shape"
        return ""

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
        self._events.append(ev.Opened(action.round, plan_id))

    def _grant(self, action: ev.GrantPlace) -> None:
        name, store = self.task.name, self._tools.store
        with store.database.transaction("a place"):
            store.grant(name, action.plan_id, action.device, action.until_ms, action.instead_of)
            store.grown(name, action.plan_id, action.at_ms)

    def _store(self, action: ev.StoreUpdate) -> None:
        assert self._update is not None
        message, update = self._update
        store = self._tools.store
        store.updates.put(message, action.update_hash)
        row = DecisionRow(
            action.device,
            Verdict.ACCEPTED,
            "",
            action.update_hash,
            len(message),
            update.weight,
            update.saturated,
        )
        with store.database.transaction("a verdict"):
            store.decide(self.task.name, action.plan_id, row)
            store.grown(self.task.name, action.plan_id, action.at_ms)

    def _record(self, action: ev.RecordDecision) -> None:
        decision = action.decision
        size = 0 if self._update is None else len(self._update[0])
        row = DecisionRow(
            action.device, decision.verdict, decision.reason, decision.update_hash, size, 0, 0
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
        ticket = Ticket(action.plan_id, action.nonce, action.answer, action.seconds, action.reason)
        self._send(self._tools.topics.of(Kind.TICKET, self.task.name, action.device), ticket)

    def _receipt(self, action: ev.SendReceipt) -> None:
        receipt = Receipt(
            action.plan_id, action.update_hash, action.verdict, action.reason, action.of
        )
        self._send(self._tools.topics.of(Kind.RECEIPT, self.task.name, action.device), receipt)

    def _publish_plan(self, action: ev.PublishPlan) -> None:
        row = self._tools.store.plan(self.task.name, action.plan_id)
        assert row is not None
        model = self._newest()
        task = self.task
        plan = Plan(
            row.plan_id, row.round, row.base_version, row.base_hash, task.spec, task.training,
            task.conditions, 0, Codec.RAW_INT16, task.cohort, self._publish_model(model),
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


def restore(task: Task, paused: bool, store: Store) -> state.Rounds:
    """The rounds after a start. A paused task ends the round in work and opens no other."""
    done, plan = store.done(task.name), store.on_disk(task.name)
    if not paused:
        return state.restore(task.rules, done, plan, boot_ms())
    if plan is None:
        return state.Rounds(task.rules, done, state.Over())
    return state.restore(replace(task.rules, rounds=done + 1), done, plan, boot_ms())
