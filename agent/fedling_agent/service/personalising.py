"""The personal model of one task: made when nothing hinders it, stored, told of."""

import logging
from collections.abc import Callable
from functools import partial

from fedling_agent.conditions.condition import Readings
from fedling_agent.conditions.decision import Allowance
from fedling_agent.conditions.gate import Gate
from fedling_agent.service.parts import Parts
from fedling_agent.service.writer import ignore
from fedling_agent.store.models import StoredModel
from fedling_agent.store.personal import Made
from fedling_agent.training import personal
from fedling_agent.training.freeze import Write
from fedling_agent.training.job import Job, Result
from fedling_agent.training.personal import Hindrance, Situation
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput, CannotWrite, Missing
from fedling_protocol.runtime.loop import Timer
from fedling_protocol.runtime.slices import Sliced
from fedling_protocol.wire.messages import Hits, Plan

log = logging.getLogger(__name__)

REST_S = 3600.0  # after a try, whatever came of it: most of a device's time is not for this
LOOK_S = 60.0  # what only grows, as examples do, is not looked at more often


@dataclass(slots=True)
class _Making:
    """A personal model on its way."""

    model: StoredModel  # the fleet's, from which it is trained further
    stock: int
    generation: int  # of the task
    slices: Sliced[Write] | None = None  # None: gathered
    job: Job | None = None  # on disk
    storing: bool = False


