"""A training child in virtual time: it takes its time and its leases, and computes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

from fedling_agent.training.job import Checkpoint, Damaged, Job, Tally
from fedling_agent.training.process import Asked, ChildEvent, Done, Exited, Note, Step, Tell
from fedling_native import weights_size
from fedling_protocol.classes import dataclass
from fedling_protocol.exits import Exit
from fedling_protocol.runtime.loop import Timer
from fedling_protocol.wire.messages import Hits
from fedling_sim.virtual.clock import NodeClock


def _no_fault(_job: Job) -> str | None:
    return None


def _no_batch(_job: Job) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the children of a board work.

    fault: why the child of this job ends badly before its first batch; None: it does not
    on_batch: told when a batch begins
    """

    batch_s: float = 1.0
    checkpoint_s: float = 300.0  # the longest work that a kill undoes
    fault: Callable[[Job], str | None] = _no_fault
    on_batch: Callable[[Job], None] = _no_batch


class VirtualTraining:
    """A TrainingProcess. It dies with its parent, whose clock then runs no more."""

    def __init__(self, clock: NodeClock, pace: Pace, job: Job) -> None:
        self.pid: int | None = None
        self._clock = clock
        self._pace = pace
        self._job = job
        self._tell: Tell | None = None
        self._done = self._saved = 0  # batches; of them in the checkpoint
        self._saved_at = 0.0
        self._lease_until = float("-inf")
        self._batch: Timer | None = None
        self._stopped = False

    def waited_s(self) -> float:
        return 0.0  # nobody else runs on its board

    def start(self, tell: Tell) -> None:
        self._tell = tell
        self._clock.after(0, self._begin)

    def grant(self, seconds: float) -> None:
        self._lease_until = self._clock.now() + seconds
        if self._tell is not None and self._batch is None:
            self._next()

    def stop(self) -> None:
        """Between two batches at once, else after this one."""
        self._stopped = True
        if self._batch is None:
            self._clock.after(0, self._pause)

    def kill(self) -> None:
        self._tell = None
        if self._batch is not None:
            self._batch.cancel()

    def _begin(self) -> None:
        fault = self._pace.fault(self._job)
        if fault is not None:
            self._say(Note(fault))
            self._exit(Exit.FAILED)
        elif self._job.result() is not None:
            self._say(Done())
            self._exit(Exit.OK)
        else:
            self._done = self._saved = self._restore()
            self._saved_at = self._clock.now()
            self._say(Step(self._done, self._job.total_steps))
            self._next()

    def _restore(self) -> int:
        try:
            checkpoint = self._job.checkpoint()
        except Damaged:
            return 0
        return 0 if checkpoint is None else checkpoint.steps

    def _next(self) -> None:
        """A batch, if there is one left and a lease for it."""
        if self._stopped or self._tell is None:
            return
        if self._done >= self._job.total_steps:
            self._finish()
        elif self._clock.now() >= self._lease_until:
            self._say(Asked())
        else:
            self._pace.on_batch(self._job)
            self._batch = self._clock.after(self._pace.batch_s, self._on_batch)

    def _on_batch(self) -> None:
        self._batch = None
        self._done += 1
        self._say(Step(self._done, self._job.total_steps, self._pace.batch_s))
        if self._clock.now() - self._saved_at >= self._pace.checkpoint_s:
            self._save()
        if self._stopped:
            self._pause()
        else:
            self._next()

    def _save(self) -> None:
        base = self._job.base()
        self._job.write_checkpoint(Checkpoint(self._done, base, b""))
        self._saved, self._saved_at = self._done, self._clock.now()

    def _pause(self) -> None:
        if self._tell is None:
            return
        if self._done >= self._job.total_steps:  # the last one had begun
            self._finish()
            return
        if self._done != self._saved:
            self._save()
        self._exit(Exit.OK)

    def _finish(self) -> None:
        if self._job.recipe.tests:
            self._job.write_tally(made_up_test(self._job))
        self._job.write_result(made_up_vector(self._job), 0)
        self._say(Done())
        self._exit(Exit.OK)

    def _say(self, event: ChildEvent) -> None:
        if self._tell is not None:
            self._tell(event)

    def _exit(self, code: int) -> None:
        """Told after what was said before."""
        tell, self._tell = self._tell, None
        if tell is not None:
            self._clock.after(0, partial(tell, Exited(code)))


def made_up_vector(job: Job) -> bytes:
    """Small integers that follow from what a training's result follows from."""
    recipe = job.recipe
    size = weights_size(recipe.layers)
    drawn = hashlib.shake_128(recipe.frozen_hash + recipe.seed + recipe.base_sum).digest(size // 2)
    spread = bytearray(size)
    spread[::2] = drawn  # every other byte stays 0: no sum comes near its limit
    return bytes(spread)


def made_up_test(job: Job) -> Tally:
    """The windows that were held out, each told right or wrong as a hash will have it."""
    recipe, tests = job.recipe, job.tests()
    labels = tests[len(tests) - recipe.tests :]
    said = hashlib.shake_128(recipe.tests_sum + recipe.base_sum).digest(recipe.tests)
    right = [label for label, byte in zip(labels, said, strict=True) if byte < 128]
    classes = range(recipe.layers[-1].outputs)
    hits = tuple(Hits(labels.count(k), right.count(k)) for k in classes)
    return Tally(recipe.tests, hits)
