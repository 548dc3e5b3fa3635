"""The one training slot of a device: whose child runs, who waits for it, what became of it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from fedling_agent.training.job import Job
from fedling_agent.training.process import (
    Asked,
    ChildEvent,
    Done,
    Exited,
    Note,
    Step,
    TrainingProcess,
)
from fedling_protocol.exits import Exit
from fedling_protocol.net.ports import Done as Call
from fedling_protocol.runtime.loop import READ, Loop, Timer

log = logging.getLogger(__name__)

MOST_TRIES = 3  # children that end badly without a step
RETRY_S = 2.0  # before the next try, doubled each time
FAREWELL_S = 20.0  # a child that does not end by then is killed; it starts from its checkpoint


class Trainee(Protocol):
    """Who wants a training."""

    def lease(self, grant: Callable[[float], None]) -> None:
        """Call grant(seconds), when it is known that batches may begin for so long from then.

        Never, when they may not: it will be paused.
        """

    def trained(self, job: Job) -> None:
        """job.result() is there."""

    def training_failed(self, plan_id: bytes, reason: str) -> None:
        """Tried again and again, in vain."""

    def disk_refused(self, reason: str) -> None:
        """The child could not write its result."""


@dataclass(slots=True)
class Occupant:
    """One job, from its start() to its end, over any number of children."""

    job: Job
    trainee: Trainee
    process: TrainingProcess | None = None
    wanted: bool = True  # False: pausing
    tries: int = 0
    done: int = 0  # batches
    note: str = ""  # the child's last word about itself
    retry: Timer | None = field(default=None)

    @property
    def running(self) -> bool:
        return self.process is not None


class Slot:
    """One child at a time; who comes second waits."""

    def __init__(self, loop: Loop, *, duty: float, checkpoint_s: float) -> None:
        self._loop = loop
        self._duty = duty
        self._checkpoint_s = checkpoint_s
        self._runs: list[Occupant] = []  # the first one has the slot
        self._last: Occupant | None = None  # for status: how far the one that was paused has come
        self._closed: Call | None = None

    def find(self, plan_id: bytes) -> Occupant | None:
        """The run of this plan, if it has or waits for the slot."""
        return next((run for run in self._runs if run.job.plan_id == plan_id), None)

    def progress(self, plan_id: bytes) -> Occupant | None:
        """The run of this plan, also if it was the last to be paused."""
        last = self._last if self._last and self._last.job.plan_id == plan_id else None
        return self.find(plan_id) or last

    @property
    def pid(self) -> int | None:
        """Of the child, if one runs."""
        process = self._runs[0].process if self._runs else None
        return None if process is None else process.pid

    def start(self, job: Job, trainee: Trainee) -> None:
        """Train, or go on; a run that is being paused goes on when its child has ended."""
        run = self.find(job.plan_id)
        if run is None:
            self._runs.append(Occupant(job, trainee, done=job.done_steps()))
        else:
            run.wanted = True
        self._next()

    def pause(self, plan_id: bytes) -> None:
        """Have the child finish its batch and write a checkpoint."""
        run = self.find(plan_id)
        if run is None:
            return
        run.wanted = False
        if run.process is not None:
            run.process.stop()
        else:
            self._drop(run)

    def cancel(self, plan_id: bytes) -> None:
        """End it at once; nothing of it is wanted any more."""
        run = self.find(plan_id)
        if run is not None:
            self._kill(run)
            self._drop(run)

    def clear(self) -> None:
        """End all at once; what is on disk stays."""
        for run in self._runs:
            self._kill(run)
        self._runs.clear()

    def close(self, done: Call) -> None:
        """Pause the child for good; done is called when it has ended."""
        self._closed = done
        for run in list(self._runs):
            self.pause(run.job.plan_id)
        if self._runs:
            self._loop.after(FAREWELL_S, self._kill_late)
        else:
            self._loop.after(0, done)

    # --- the child -------------------------------------------------------------------------------

    def _next(self) -> None:
        """Give the slot to the first who waits."""
        if self._closed is not None or not self._runs:
            return
        run = self._runs[0]
        if run.process is None and run.retry is None:
            self._spawn(run)

    def _spawn(self, run: Occupant) -> None:
        run.retry = None
        process = TrainingProcess(run.job, duty=self._duty, checkpoint_s=self._checkpoint_s)
        try:
            process.start()
        except OSError as error:  # no memory, no process left
            self._try_again(run, error.strerror or str(error))
            return
        run.process = process
        self._loop.watch(process.fileno(), READ, lambda _events: self._on_readable(run))

    def _on_readable(self, run: Occupant) -> None:
        process = run.process
        assert process is not None
        fd = process.fileno()
        for event in process.on_readable():
            if isinstance(event, Exited):
                self._loop.unwatch(fd)
            self._on_event(run, event)
            if run.process is not process:  # cancelled by what it brought about
                return

    def _on_event(self, run: Occupant, event: ChildEvent) -> None:
        match event:
            case Step(done=done):
                run.tries = 0 if done > run.done else run.tries
                run.done = done
            case Asked():
                if run.wanted and run.process is not None:
                    run.trainee.lease(partial(self._grant, run, run.process))
            case Note(text=text):
                run.note = text
                log.warning("training %s: %s", run.job.plan_id.hex(), text)
            case Done():
                pass  # it exits now
            case Exited(code=code):
                run.process = None
                self._on_exit(run, code)

    def _grant(self, run: Occupant, process: TrainingProcess, seconds: float) -> None:
        """The answer comes later: meanwhile it may have been paused, or its child have ended."""
        if run.wanted and run.process is process:
            process.grant(seconds)

    def _on_exit(self, run: Occupant, code: int) -> None:
        if run.job.result() is not None:
            self._drop(run)
            if self._closed is None:
                run.trainee.trained(run.job)
        elif not run.wanted:
            self._drop(run)
        elif code == 0:  # paused, and wanted again meanwhile
            self._next()
        elif code == Exit.CANNOT_WRITE:
            self._drop(run)
            run.trainee.disk_refused(run.note or "the disk refuses the update")
        else:
            self._try_again(run, run.note or _ending(code))
        if self._closed is not None and not self._runs:
            self._closed()

    def _try_again(self, run: Occupant, reason: str) -> None:
        run.tries += 1
        log.warning("training %s: %s (try %d)", run.job.plan_id.hex(), reason, run.tries)
        if run.tries >= MOST_TRIES:
            self._drop(run)
            run.trainee.training_failed(run.job.plan_id, reason)
        else:
            delay_s = RETRY_S * 2 ** (run.tries - 1)
            run.retry = self._loop.after(delay_s, lambda: self._spawn(run))

    def _drop(self, run: Occupant) -> None:
        if run.retry is not None:
            run.retry.cancel()
        if run in self._runs:
            self._runs.remove(run)
        self._last = run
        self._next()

    def _kill(self, run: Occupant) -> None:
        if run.retry is not None:
            run.retry.cancel()
        if run.process is not None:
            self._loop.unwatch(run.process.fileno())
            run.process.kill()
            run.process = None

    def _kill_late(self) -> None:
        if self._runs and self._closed is not None:
            self.clear()
            self._closed()


def _ending(code: int) -> str:
    return f"the child was ended by signal {-code}" if code < 0 else f"the child ended with {code}"
