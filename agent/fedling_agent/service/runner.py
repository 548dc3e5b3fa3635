"""One task on this device: gives its session events, executes what the session asks for."""

import logging
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
from fedling_agent.service.enrolment import Enrolment
from fedling_agent.service.outbox import Outbox
from fedling_agent.service.writer import Writer
from fedling_agent.session import events as ev
from fedling_agent.session import machine, state
from fedling_agent.session.state import Session, Spooled, Timing
from fedling_agent.store.identity import Identity
from fedling_agent.store.plans import Moved
from fedling_agent.store.store import Store
from fedling_agent.training.freeze import Freezer, Write
from fedling_agent.training.job import Job
from fedling_agent.training.slot import Slot
from fedling_agent.training.updates import make_update
from fedling_protocol.disk.errors import BadInput, CannotWrite, Missing
from fedling_protocol.net.ports import Link
from fedling_protocol.runtime.conductor import Conductor
from fedling_protocol.runtime.loop import Clock, Timer
from fedling_protocol.runtime.slices import Sliced
from fedling_protocol.wire import digest
from fedling_protocol.wire.limits import MAX_REASON
from fedling_protocol.wire.messages import Conditions, Join, Model, Plan, Rest
from fedling_protocol.wire.topics import Topics

log = logging.getLogger(__name__)

Told = ev.Event | Plan | Rest
"""An event of the session, or a message that becomes one when it is its turn."""

TRANSFER_CHECK_S = 1.0  # conditions are looked at so often while large bytes may be on their way


@dataclass(frozen=True, slots=True)
class Parts:
    """What the runners of a device share."""

    clock: Clock
    link: Link
    outbox: Outbox
    enrolment: Enrolment
    writer: Writer
    store: Store
    freezer: Freezer
    topics: Topics
    identity: Identity
    slot: Slot
    watcher: Watcher
    policy: Policy
    timing: Timing
    dice: Callable[[int], bytes]  # os.urandom
    changed: Callable[[], None]  # what the fleet hears of this device may be otherwise now


@dataclass(slots=True)
class _Freezing:
    """A training set on its way to the disk."""

    plan_id: bytes
    slices: Sliced[Write] | None  # None: they are done, the disk writes
    wanted: bool = True  # False: paused, or over, while the disk writes


