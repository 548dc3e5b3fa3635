"""A plan's training on this device: frozen in slices, written, trained in the slot, spooled."""

import logging
from collections.abc import Callable

from fedling_agent.conditions.condition import Readings
from fedling_agent.conditions.decision import Allowance
from fedling_agent.conditions.gate import Gate
from fedling_agent.service.parts import Parts
from fedling_agent.session import events as ev
from fedling_agent.store.plans import Moved
from fedling_agent.training.freeze import Write
from fedling_agent.training.job import Job, Result
from fedling_agent.training.updates import make_update
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput, CannotWrite, Missing
from fedling_protocol.runtime.slices import Sliced
from fedling_protocol.wire.limits import MAX_REASON
from fedling_protocol.wire.messages import Plan

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Freezing:
    """A training set on its way to the disk."""

    plan: Plan
    slices: Sliced[Write] | None  # None: they are done, the disk writes
    wanted: bool = True  # False: paused, or over, while the disk writes


class LocalTraining:
    """A Trainee of the slot. What comes of it is given as an event."""

    def __init__(
        self,
        task: str,
        parts: Parts,
        gate: Gate,
        give: Callable[[ev.Event], None],
        take_in: Callable[[Allowance], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """gate: the task's; a batch begins on a reading made after it was asked for

        take_in: told what forbids a batch
        failed: told what nobody expected
        """
        self._task = task
        self._parts = parts
        self._gate = gate
        self._give = give
        self._take_in = take_in
        self._failed = failed
        self._plan: Plan | None = None  # the one at work, or the last
        self._freezing: _Freezing | None = None
        self._signing: bytes | None = None  # the plan whose training has finished
        self._closed = False
        self.failure = ""  # the last training that failed

    def start(self, plan: Plan) -> None:
        """Freeze, unless that is done; then the disk; then the child."""
        if self._signing == plan.plan_id:
            return  # paused and wanted again, and it has just been done
        self._plan = plan
        if self._freezing is not None and self._freezing.plan.plan_id == plan.plan_id:
            self._freezing.wanted = True
            return
        slices = Sliced(
            self._parts.clock,
            self._parts.freezer.freeze(plan),
            self._on_gathered,
            lambda error: self._on_failed(plan, error),
        )
        self._freezing = _Freezing(plan, slices)

    def pause(self, plan_id: bytes) -> None:
        """Pause: the child finishes its batch; a set that is not on disk is frozen anew later."""
        self._stop_freezing()
        self._parts.slot.pause(plan_id)

    def cancel(self, plan_id: bytes) -> None:
        """End the training of a plan: nothing of it is wanted any more."""
        self._stop_freezing()
        self._parts.slot.cancel(plan_id)

    def close(self) -> None:
        """Begin and tell nothing more. What is on disk stays."""
        self._closed = True
        self._stop_freezing()

    # --- to the disk -----------------------------------------------------------------------------

    def _on_gathered(self, write: Write) -> None:
        freezing = self._freezing
        assert freezing is not None  # who ends it cancels the slices
        freezing.slices = None
        self._parts.writer.do(
            write,
            lambda job: self._on_frozen(freezing, job),
            lambda error: self._on_failed(freezing.plan, error),
        )

    def _on_frozen(self, freezing: _Freezing, job: Job) -> None:
        if self._freezing is freezing:
            self._freezing = None
        if self._closed or not freezing.wanted:
            return
        result = job.result()
        if result is not None:
            self.trained(job, result)
        else:
            self._parts.slot.start(job, self)

    def _on_failed(self, plan: Plan, error: Exception) -> None:
        """What cannot be frozen or spooled is not trained; the writer tells of a bad disk."""
        wanted = True
        if self._freezing is not None and self._freezing.plan.plan_id == plan.plan_id:
            wanted, self._freezing = self._freezing.wanted, None
        if self._closed or isinstance(error, CannotWrite):
            return
        if isinstance(error, Moved):  # what it stands on was evicted meanwhile
            if wanted:
                self.start(plan)
        elif isinstance(error, Missing | BadInput):
            self.training_failed(plan.plan_id, str(error))
        else:
            self._failed(error)

    def _stop_freezing(self) -> None:
        """End a freeze: before the disk it leaves nothing, what the disk writes is not begun."""
        freezing = self._freezing
        if freezing is None:
            return
        freezing.wanted = False
        if freezing.slices is not None:
            freezing.slices.cancel()
            self._freezing = None

    # --- what the slot asks and tells ------------------------------------------------------------

    def lease(self, grant: Callable[[float], None]) -> None:
        def answer(allowance: Allowance, readings: Readings) -> None:
            if self._closed:
                return
            if allowance.train:
                grant(readings.good_until - self._parts.clock.now())
            else:  # the child asks once: this "no" must reach the session, not a later "yes"
                self._take_in(allowance)

        self._gate.refresh(answer)

    def trained(self, job: Job, result: Result) -> None:
        """Sign the update and spool it: two updates of one plan are never signed."""
        parts, plan, plan_id = self._parts, self._plan, job.plan_id
        assert plan is not None
        assert plan.plan_id == plan_id  # of a task one is at work at a time
        self._signing = plan_id

        def spool() -> bytes:
            made = make_update(plan, job, result, parts.topics, parts.identity)
            return parts.store.spool.put(
                plan_id, made.envelope, made.vector_hash, made.tested
            ).update_hash

        def failed(error: Exception) -> None:
            self._signing = None
            if isinstance(error, Missing):
                self.training_failed(plan_id, str(error))
            else:
                self._failed(error)

        parts.writer.do(
            spool, lambda update_hash: self._give(ev.UpdateSpooled(plan_id, update_hash)), failed
        )

    def training_failed(self, plan_id: bytes, reason: str) -> None:
        log.error("%s: training failed: %s", self._task, reason)
        self.failure = reason
        self._give(ev.TrainingFailed(plan_id, printable(reason)))

    def disk_refused(self, reason: str) -> None:
        self._parts.writer.refused(CannotWrite("the update", reason))


def printable(text: str) -> str:
    """Make a text such as a reason may be on the wire and in the store."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:MAX_REASON]
