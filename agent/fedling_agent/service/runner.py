"""One task on this device: gives its session events, executes what the session asks for."""

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from fedling_agent.conditions.decision import Allowance
from fedling_agent.conditions.gate import Gate
from fedling_agent.data.counting import Found
from fedling_agent.data.recording import Changes
from fedling_agent.service.examples import Examples
from fedling_agent.service.fetching import Fetching
from fedling_agent.service.local_training import LocalTraining
from fedling_agent.service.parts import Parts
from fedling_agent.service.personalising import Personalising
from fedling_agent.service.report import named
from fedling_agent.session import events as ev
from fedling_agent.session import machine, state
from fedling_agent.session.state import Session, Spooled
from fedling_agent.store.spool import SpoolEntry
from fedling_protocol.disk.errors import Missing
from fedling_protocol.runtime.conductor import Conductor
from fedling_protocol.runtime.loop import Timer
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import (
    Change,
    Chunk,
    Conditions,
    Hits,
    Join,
    Model,
    Plan,
    Rest,
    Verdict,
)
from fedling_protocol.wire.topics import Address

log = logging.getLogger(__name__)

Told = ev.Event | Plan | Rest
"""What a runner is told: a plan or rest becomes an event when the disk can be asked about it."""

TRANSFER_CHECK_S = 1.0  # conditions are looked at so often while large bytes may be on their way