class SessionRunner:
    """The session of one task, and its hands. Restored from what is on disk."""

    def __init__(self, task: str, parts: Parts) -> None:
        self.task = task
        self._parts = parts
        store, self.plan = parts.store, parts.store.plans.frozen(task)  # the last plan seen
        spool = tuple(Spooled(e.plan_id, e.update_hash) for e in store.spool.entries(task))
        self._conductor: Conductor[Session, Told, ev.Action] = Conductor(
            parts.clock,
            state.restore(parts.timing, parts.dice(32), self.plan, spool),
            self._step,
            self._perform,
            state.due,
            self.look,
        )
        self.allowance: Allowance | None = None
        self.looked_at = 0.0
        self.failure = ""  # the last training that failed
        self._gate = Gate(parts.policy, parts.watcher, self._asked)
        self._waiting: deque[Told] = deque()  # for a reading that is good enough
        self._allowed = ev.Allowed(False, False, False)  # the last that the session was given
        self._check: Timer | None = None
        self._counter: Counter | None = None  # of the last plan
        self._counting: Sliced[bool] | None = None
        self._freezing: _Freezing | None = None
        self._signing: bytes | None = None  # the plan whose training has finished
        self._count_for(self.plan)

    @property
    def session(self) -> Session:
        return self._conductor.state

    @property
    def closed(self) -> bool:
        return self._conductor.closed

    # --- what the service tells ------------------------------------------------------------------

    def give(self, event: Told) -> None:
        """Let the session decide, on conditions as they are now: they are read first if need be."""
        if self.closed:
            return
        self._waiting.append(event)
        if self._gate.fresh:
            self._take_in(self._gate.look())
        elif len(self._waiting) == 1:
            self._gate.refresh(lambda allowance, _readings: self._take_in(allowance))

    def look(self) -> None:
        """Look at the conditions and the time; the session hears of it if it matters."""
        self.give(ev.Tick())

    def see(self, message: Plan | Rest) -> None:
        """What is retained of this task's plans."""
        if isinstance(message, Plan) and (
            self.plan is None or self.plan.plan_id != message.plan_id
        ):
            self.plan = message
            self._count_for(message)
        self.give(message)

    def model(self, model: Model, version: int) -> bool:
        """A verified message on model/<version>. False: not the one that was asked for."""
        fetch, spec = self.session.fetch, model.spec
        if fetch is None or fetch.due_ms is None or not version == fetch.version == model.version:
            return False
        if digest.model_hash(spec, model.exponents, model.weights) != fetch.model_hash:
            return False
        parts, name = self._parts, fetch.model_hash
        parts.outbox.unsubscribe_model(self.task, version)
        parts.writer.do(
            lambda: parts.store.models.put(model),
            lambda _: self.give(ev.ModelStored(version, name)),
        )
        return True

    def examples_changed(self, changes: Changes) -> None:
        """Something was ingested, relabelled or evicted."""
        if self._counter is not None:
            self._counter.changed(changes)
            self._count()

    def close(self) -> None:
        """No timer and no action any more. What is on disk stays."""
        self._conductor.close()
        self._stop_freezing()
        if self._counting is not None:
            self._counting.cancel()
        if self._check is not None:
            self._check.cancel()

    # --- the session -----------------------------------------------------------------------------

    def _take_in(self, allowance: Allowance) -> None:
        """Events in their order; first of all what is allowed now, if that has changed."""
        if self.closed:
            return
        self.allowance, self.looked_at = allowance, self._parts.clock.now()
        events = list(self._waiting)
        self._waiting.clear()
        allowed = ev.Allowed(allowance.train, allowance.transfer, self._enough())
        if allowed != self._allowed:
            self._allowed = allowed
            self._conductor.give(allowed)
        for event in events:
            self._conductor.give(event)
        self._on_stepped()

    def _step(self, s: Session, told: Told, now_ms: int) -> tuple[Session, list[ev.Action]]:
        """What the disk knows is asked now, when the writes that this waited for are done."""
        plans, find = self._parts.store.plans, self._parts.store.models.find
        match told:
            case Plan():
                finished, held = plans.is_finished(told.plan_id), find(told.base_hash) is not None
                return machine.step(s, ev.PlanSeen(told, finished, held), now_ms)
            case Rest():
                held = find(told.model_hash) is not None
                return machine.step(s, ev.RestSeen(told, held), now_ms)
        return machine.step(s, told, now_ms)

    def _on_stepped(self) -> None:
        """The session may be another than before."""
        self._set_check()
        self._parts.changed()

    def _asked(self) -> Conditions | None:
        plan = self.session.begun or self.plan
        return None if plan is None else plan.conditions

    def _set_check(self) -> None:
        if self._check is not None:
            self._check.cancel()
        check_s = self.next_check_s
        self._check = None if check_s is None else self._parts.clock.after(check_s, self.look)

    @property
    def next_check_s(self) -> float | None:
        """When the conditions are looked at again; None: nothing depends on them now."""
        s = self.session
        if self.closed or self.allowance is None or not (s.offer or s.begun or s.spool or s.fetch):
            return None
        fetching = s.fetch is not None and s.fetch.due_ms is not None
        moving = fetching or isinstance(s.phase, state.Sending)
        return min(self.allowance.next_check_s, TRANSFER_CHECK_S if moving else float("inf"))

    # --- enough examples -------------------------------------------------------------------------

    def _count_for(self, plan: Plan | None) -> None:
        """Another plan may want other windows, or more."""
        if self._counting is not None:
            self._counting.cancel()
        self._counter = self._counting = None
        if plan is not None:
            source, secret = self._parts.store.recordings, self._parts.identity.secret
            self._counter = Counter(source, plan.spec, plan.training, secret)
            self._count()

    def _enough(self) -> bool:
        """As far as it is counted. What has begun is frozen, whatever is stored now."""
        if self._counter is None or self.session.begun is not None:
            return self._allowed.enough
        return self._counter.enough is True

    def _count(self) -> None:
        """Go on counting beside everything else; the session hears when it is known."""
        if self._counter is not None and self._counter.enough is None and self._counting is None:
            self._counting = Sliced(
                self._parts.clock, self._counter.count(), self._on_counted, self._on_uncountable
            )

    def _on_counted(self, _enough: bool) -> None:
        self._counting = None
        self.look()

    def _on_uncountable(self, error: Exception) -> None:
        """The stream does not fit the task: there is nothing to count."""
        self._counting = None
        if not isinstance(error, BadInput):
            raise error
        self.failure = str(error)

    # --- what the training slot asks and tells ---------------------------------------------------

    def lease(self, grant: Callable[[float], None]) -> None:
        """From a reading made from now on: it is what the next batch depends on."""

        def answer(allowance: Allowance, readings: Readings) -> None:
            if allowance.train and not self.closed:
                grant(readings.good_until - self._parts.clock.now())
            else:  # the child asks once: this "no" must reach the session, not a later "yes"
                self._take_in(allowance)

        self._gate.refresh(answer)

    def trained(self, job: Job) -> None:
        """Sign the update and spool it: two updates of one plan are never signed."""
        parts, plan_id = self._parts, job.plan_id
        self._signing = plan_id

        def spool() -> bytes:
            made = make_update(parts.store, job, parts.topics, parts.identity)
            return parts.store.spool.put(plan_id, made.envelope, made.vector).update_hash

        parts.writer.do(
            spool,
            lambda update_hash: self.give(ev.UpdateSpooled(plan_id, update_hash)),
            lambda error: self._on_failed(plan_id, error),
        )

    def training_failed(self, plan_id: bytes, reason: str) -> None:
        log.error("%s: training failed: %s", self.task, reason)
        self.failure = reason
        self.give(ev.TrainingFailed(plan_id, printable(reason)))

    def disk_refused(self, reason: str) -> None:
        self._parts.writer.refused(CannotWrite("the update", reason))

    # --- actions ---------------------------------------------------------------------------------

    def _perform(self, action: ev.Action) -> None:
        log.debug("%s: %s", self.task, type(action).__name__)
        PERFORM[type(action)](self, action)

    def _hold(self) -> Callable[[], None]:
        """The next action waits until what is returned is called."""
        self._conductor.hold()

        def release() -> None:
            self._conductor.release()
            self._on_stepped()

        return release

    def _send_join(self, action: ev.SendJoin) -> None:
        words = "what became of its update of" if action.have else "to take part in"
        join = Join(action.plan_id, action.nonce, action.have, self._parts.enrolment.key)
        meaning = f"asks {words} {self._round(action.plan_id)}"
        self._parts.outbox.join(self.task, join, meaning, self._hold())

    def _ask_plan(self, _action: ev.AskPlan) -> None:
        self._parts.outbox.ask_plans()

    def _fetch_model(self, action: ev.FetchModel) -> None:
        if self._parts.store.models.find(action.model_hash) is not None:
            self._conductor.give(ev.ModelStored(action.version, action.model_hash))
        else:
            self._parts.outbox.subscribe_model(self.task, action.version)

    def _cancel_fetch(self, action: ev.CancelFetch) -> None:
        self._parts.outbox.unsubscribe_model(self.task, action.version)
        if self._parts.link.receiving:
            self._parts.link.reconnect("a model is not wanted any more")

    def _start_training(self, action: ev.StartTraining) -> None:
        """Freeze, in slices; then the disk; then the child."""
        plan, parts = action.plan, self._parts
        if self._signing == plan.plan_id:
            return  # paused and wanted again, and it has just been done
        if self._freezing is not None and self._freezing.plan_id == plan.plan_id:
            self._freezing.wanted = True
            return
        slices = Sliced(
            parts.clock,
            parts.freezer.freeze(plan),
            self._on_gathered,
            lambda error: self._on_failed(plan.plan_id, error),
        )
        self._freezing = _Freezing(plan.plan_id, slices)

    def _on_gathered(self, write: Write) -> None:
        freezing = self._freezing
        assert freezing is not None  # who ends it cancels the slices
        freezing.slices = None
        self._parts.writer.do(
            write,
            lambda job: self._on_frozen(freezing, job),
            lambda error: self._on_failed(freezing.plan_id, error),
        )

    def _on_frozen(self, freezing: _Freezing, job: Job) -> None:
        if self._freezing is freezing:
            self._freezing = None
        if self.closed or not freezing.wanted:
            return
        if job.result() is not None:
            self.trained(job)
        else:
            self._parts.slot.start(job, self)

    def _on_failed(self, plan_id: bytes, error: Exception) -> None:
        """What cannot be frozen or spooled is not trained; the writer tells of a bad disk."""
        if self._freezing is not None and self._freezing.plan_id == plan_id:
            self._freezing = None
        if self._signing == plan_id:
            self._signing = None
        if self.closed or isinstance(error, CannotWrite):
            return
        if isinstance(error, Moved):  # what it stands on was evicted meanwhile
            self._freeze_again(plan_id)
        elif isinstance(error, Missing | BadInput):
            self.training_failed(plan_id, str(error))
        else:
            raise error

    def _freeze_again(self, plan_id: bytes) -> None:
        plan = self.session.begun
        training = isinstance(self.session.phase, state.Training)  # else when it goes on
        if training and plan is not None and plan.plan_id == plan_id:
            self._start_training(ev.StartTraining(plan))

    def _stop_freezing(self) -> None:
        """Before the disk it leaves nothing; what the disk is writing is not begun."""
        freezing = self._freezing
        if freezing is None:
            return
        freezing.wanted = False
        if freezing.slices is not None:
            freezing.slices.cancel()
            self._freezing = None

    def _pause_training(self, action: ev.PauseTraining) -> None:
        self._stop_freezing()
        self._parts.slot.pause(action.plan_id)

    def _send_update(self, action: ev.SendUpdate) -> None:
        entry = self._parts.store.spool.find(action.plan_id)
        assert entry is not None  # what the session says is spooled is
        release = self._hold()

        def damaged(error: Exception) -> None:
            if isinstance(error, CannotWrite):
                return  # the service begins anew: nothing that waits for this is done
            if not isinstance(error, Missing):
                raise error
            log.error("%s: %s", self.task, error)
            release()
            self.give(ev.UpdateLost(action.plan_id, action.update_hash))

        self._parts.outbox.update(
            entry,
            f"the update of {self._round(action.plan_id)}",
            release,
            lambda: self.give(ev.UpdateSent(action.plan_id)),
            damaged,
        )

    def _cancel_update(self, _action: ev.CancelUpdate) -> None:
        if self._parts.link.sending:
            self._parts.link.reconnect("an update must not be sent now")

    def _plan_over(self, action: ev.PlanOver) -> None:
        parts, now_ms = self._parts, int(self._parts.clock.wall() * 1000)
        self._stop_freezing()
        parts.slot.cancel(action.plan_id)
        log.info("%s: %s: %s", self._round(action.plan_id), action.verdict, action.reason)
        release = self._hold()

        def end() -> None:
            parts.store.spool.end(
                self.task,
                action.plan_id,
                action.update_hash,
                action.verdict,
                action.reason,
                now_ms,
            )

        parts.writer.do(end, lambda _: release())

    def _round(self, plan_id: bytes) -> str:
        """For people: a round is known as long as its plan is."""
        known = [p for p in (self.session.begun, self.plan) if p and p.plan_id == plan_id]
        if not known:
            record = self._parts.store.plans.find(plan_id)
            known = [] if record is None else [record.plan]
        return f"round {known[0].round} of {self.task}" if known else f"a round of {self.task}"


def printable(text: str) -> str:
    """As a reason may be on the wire and in the store."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:MAX_REASON]


PERFORM: dict[type[ev.Action], Callable[[SessionRunner, Any], None]] = {
    ev.SendJoin: SessionRunner._send_join,
    ev.AskPlan: SessionRunner._ask_plan,
    ev.FetchModel: SessionRunner._fetch_model,
    ev.CancelFetch: SessionRunner._cancel_fetch,
    ev.StartTraining: SessionRunner._start_training,
    ev.PauseTraining: SessionRunner._pause_training,
    ev.SendUpdate: SessionRunner._send_update,
    ev.CancelUpdate: SessionRunner._cancel_update,
    ev.PlanOver: SessionRunner._plan_over,
}
