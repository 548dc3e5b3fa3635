"""The one training slot of a device: whose child runs, who waits for it, what became of it."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from fedling_agent.training.job import Job, Result
from fedling_agent.training.process import (
    Asked,
    ChildEvent,
    Done,
    Exited,
    MakeProcess,
    Note,
    Piece,
    Step,
    TrainingProcess,
)
from fedling_agent.training.speed import Speed
from fedling_protocol.classes import dataclass
from fedling_protocol.exits import Exit
from fedling_protocol.net.ports import Done as Call
from fedling_protocol.runtime.loop import Clock, Timer

log = logging.getLogger(__name__)

MOST_TRIES = 3  # children that end badly without a step
RETRY_S = 2.0  # before the next try, doubled each time
FAREWELL_S = 20.0  # a child that does not end by then is killed; it starts from its checkpoint
KILLED = -9  # the end of a child by SIGKILL
STALLED_S = 5.0  # a deadline that comes so late was slept through, by us and by the child
LACKED_S = 10.0  # a child that others kept waiting for less has no bad luck to be told of
WAITED_S = 1.0  # a child that others kept waiting for less than that is late all the same


class Trainee(Protocol):
    """Who wants a training."""

    def lease(self, grant: Callable[[float], None]) -> None:
        """Call grant(seconds), when it is known that batches may begin for so long from then.

        Never, when they may not: it will be paused.
        """

    def trained(self, job: Job, result: Result) -> None:
        """Take in what a training that has finished gave."""

    def training_failed(self, plan_id: bytes, reason: str) -> None:
        """Take in that the training was tried again and again, in vain."""

    def disk_refused(self, reason: str) -> None:
        """Take in that the child could not write its result."""


@dataclass(slots=True)
class Occupant:
    """One job, from its start() to its end, over any number of children."""

    job: Job
    trainee: Trainee
    process: TrainingProcess | None = None
    wanted: bool = True  # False: pausing
    tries: int = 0
    done: int = 0  # batches
    tested: int = 0  # answers
    furthest: int = 0  # batches and tested answers, also of a child that was killed
    deadline: Timer | None = None  # of what the child does now
    since: float | None = None  # when it began with that, after its rest; None: it does nothing
    waited_s: float = 0.0  # for a processor, until then
    longest_s: float = 0.0  # that it may take
    note: str = ""  # the child's last word about itself
    retry: Timer | None = None
    spawned_at: float = 0.0  # Clock.now() of the child's start

    @property
    def running(self) -> bool:
        return self.process is not None

    def lacked_s(self, now: float) -> float:
        """How long its child was kept waiting for a processor, if that is most of its life.

        0: it has its share, or is too young to tell.
        """
        waited_s = _waited_s(self)
        return waited_s if waited_s > max(LACKED_S, (now - self.spawned_at) / 2) else 0.0


class Slot:
    """Runs one child at a time; who comes second waits."""

    def __init__(
        self,
        clock: Clock,
        make_process: MakeProcess,
        speed: Speed | None = None,
        worked: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """speed: how long batches may take; worked: told what they took of a processor"""
        self._clock = clock
        self._make_process = make_process
        self._speed = speed or Speed()
        self._worked = worked
        self._occupants: list[Occupant] = []  # the first one has the slot
        self._last: Occupant | None = None  # for status: how far the one that was paused has come
        self._closed: Call | None = None

    def find(self, plan_id: bytes) -> Occupant | None:
        """Find a plan's occupant, if it has or waits for the slot."""
        return next((o for o in self._occupants if o.job.plan_id == plan_id), None)

    def progress(self, plan_id: bytes) -> Occupant | None:
        """Find a plan's occupant, also if it was the last to be paused."""
        last = self._last if self._last and self._last.job.plan_id == plan_id else None
        return self.find(plan_id) or last

    @property
    def free(self) -> bool:
        """Whether nobody has the slot or waits for it."""
        return not self._occupants

    @property
    def pid(self) -> int | None:
        """The child's process id, if one runs."""
        process = self._occupants[0].process if self._occupants else None
        return None if process is None else process.pid

    def start(self, job: Job, trainee: Trainee) -> None:
        """Train, or go on; one that is being paused goes on when its child has ended.

        A personal model makes room for a round, whose time is counted.
        """
        if not job.recipe.personal:
            for other in [o for o in self._occupants if o.job.recipe.personal]:
                self.pause(other.job.plan_id)
        occupant = self.find(job.plan_id)
        if occupant is None:
            self._occupants.append(Occupant(job, trainee, done=job.done_steps()))
        else:
            occupant.wanted = True
        self._next()

    def pause(self, plan_id: bytes) -> None:
        """Have the child finish its batch and write a checkpoint."""
        occupant = self.find(plan_id)
        if occupant is None:
            return
        occupant.wanted = False
        if occupant.process is not None:
            occupant.process.stop()
            self._expect(occupant, self._speed.pause_s(occupant.job.batch_work))
        else:
            self._drop(occupant)

    def cancel(self, plan_id: bytes) -> None:
        """End a training at once; nothing of it is wanted any more."""
        occupant = self.find(plan_id)
        if occupant is not None:
            self._kill(occupant)
            self._drop(occupant)

    def clear(self) -> None:
        """End all at once; what is on disk stays. Who waits for close() need not wait longer."""
        occupants, self._occupants = self._occupants, []
        for occupant in occupants:
            self._kill(occupant)
        if occupants and self._closed is not None:
            self._closed()

    def close(self, done: Call) -> None:
        """Pause the child for good; done is called when it has ended."""
        self._closed = done
        for occupant in list(self._occupants):
            self.pause(occupant.job.plan_id)
        if self._occupants:
            self._clock.after(FAREWELL_S, self.clear)
        else:
            self._clock.after(0, done)

    # --- the child -------------------------------------------------------------------------------

    def _next(self) -> None:
        """Give the slot to the first who waits for it."""
        if self._closed is not None or not self._occupants:
            return
        occupant = self._occupants[0]
        if occupant.process is None and occupant.retry is None:
            self._spawn(occupant)

    def _spawn(self, occupant: Occupant) -> None:
        occupant.retry = None
        process = self._make_process(occupant.job)
        try:
            process.start(lambda event: self._on_event(occupant, process, event))
        except OSError as error:  # no memory, no process left
            self._try_again(occupant, error.strerror or str(error))
            return
        occupant.process, occupant.spawned_at = process, self._clock.now()
        self._begins(occupant)

    def _on_event(self, occupant: Occupant, process: TrainingProcess, event: ChildEvent) -> None:
        match event:
            case Step():
                self._on_step(occupant, event)
            case Piece():
                self._worked(event.spent_s)
                occupant.tested = event.done
                self._goes_on(occupant, occupant.job.total_steps + event.done, event)
            case Asked():
                if occupant.wanted:
                    _rests(occupant)
                    occupant.trainee.lease(partial(self._grant, occupant, process))
            case Note(text=text):
                occupant.note = text
                log.warning("training %s: %s", occupant.job.plan_id.hex(), text)
            case Done():
                pass  # it exits now
            case Exited(code=code):
                if code != 0:
                    self._charge(occupant)
                occupant.process = None
                _rests(occupant)
                self._on_exit(occupant, code)

    def _on_step(self, occupant: Occupant, step: Step) -> None:
        if step.spent_s:
            self._speed.measured(occupant.job.batch_work, step.spent_s)
            self._worked(step.spent_s)
        occupant.done = step.done
        self._goes_on(occupant, step.done, step)

    def _goes_on(self, occupant: Occupant, at: int, told: Step | Piece) -> None:
        """It has come so far: the tries that were in vain begin anew, and so does its deadline."""
        if at > occupant.furthest:
            occupant.furthest, occupant.tries = at, 0
        rest_s = self._speed.rest_s(told.spent_s) if told.done < told.total else 0.0
        if occupant.wanted:
            self._begins(occupant, rest_s)
        else:  # it has until the end of its pause
            self._mark(occupant, rest_s)

    def _grant(self, occupant: Occupant, process: TrainingProcess, seconds: float) -> None:
        """The answer comes later: meanwhile it may have been paused, or its child have ended."""
        if occupant.wanted and occupant.process is process:
            process.grant(seconds)
            self._begins(occupant)

    # --- a child that does not end what it does --------------------------------------------------

    def _begins(self, occupant: Occupant, rest_s: float = 0.0) -> None:
        """It must say something before the deadline: it starts, trains a batch, tests, or writes.

        rest_s: that it sleeps first
        """
        self._mark(occupant, rest_s)
        work, tries = occupant.job.batch_work, occupant.tries
        self._expect(occupant, self._speed.deadline_s(work, tries))

    def _mark(self, occupant: Occupant, rest_s: float) -> None:
        """Note when it begins with what it does now."""
        occupant.since = self._clock.now() + rest_s
        occupant.waited_s = _waited_s(occupant)

    def _expect(self, occupant: Occupant, seconds: float) -> None:
        occupant.longest_s = seconds
        self._wait(occupant, seconds)

    def _wait(self, occupant: Occupant, seconds: float) -> None:
        _expect_nothing(occupant)
        due, waited_s = self._clock.now() + seconds, _waited_s(occupant)
        occupant.deadline = self._clock.after(
            seconds, partial(self._on_late, occupant, due, waited_s)
        )

    def _on_late(self, occupant: Occupant, due: float, waited_s: float) -> None:
        """Kill it: it goes on from its checkpoint.

        Time is not its own that the machine slept, or gave to others while it was ready to run.
        """
        longest_s, lacks_s = occupant.longest_s, _waited_s(occupant) - waited_s
        if self._clock.now() > due + STALLED_S:
            self._wait(occupant, longest_s)
            return
        if lacks_s >= WAITED_S:
            self._wait(occupant, lacks_s)
            return
        occupant.note = f"{_work_of(occupant)} did not end within {longest_s:.0f} s"
        self._kill(occupant)
        self._on_exit(occupant, KILLED)

    def _charge(self, occupant: Occupant) -> None:
        """Count what a child has worked since it last told, or woke: it may have been less."""
        if occupant.since is not None:
            waited_s = _waited_s(occupant) - occupant.waited_s
            worked_s = min(self._clock.now() - occupant.since - waited_s, occupant.longest_s)
            self._worked(max(0.0, worked_s))

    def _kill(self, occupant: Occupant) -> None:
        if occupant.process is not None:
            self._charge(occupant)
        _rests(occupant)
        if occupant.retry is not None:
            occupant.retry.cancel()
        if occupant.process is not None:
            occupant.process.kill()
            occupant.process = None

    def _on_exit(self, occupant: Occupant, code: int) -> None:
        result = occupant.job.result()
        if result is not None:
            self._drop(occupant)
            if self._closed is None:
                occupant.trainee.trained(occupant.job, result)
        elif not occupant.wanted:
            self._drop(occupant)
        elif code == 0:  # paused, and wanted again meanwhile
            self._next()
        elif code == Exit.CANNOT_WRITE:
            self._drop(occupant)
            occupant.trainee.disk_refused(occupant.note or "the disk refuses the update")
        else:
            self._try_again(occupant, occupant.note or _ending(code))
        if self._closed is not None and not self._occupants:
            self._closed()

    def _try_again(self, occupant: Occupant, reason: str) -> None:
        occupant.tries += 1
        plan = occupant.job.plan_id
        log.warning("training %s: %s (try %d)", plan.hex(), reason, occupant.tries)
        if occupant.tries >= MOST_TRIES:
            self._drop(occupant)
            occupant.trainee.training_failed(plan, reason)
        else:
            delay_s = RETRY_S * 2 ** (occupant.tries - 1)
            occupant.retry = self._clock.after(delay_s, lambda: self._spawn(occupant))

    def _drop(self, occupant: Occupant) -> None:
        if occupant.retry is not None:
            occupant.retry.cancel()
        if occupant in self._occupants:
            self._occupants.remove(occupant)
        self._last = occupant
        self._next()


def _expect_nothing(occupant: Occupant) -> None:
    if occupant.deadline is not None:
        occupant.deadline.cancel()


def _rests(occupant: Occupant) -> None:
    _expect_nothing(occupant)
    occupant.since = None


def _waited_s(occupant: Occupant) -> float:
    return 0.0 if occupant.process is None else occupant.process.waited_s()


def _work_of(occupant: Occupant) -> str:
    """Say what a child is at."""
    job, tests = occupant.job, occupant.job.recipe.total_tests
    if occupant.done < job.total_steps:
        return f"batch {occupant.done + 1} of {job.total_steps}"
    if occupant.tested < tests:
        return f"a piece of the test of {tests} answers"
    return "the writing of the result"


def _ending(code: int) -> str:
    return f"the child was ended by signal {-code}" if code < 0 else f"the child ended with {code}"