class SessionRunner:
    """The session of one task, and its hands. Restored from what is on disk."""

    def __init__(self, task: str, parts: Parts, stored: Callable[[], None]) -> None:
        """stored: told when a model has come, and is on disk"""
        self.task = task
        self._stored = stored
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
            self._failed,
        )
        self._gate = Gate(parts.policy, parts.watcher, self._asked)
        self._waiting: deque[Told] = deque()  # for a reading that is good enough
        self._allowed = ev.Allowed(*(4 * (False,)))  # the last that the session was given
        self._check: Timer | None = None
        self.allowance: Allowance | None = None
        self.looked_at = 0.0
        self.training = LocalTraining(
            task, parts, self._gate, self.give, self._take_in, self._failed
        )
        self._fetching = Fetching(task, parts, self._on_chunk, self._on_model, self._failed)
        self.personal = Personalising(task, parts, self._gate, lambda: self.plan, self._failed)
        self._examples = Examples(
            parts.clock, store.recordings, parts.floor, self.look, self._failed
        )
        self._count()

    @property
    def session(self) -> Session:
        return self._conductor.state

    def knows(self, plan_id: bytes) -> bool:
        """Whether this is a plan that was seen last, is at work here, or waits for its receipt."""
        s = self.session
        known = (self.plan, s.offer, s.begun, *s.spool)
        return any(plan is not None and plan.plan_id == plan_id for plan in known)

    @property
    def failure(self) -> str:
        """Why the last training failed, or why there are no examples for the last plan."""
        return self.training.failure or self._examples.failure

    @property
    def found(self) -> Found:
        """What there is of the examples that the last plan wants."""
        return self._examples.found

    @property
    def new_wanted(self) -> int:
        """How many new examples the last plan wants."""
        return self._examples.wanted_new

    @property
    def new_found(self) -> int | None:
        """How many new examples there are, if too few."""
        return self._examples.found_new

    @property
    def wanted(self) -> int:
        """The fewest examples on which the last plan is trained."""
        return self._examples.wanted

    # --- what the service tells ------------------------------------------------------------------

    def give(self, event: Told) -> None:
        """Let the session decide, on conditions as they are now: they are read first if need be."""
        if self._conductor.closed:
            return
        if isinstance(event, ev.Connected | ev.Disconnected):
            self._fetching.close()  # what was subscribed is no more; the session asks anew
        self._waiting.append(event)
        if self._gate.fresh:
            self._take_in(self._gate.look())
        elif len(self._waiting) == 1:
            self._gate.refresh(lambda allowance, _readings: self._take_in(allowance))

    def look(self) -> None:
        """Look at the conditions and the time; the session hears of it if it matters."""
        self.give(ev.Tick())

    def see(self, message: Plan | Rest) -> None:
        """Take in what is retained of this task's plans."""
        known = None if self.plan is None else self.plan.plan_id
        if isinstance(message, Plan):
            self.plan = message
        if isinstance(message, Plan) and message.plan_id != known:
            self._count()
        self._fetching.see(message)
        self.give(message)

    def model(self, model: Model | Change, version: int) -> bool:
        """Take in a verified message of a version. False: not the one that was asked for."""
        fetch = self.session.fetch
        if fetch is None or fetch.due_ms is None or version != model.version:
            return False
        return self._fetching.take(model, fetch)

    def chunk(self, chunk: Chunk, address: Address) -> bool:
        """Take in a verified chunk. False: not one that was asked for."""
        fetch = self.session.fetch
        if fetch is None or fetch.due_ms is None:
            return False
        return self._fetching.chunk(chunk, address)

    def asked(self, kind: Kind) -> int:
        """Tell how large a message of a model that was asked for is at most; 0: none was."""
        fetch = self.session.fetch
        if fetch is None or fetch.due_ms is None:
            return 0
        return self._fetching.largest_chunk if kind is Kind.CHUNK else fetch.size

    def examples_changed(self, changes: Changes) -> None:
        """Something was ingested, relabelled or evicted."""
        self._examples.changed(changes)
        self.personal.look()

    def leave(self) -> None:
        """The task was removed: its training ends, and nothing more of it is fetched."""
        begun, fetch = self.session.begun, self.session.fetch
        if fetch is not None:
            self._fetching.cancel(fetch.version)
        self.close()
        if begun is not None:
            self._parts.slot.cancel(begun.plan_id)
        self.personal.leave()

    def close(self) -> None:
        """No timer and no action any more. What is on disk stays."""
        self._conductor.close()
        self._waiting.clear()
        self._fetching.close()
        self.training.close()
        self.personal.close()
        self._examples.close()
        if self._check is not None:
            self._check.cancel()

    # --- the session -----------------------------------------------------------------------------

    def _take_in(self, allowance: Allowance) -> None:
        """Give the events in order; first of all what is allowed now, if that has changed."""
        if self._conductor.closed:
            return
        self.allowance, self.looked_at = allowance, self._parts.clock.now()
        events = list(self._waiting)
        self._waiting.clear()
        # What has begun is frozen, whatever is stored now.
        begun = self.session.begun is not None
        enough = self._allowed.enough if begun else self._examples.enough
        allowed = ev.Allowed(allowance.train, allowance.transfer, allowance.send, enough)
        if allowed != self._allowed:
            self._allowed = allowed
            self._conductor.give(allowed)
        for event in events:
            self._conductor.give(event)
        self._on_stepped()

    def _on_model(self, version: int, model_hash: bytes) -> None:
        self._stored()
        self.personal.model_came()
        self.give(ev.ModelStored(version, model_hash))

    def _on_chunk(self, version: int) -> None:
        self.give(ev.ModelComing(version))

    def _failed(self, error: Exception) -> None:
        self._parts.failed(self.task, error)

    def _step(self, s: Session, told: Told, now_ms: int) -> tuple[Session, list[ev.Action]]:
        """What the disk knows is asked now, when the writes that this waited for are done."""
        if not isinstance(told, Plan | Rest):
            return machine.step(s, told, now_ms)
        store = self._parts.store
        held = store.models.holds(self.task, told.generation, told.newest)
        if isinstance(told, Rest):
            return machine.step(s, ev.RestSeen(told, held), now_ms)
        finished = store.plans.is_finished(told.plan_id)
        return machine.step(s, ev.PlanSeen(told, finished, held), now_ms)

    def _on_stepped(self) -> None:
        """The session may be another than before."""
        self._set_check()
        self.personal.look()
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
        if self._conductor.closed or self.allowance is None:
            return None
        if not (s.offer or s.begun or s.spool or s.fetch):
            return None
        fetching = s.fetch is not None and s.fetch.due_ms is not None
        moving = fetching or isinstance(s.phase, state.Sending)
        return min(self.allowance.next_check_s, TRANSFER_CHECK_S if moving else float("inf"))

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
        key = self._parts.enrolment.key(self.session.tries)
        join = Join(action.plan_id, action.nonce, action.have, key)
        meaning = f"asks {words} {self._round(action.plan_id)}"
        self._parts.outbox.join(self.task, join, meaning, self._hold())

    def _ask_plan(self, _action: ev.AskPlan) -> None:
        self._parts.outbox.ask_plans()

    def _fetch_model(self, action: ev.FetchModel) -> None:
        self._fetching.begin(action)

    def _cancel_fetch(self, action: ev.CancelFetch) -> None:
        if action.late:
            self._fetching.late()
        self._fetching.cancel(action.version)
        if self._parts.link.receiving:
            self._parts.link.reconnect("a model is not wanted any more")

    def _start_training(self, action: ev.StartTraining) -> None:
        self.training.start(action.plan)

    def _pause_training(self, action: ev.PauseTraining) -> None:
        self.training.pause(action.plan_id)

    def _send_update(self, action: ev.SendUpdate) -> None:
        entry = self._parts.store.spool.find(action.plan_id)
        assert entry is not None  # what the session says is spooled is
        release = self._hold()

        def damaged(error: Exception) -> None:
            if not isinstance(error, Missing):
                self._failed(error)
                return
            log.error("%s: %s", self.task, error)
            release()
            self.give(ev.UpdateLost(action.plan_id, action.update_hash))

        send: Callable[..., None] = self._parts.outbox.update
        if each := self._chunk_size(entry):
            send = partial(self._parts.outbox.update_chunks, each=each, here=action.here)
        send(
            entry,
            meaning=f"the update of {self._round(action.plan_id)}{_of_test(entry.hits)}",
            handed=release,
            acknowledged=lambda: self.give(ev.UpdateSent(action.plan_id)),
            damaged=damaged,
        )

    def _chunk_size(self, entry: SpoolEntry) -> int | None:
        """How many bytes of an update its chunks have, as its plan says; None: it goes as one."""
        plan = self._known(entry.plan_id)
        cut = None if plan is None else plan.chunked
        return None if cut is None or entry.size <= cut.size else cut.size

    def _cancel_update(self, _action: ev.CancelUpdate) -> None:
        if self._parts.link.sending:
            self._parts.link.reconnect("an update must not be sent now")

    def _plan_over(self, action: ev.PlanOver) -> None:
        self.training.cancel(action.plan_id)
        log.info("%s: %s: %s", self._round(action.plan_id), action.verdict, action.reason)
        spool, now_ms, release = self._parts.store.spool, self._now_ms(), self._hold()

        def end() -> None:
            spool.end(
                self.task,
                action.plan_id,
                action.update_hash,
                action.verdict,
                action.reason,
                now_ms,
            )

        def ended(_: None) -> None:
            if action.verdict is not Verdict.ACCEPTED:  # what it trained on is new again
                self._count()
            release()

        self._parts.writer.do(end, ended, self._failed)

    def _count(self) -> None:
        """Count anew what there is for the last plan."""
        if self.plan is not None and not self._conductor.closed:
            known = partial(self._parts.store.plans.known, self.task)
            self._examples.count_for(self.plan, known)

    def _now_ms(self) -> int:
        return int(self._parts.clock.wall() * 1000)

    def _round(self, plan_id: bytes) -> str:
        """Name a round for people; it is known as long as its plan is."""
        known = self._known(plan_id)
        return f"{named(known) if known else 'a round'} of {self.task}"

    def _known(self, plan_id: bytes) -> Plan | None:
        """A plan, as it was heard last."""
        for plan in (self.plan, self.session.begun):
            if plan is not None and plan.plan_id == plan_id:
                return plan
        record = self._parts.store.plans.find(plan_id)
        return None if record is None else record.plan


def _of_test(hits: Hits | None) -> str:
    """Say for people what an update tells of its test, if it does."""
    return "" if hits is None else f", and {hits.right} of {hits.windows} own windows right"


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