class Personalising:
    """A Trainee of the slot, behind every round. What it makes never leaves this device."""

    def __init__(
        self,
        task: str,
        parts: Parts,
        gate: Gate,
        plan: Callable[[], Plan | None],
        failed: Callable[[Exception], None],
    ) -> None:
        """gate: the task's; plan: the last that was seen; failed: told what nobody expected"""
        self._task = task
        self._parts = parts
        self._gate = gate
        self._plan = plan
        self._failed = failed
        self._making: _Making | None = None
        self._rest_until = self._look_from = 0.0
        self._asking = False  # for a reading
        self._timer: Timer | None = None
        self._timer_due = 0.0
        self._closed = parts.maker is None

    def look(self) -> None:
        """Begin, or go on, if that is due; the conditions are read first."""
        if self._closed or self._asking:
            return
        making = self._making
        if self._may_begin() if making is None else self._may_go_on(making):
            self._asking = True
            self._gate.refresh(self._on_read)

    def model_came(self) -> None:
        """The fleet has a new model: the next look is not put off."""
        self._look_from = 0.0

    def close(self) -> None:
        """Begin and tell nothing more. What is on disk stays."""
        self._closed = True
        self._stop()

    def leave(self) -> None:
        """The task was removed: its child ends; what is on disk goes with the task."""
        self._give_up()
        self.close()

    def erase(self, stream: str) -> None:
        """Samples of a stream are forgotten: so is what was learned from it, under way or not."""
        newest = self._parts.store.models.newest(self._task)
        used = [model for model in (newest, self._making and self._making.model) if model]
        if self._closed or stream not in {model.spec.stream for model in used}:
            return
        self._give_up()
        self._parts.writer.do(partial(self._parts.store.personal.erase, self._task), ignore)

    @property
    def doing(self) -> str:
        """Say in a few words what is done for the personal model; empty: nothing is wanted."""
        making = self._making
        if self._parts.maker is None:
            return ""
        if making is None:
            hindrance = self._hindrance()
            return "about to be made" if hindrance is None else hindrance.value
        if making.job is None or making.storing:
            return "is stored" if making.storing else "gathers its examples"
        run = self._parts.slot.progress(making.job.plan_id)
        at = "" if run is None else f" at batch {run.done} of {making.job.total_steps}"
        running = run is not None and run.running
        return f"{'being made' if running else 'paused'}{at}"

    # --- whether ---------------------------------------------------------------------------------

    def _may_begin(self) -> bool:
        """Whether nothing hinders, but for the conditions; what hinders for a while has a timer."""
        now = self._parts.clock.now()
        if now < self._look_from:
            self._look_in(self._look_from - now)
            return False
        self._look_from = now + LOOK_S
        hindrance = self._hindrance()
        if hindrance is Hindrance.REST:
            self._look_in(self._rest_until - now)
        elif hindrance is Hindrance.BUSY:
            self._look_in(LOOK_S)
        return hindrance is None

    def _may_go_on(self, making: _Making) -> bool:
        """Whether it was paused, and nothing hinders but for the conditions."""
        return making.job is not None and not making.storing and self._parts.slot.free

    def _hindrance(self) -> Hindrance | None:
        return personal.hindrance(self._situation())

    def _situation(self) -> Situation:
        parts, store = self._parts, self._parts.store
        model, plan = store.models.newest(self._task), self._last_plan()
        labelled, stock = self._examples(model)
        return Situation(
            spec=None if model is None else model.spec,
            base=b"" if model is None else model.hash,
            drawn=model is None or model.drawn,
            planned=plan is not None,
            labelled=labelled,
            stock=stock,
            last=store.personal.last(self._task),
            rested=parts.clock.now() >= self._rest_until,
            busy=not parts.slot.free,
        )

    def _examples(self, model: StoredModel | None) -> tuple[dict[str, int], int]:
        """Tell how many samples have each label of the task, and the stock of them."""
        if model is None:
            return {}, 0
        recordings, stream = self._parts.store.recordings, model.spec.stream
        labelled = {label: recordings.labelled(stream, label) for label in model.spec.labels}
        summary = recordings.summary().get(stream)
        return labelled, personal.stock_of(labelled, 0 if summary is None else summary.evicted)

    def _last_plan(self) -> Plan | None:
        """Find the last plan that says how to train."""
        plan = self._plan()
        if plan is not None and plan.training.epochs:
            return plan
        record = self._parts.store.plans.last(self._task)
        return None if record is None else record.plan

    # --- from the decision to the disk -----------------------------------------------------------

    def _on_read(self, allowance: Allowance, _readings: Readings) -> None:
        self._asking = False
        if self._closed:
            return
        if not allowance.train:
            self._look_in(allowance.next_check_s)
        elif self._making is not None:
            self._train(self._making)
        elif self._hindrance() is None:
            self._gather()

    def _gather(self) -> None:
        parts = self._parts
        model, plan = parts.store.models.newest(self._task), self._last_plan()
        assert model is not None  # nothing hinders
        assert plan is not None
        _, stock = self._examples(model)
        assert parts.maker is not None  # else it is closed
        making = self._making = _Making(model, stock, self._generation())
        making.slices = Sliced(
            parts.clock,
            parts.maker.gather(model, plan.training),
            partial(self._on_gathered, making),
            partial(self._on_failed, making),
        )

    def _on_gathered(self, making: _Making, write: Write) -> None:
        making.slices = None
        self._parts.writer.do(
            write, partial(self._on_written, making), partial(self._on_failed, making)
        )

    def _on_written(self, making: _Making, job: Job) -> None:
        if self._closed or self._making is not making:
            return
        making.job = job
        self._train(making)

    def _train(self, making: _Making) -> None:
        job = making.job
        if job is None or making.storing:
            return
        result = job.result()
        if result is not None:
            self.trained(job, result)
        elif self._parts.slot.free:
            self._parts.slot.start(job, self)
            self._look_in(LOOK_S)  # it makes room for a round, and nobody says when that is over

    # --- what the slot asks and tells ------------------------------------------------------------

    def lease(self, grant: Callable[[float], None]) -> None:
        def answer(allowance: Allowance, readings: Readings) -> None:
            if self._closed or self._making is None or self._making.job is None:
                return
            if allowance.train:
                grant(readings.good_until - self._parts.clock.now())
            else:  # the child asks once
                self._parts.slot.pause(self._making.job.plan_id)
                self._look_in(allowance.next_check_s)

        self._gate.refresh(answer)

    def trained(self, job: Job, result: Result) -> None:
        """Keep what was made, if it is better; that it is not, as well, so that it rests."""
        making = self._making
        if self._closed or making is None:
            return
        making.storing = True
        fleets, own = hits_of(result)
        if not own.windows:  # what chooses was damaged
            self._on_failed(making, Missing("the windows that choose are gone"))
            return
        model, recipe = making.model, job.recipe
        made = Made(
            model.spec, model.version, model.hash, recipe.exponents, recipe.normaliser, None,
            fleets, own, recipe.count, making.stock,
        )  # fmt: skip
        weights = result.vector if personal.is_better(fleets, own) else None
        self._parts.writer.do(
            partial(self._keep, making, made, weights),
            partial(self._on_stored, making),
            partial(self._on_failed, making),
        )

    def _keep(self, making: _Making, made: Made, weights: bytes | None) -> Made:
        """Beside the loop, after what was heard of the task before. Raises Missing, CannotWrite."""
        if self._generation() != making.generation:
            raise Missing("the task began anew meanwhile")
        return self._parts.store.personal.put(made, weights)

    def _generation(self) -> int:
        moment = self._parts.store.lives.seen().get(self._task)
        return 0 if moment is None else moment.generation

    def training_failed(self, plan_id: bytes, reason: str) -> None:
        making = self._making
        if making is not None and making.job is not None and making.job.plan_id == plan_id:
            self._on_failed(making, Missing(reason))

    def disk_refused(self, reason: str) -> None:
        self._parts.writer.refused(CannotWrite("the personal model", reason))

    def _on_stored(self, making: _Making, made: Made) -> None:
        if self._making is making:
            self._end()
        better = "answers from now on" if made.hash else "is no better: the fleet's answers"
        log.info(
            "%s: a personal model from model %d: %d of %d windows right, the fleet's %d; it %s",
            self._task, made.version, made.own.right, made.own.windows, made.fleets.right, better,
        )  # fmt: skip

    # --- the end ---------------------------------------------------------------------------------

    def _on_failed(self, making: _Making, error: Exception) -> None:
        """It is tried again after a rest; the writer tells of a bad disk."""
        if self._making is not making:
            return
        job = making.job
        self._end()
        if isinstance(error, CannotWrite) or self._closed:
            return
        if not isinstance(error, Missing | BadInput):
            self._failed(error)
            return
        log.warning("%s: no personal model: %s", self._task, error)
        if job is not None:  # what failed again and again is not gone on with
            end = partial(self._parts.store.personal.end_job, self._task)
            self._parts.writer.do(end, ignore)

    def _give_up(self) -> None:
        """Nothing of what is under way is wanted: its child ends at once."""
        making, self._making = self._making, None
        if making is not None:
            if making.slices is not None:
                making.slices.cancel()
            if making.job is not None:
                self._parts.slot.cancel(making.job.plan_id)

    def _end(self) -> None:
        self._making = None
        self._rest_until = self._parts.clock.now() + REST_S
        self._forget_timer()
        self._look_in(REST_S)

    def _look_in(self, seconds: float) -> None:
        """Look again so much later, or earlier if that is to be."""
        clock, timer = self._parts.clock, self._timer
        if self._closed or (timer is not None and self._timer_due <= clock.now() + seconds):
            return
        self._forget_timer()
        self._timer_due = clock.now() + seconds
        self._timer = clock.after(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._look_from = None, 0.0
        if self._making is not None:
            self._look_in(LOOK_S)
        self.look()

    def _stop(self) -> None:
        if self._making is not None and self._making.slices is not None:
            self._making.slices.cancel()
        self._forget_timer()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def hits_of(result: Result) -> tuple[Hits, Hits]:
    """Add up what the fleet's model and the personal one told right; nothing: it was not tested."""
    tested = result.tested or ()
    half = len(tested) // 2
    fleets, own = (
        Hits(sum(one.windows for one in part), sum(one.right for one in part))
        for part in (tested[:half], tested[half:])
    )
    return fleets, own
