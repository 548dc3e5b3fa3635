"""One task on this device: gives its session events, executes what the session asks for."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedling_agent.conditions.condition import Readings
from fedling_agent.conditions.decision import Allowance
from fedling_agent.conditions.gate import Gate
from fedling_agent.conditions.policy import Policy
from fedling_agent.conditions.watcher import Watcher
from fedling_agent.data.counting import Counter
from fedling_agent.data.recording import Changes
from fedling_agent.data.streams import Stream
from fedling_agent.service.outbox import Outbox
from fedling_agent.session import events as ev
from fedling_agent.session import machine, state
from fedling_agent.session.state import Spooled, Timing
from fedling_agent.store.identity import Identity
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import Freezer
from fedling_agent.training.job import Job, Result
from fedling_agent.training.slot import Slot
from fedling_protocol.disk.errors import BadInput, CannotWrite, Missing
from fedling_protocol.net.ports import Link
from fedling_protocol.runtime.loop import Loop, Timer
from fedling_protocol.runtime.slices import finish
from fedling_protocol.wire import codecs, digest, envelope
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_REASON
from fedling_protocol.wire.messages import Conditions, Join, Model, Plan, Rest, TaskSpec, Update
from fedling_protocol.wire.topics import Topics

log = logging.getLogger(__name__)

TRANSFER_CHECK_S = 1.0  # conditions are looked at so often while large bytes may be on their way


@dataclass(frozen=True, slots=True)
class Tools:
    """What the tasks of a device share."""

    loop: Loop
    store: Store
    freezer: Freezer
    topics: Topics
    identity: Identity
    link: Link
    outbox: Outbox
    slot: Slot
    watcher: Watcher
    policy: Policy
    timing: Timing
    dice: Callable[[int], bytes]  # os.urandom
    cannot_write: Callable[[CannotWrite], None]  # every Work is made anew, later
    restart: Callable[["Work"], None]  # make this one anew, from what is on disk
    changed: Callable[[], None]  # something to tell about may have changed


class Work:
    """The session of one task, and its hands."""

    def __init__(self, task: str, tools: Tools) -> None:
        """Restored from what is on disk."""
        self.task = task
        self._tools = tools
        store = tools.store
        frozen = [r.plan for r in store.plans.in_work(task) if r.update_hash is None]
        spool = tuple(Spooled(e.plan_id, e.update_hash) for e in store.spool.entries(task))
        plan = frozen[0] if frozen else None
        self.session = state.restore(tools.timing, tools.dice(32), plan, spool)
        self.plan = plan  # the last one seen
        self.allowance: Allowance | None = None
        self.looked_at = 0.0
        self.failure = ""  # the last training that failed
        self._gate = Gate(tools.policy, tools.watcher, self._asked)
        self._counter = None if plan is None else self._new_counter(plan)
        self._events: deque[ev.Event] = deque()
        self._busy = False
        self._looking = False  # a reading was asked for; the events wait for it
        self._tick: Timer | None = None
        self._check: Timer | None = None
        self.closed = False

    # --- what the service tells ------------------------------------------------------------------

    def give(self, event: ev.Event) -> None:
        """Step the session, execute its actions, and what follows from them.

        What the session decides depends on conditions as they are now: if the last reading is too
        old, that comes first.
        """
        self._events.append(event)
        if self._busy or self._looking or self.closed:
            return
        if self._gate.fresh:
            self._go_on()
        else:
            self._looking = True
            self._gate.refresh(self._looked)

    def _looked(self, _allowance: Allowance, _readings: Readings) -> None:
        self._looking = False
        if not self.closed:
            self._go_on()

    def _go_on(self) -> None:
        self._busy = True
        try:
            while self._events and not self.closed:
                self._step_allowed()
                self._step(self._events.popleft())
        except CannotWrite as error:
            self._tools.cannot_write(error)
        finally:
            self._busy = False
        if not self.closed:
            self._set_timers()
        self._tools.changed()

    def see(self, message: Plan | Rest) -> None:
        """What stands where the plans of this task are."""
        store = self._tools.store
        if isinstance(message, Rest):
            held = store.models.find(message.model_hash) is not None
            self.give(ev.RestSeen(message, held))
            return
        if self.plan is None or self.plan.plan_id != message.plan_id:
            self.plan, self._counter = message, self._new_counter(message)
        held = store.models.find(message.base_hash) is not None
        self.give(ev.PlanSeen(message, store.plans.is_finished(message.plan_id), held))

    def model(self, model: Model, version: int) -> bool:
        """A verified message on model/<version>. False: not the one that was asked for."""
        fetch = self.session.fetch
        spec = model.spec
        if fetch is None or fetch.due_ms is None or not version == fetch.version == model.version:
            return False
        if digest.model_hash(spec, model.exponents, model.weights) != fetch.model_hash:
            return False
        self._tools.link.unsubscribe([self._tools.topics.of(Kind.MODEL, self.task, version)])
        try:
            self._tools.store.models.put(model)
        except CannotWrite as error:
            self._tools.cannot_write(error)
            return True
        self.give(ev.ModelStored(version, fetch.model_hash))
        return True

    def examples_changed(self, changes: Changes) -> None:
        """Something was ingested."""
        if self._counter is not None:
            self._counter.changed(changes)

    def look(self) -> None:
        """Look at the conditions; the session hears of it if it matters."""
        self.give(ev.Tick())

    def close(self) -> None:
        """No timer and no action any more. What is on disk stays."""
        self.closed = True
        for timer in (self._tick, self._check):
            if timer is not None:
                timer.cancel()

    # --- the session -----------------------------------------------------------------------------

    def _step(self, event: ev.Event) -> None:
        self.session, actions = machine.step(
            self.session, event, int(self._tools.loop.now() * 1000)
        )
        for action in actions:
            log.debug("%s: %s", self.task, type(action).__name__)
            PERFORM[type(action)](self, action)

    def _step_allowed(self) -> None:
        """Tell the session what is allowed now, if that has changed."""
        self.allowance = self._gate.look()
        self.looked_at = self._tools.loop.now()
        s = self.session
        now_allowed = (self.allowance.train, self.allowance.transfer, self._count())
        if now_allowed != (s.train, s.transfer, s.enough):
            self._step(ev.Allowed(*now_allowed))

    def _count(self) -> bool:
        """Whether there are enough examples for the last plan; counted when one needs to know."""
        if self._counter is None or self.session.begun is not None:
            return self.session.enough
        return finish(self._counter.count())

    def _new_counter(self, plan: Plan) -> Counter:
        secret, source = self._tools.identity.secret, self._tools.store.recordings
        return Counter(source, plan.spec, plan.training, secret)

    def _asked(self) -> Conditions | None:
        plan = self.session.begun or self.plan
        return None if plan is None else plan.conditions

    def _set_timers(self) -> None:
        due_ms = state.due(self.session)
        if self._tick is not None:
            self._tick.cancel()
        self._tick = None
        if due_ms is not None:
            self._tick = self._tools.loop.at(due_ms / 1000, lambda: self.give(ev.Tick()))
        if self._check is not None:
            self._check.cancel()
        self._check = None
        check_s = self.next_check_s
        if check_s is not None:
            self._check = self._tools.loop.after(check_s, self.look)

    @property
    def next_check_s(self) -> float | None:
        """When the conditions are looked at again; None: nothing depends on them now."""
        s = self.session
        if self.allowance is None or not (s.offer or s.begun or s.spool or s.fetch):
            return None
        fetching = s.fetch is not None and s.fetch.due_ms is not None
        moving = fetching or isinstance(s.phase, state.Sending)
        return min(self.allowance.next_check_s, TRANSFER_CHECK_S if moving else float("inf"))

    # --- what the training slot asks and tells ---------------------------------------------------

    def lease(self, grant: Callable[[float], None]) -> None:
        """From a reading made from now on: it is what the next batch depends on."""

        def answer(allowance: Allowance, readings: Readings) -> None:
            if allowance.train and not self.closed:
                grant(readings.good_until - self._tools.loop.now())
            else:
                self.look()

        self._gate.refresh(answer)

    def trained(self, job: Job) -> None:
        """Sign the update and spool it."""
        try:
            self._spool(job)
        except CannotWrite as error:
            self._tools.cannot_write(error)

    def training_failed(self, plan_id: bytes, reason: str) -> None:
        log.error("%s: training failed: %s", self.task, reason)
        self.failure = reason
        self.give(ev.TrainingFailed(plan_id, printable(reason)))

    def disk_refused(self, reason: str) -> None:
        self._tools.cannot_write(CannotWrite("the update", reason))

    # --- actions ---------------------------------------------------------------------------------

    def _send_join(self, action: ev.SendJoin) -> None:
        outbox = self._tools.outbox
        key = self._tools.identity.key.public if outbox.with_key else None
        words = "what became of its update of" if action.have else "to take part in"
        join = Join(action.plan_id, action.nonce, action.have, key)
        outbox.join(self.task, join, f"asks {words} {self._round(action.plan_id)}")

    def _ask_plan(self, _action: ev.AskPlan) -> None:
        self._tools.outbox.ask_plans()

    def _fetch_model(self, action: ev.FetchModel) -> None:
        if self._tools.store.models.find(action.model_hash) is not None:
            self._events.append(ev.ModelStored(action.version, action.model_hash))
        else:
            self._tools.link.subscribe(
                [self._tools.topics.of(Kind.MODEL, self.task, action.version)]
            )

    def _cancel_fetch(self, action: ev.CancelFetch) -> None:
        self._tools.link.unsubscribe([self._tools.topics.of(Kind.MODEL, self.task, action.version)])
        if self._tools.link.receiving:
            self._tools.link.reconnect("a model is not wanted any more")

    def _start_training(self, action: ev.StartTraining) -> None:
        plan = action.plan
        try:
            job = finish(self._tools.freezer.freeze(plan))()
        except (Missing, BadInput) as error:
            self.training_failed(plan.plan_id, str(error))
            return
        if job.result() is not None:
            self._spool(job)
        else:
            self._tools.slot.start(job, self)

    def _pause_training(self, action: ev.PauseTraining) -> None:
        self._tools.slot.pause(action.plan_id)

    def _send_update(self, action: ev.SendUpdate) -> None:
        spool = self._tools.store.spool
        entry = next(e for e in spool.entries(self.task) if e.plan_id == action.plan_id)
        try:
            data = spool.envelope(entry)
        except Missing as error:
            log.error("%s: %s", self.task, error)
            self._end(ev.PlanOver(action.plan_id, action.update_hash, None, "its file is damaged"))
            self._tools.restart(self)
            return

        def sent() -> None:
            self.give(ev.UpdateSent(action.plan_id))

        meaning = f"the update of {self._round(action.plan_id)}"
        self._tools.outbox.update(self.task, action.plan_id, data, meaning, sent)

    def _cancel_update(self, _action: ev.CancelUpdate) -> None:
        if self._tools.link.sending:
            self._tools.link.reconnect("an update must not be sent now")

    def _end(self, action: ev.PlanOver) -> None:
        self._tools.slot.cancel(action.plan_id)
        self._tools.store.spool.end(
            self.task,
            action.plan_id,
            action.update_hash,
            action.verdict,
            action.reason,
            int(time.time() * 1000),
        )
        log.info("%s: %s: %s", self._round(action.plan_id), action.verdict, action.reason)
        self._tools.outbox.close_books()
        self._tools.outbox.about(None)

    def _spool(self, job: Job) -> None:
        tools, result = self._tools, job.result()
        record = tools.store.plans.find(job.plan_id)
        if record is None or result is None or self.closed:
            return
        plan = record.plan
        update = update_of(plan, result)
        topic = tools.topics.of(Kind.UPDATE, self.task, tools.identity.device, plan.plan_id, 0)
        data = envelope.seal(update, tools.topics.bound(topic), tools.identity.key)
        entry = tools.store.spool.put(plan.plan_id, data, result.vector)
        self.give(ev.UpdateSpooled(plan.plan_id, entry.update_hash))

    def _round(self, plan_id: bytes) -> str:
        """For people: a round is known as long as its plan is."""
        known = [p for p in (self.session.begun, self.plan) if p and p.plan_id == plan_id]
        if not known:
            record = self._tools.store.plans.find(plan_id)
            known = [] if record is None else [record.plan]
        return f"round {known[0].round} of {self.task}" if known else f"a round of {self.task}"


def update_of(plan: Plan, result: Result) -> Update:
    """What a finished training says to the aggregator."""
    return Update(
        plan.plan_id,
        plan.base_version,
        plan.base_hash,
        min(result.examples, plan.training.weight_cap),
        plan.codec,
        codecs.encode(plan.codec, result.vector),
        result.saturated,
        1,
    )


def why_not(spec: TaskSpec, streams: dict[str, Stream]) -> str:
    """Why this device cannot take part in a task; empty if it can."""
    stream = streams.get(spec.stream)
    if stream is None:
        return f'agent.toml names no stream "{spec.stream}"'
    if len(stream.channels) != spec.channels:
        return f"its stream has {len(stream.channels)} channels, the task wants {spec.channels}"
    return ""


def printable(text: str) -> str:
    """As a reason may be on the wire and in the store."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:MAX_REASON]


PERFORM: dict[type[ev.Action], Callable[[Work, Any], None]] = {
    ev.SendJoin: Work._send_join,
    ev.AskPlan: Work._ask_plan,
    ev.FetchModel: Work._fetch_model,
    ev.CancelFetch: Work._cancel_fetch,
    ev.StartTraining: Work._start_training,
    ev.PauseTraining: Work._pause_training,
    ev.SendUpdate: Work._send_update,
    ev.CancelUpdate: Work._cancel_update,
    ev.PlanOver: Work._end,
}
