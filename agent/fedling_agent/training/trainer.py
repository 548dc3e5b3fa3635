"""The training child: `python -m fedling_agent.training.trainer JOBDIR DUTY CHECKPOINT_S`.

It trains a batch only while it has a lease. On standard input the parent writes

    lease T     batches may begin until CLOCK_MONOTONIC reads T nanoseconds

and on standard output the child writes

    step K N U  K of N batches are done; once at the start, then after each batch, which took U
                microseconds of a processor
    ask         a batch is due and the lease has run out
    note TEXT   for the log
    test K N U  K of N answers about windows that were held out are tested, after each piece
    done        the result is on disk

SIGTERM, SIGINT or the end of standard input: it finishes the batch, writes a checkpoint, exits 0.
It imports little, since it is started again after every pause.
"""

import ctypes
import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Protocol

from fedling_agent.training.held_out import HeldOutTest
from fedling_agent.training.job import Checkpoint, Damaged, Job
from fedling_agent.training.local_sgd import LocalSgd
from fedling_protocol.exits import Exit

INPUT, OUTPUT = 0, 1
PR_SET_PDEATHSIG = 1
LONGEST_POLL_S = 86_400.0  # poll() counts milliseconds in an int: 24 days


class _Stop(Exception):
    """The parent wants a pause, or is gone."""


class Parent:
    """The other end: leases in, words out."""

    def __init__(self) -> None:
        self._lease_ns = 0
        self._answered = False
        self._line = b""
        self._stopped = False
        self._wake, wake = os.pipe()
        for fd in (INPUT, self._wake, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._poll = select.poll()
        self._poll.register(INPUT, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)

    def say(self, words: str) -> None:
        """Say one line. Raises _Stop if nobody listens any more."""
        try:
            os.write(OUTPUT, words.encode() + b"\n")
        except BrokenPipeError:
            raise _Stop from None

    def wait_for_lease(self) -> None:
        """Return when a batch may begin. Raises _Stop."""
        self.listen(0)
        while time.monotonic_ns() >= self._lease_ns:
            self._answered = False
            self.say("ask")
            while not self._answered:  # an answer may come so late that it has run out
                self.listen(None)

    def sleep(self, seconds: float) -> None:
        """Wait so long. Raises _Stop when it is stopped meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.listen(min(left, LONGEST_POLL_S))

    def listen(self, timeout_s: float | None) -> None:
        """Take in what the parent says until a time. Raises _Stop."""
        # poll() counts whole milliseconds: rounded up, or a sleep of less would spin.
        for fd, _ in self._poll.poll(None if timeout_s is None else -int(-timeout_s * 1000 // 1)):
            if fd == INPUT:
                self._read()
        if self._stopped:
            raise _Stop

    def _read(self) -> None:
        data = os.read(INPUT, 4096)
        if not data:
            raise _Stop
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            word, _, value = line.partition(b" ")
            if word == b"lease" and value.isdigit():
                self._lease_ns = int(value)
                self._answered = True

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopped = True


class Steps(Protocol):
    """What is done a step at a time, and may be gone on with by another child."""

    @property
    def done(self) -> int: ...

    @property
    def finished(self) -> bool: ...

    def step(self) -> None: ...


class Kept:
    """Steps, and how far they are on disk."""

    def __init__(self, steps: Steps, write: Callable[[], None], every_s: float) -> None:
        self.steps = steps
        self._write = write
        self._every_s = every_s
        self._saved, self._saved_at = steps.done, time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self._every_s

    def save(self) -> None:
        """Write how far they are, if that is further than what is written."""
        if self.steps.done != self._saved:
            self._write()
            self._saved, self._saved_at = self.steps.done, time.monotonic()


def die_with_parent() -> None:
    """A parent that is killed cannot tell: the kernel sends us what it would have sent."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def lock(job: Job) -> int:
    """Wait until the child before us is gone; a signal still ends us at once, nothing is begun."""
    handle = os.open(job.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def train(job: Job, parent: Parent, duty: float, checkpoint_s: float) -> None:
    """Train from the checkpoint to the result. Raises Damaged, OSError."""
    if job.result() is not None:
        parent.say("done")
        return
    with job.examples() as examples:
        run = LocalSgd(job.recipe, job.base(), examples, find_checkpoint(job, parent))
        try:
            work(run, job, parent, duty, checkpoint_s)
        finally:
            run.close()
    parent.say("done")


def find_checkpoint(job: Job, parent: Parent) -> Checkpoint | None:
    """Find where to go on; a damaged checkpoint costs its batches, no more."""
    try:
        return job.checkpoint()
    except Damaged as error:
        parent.say(f"note {error}; training starts again from the first batch")
        return None


def work(run: LocalSgd, job: Job, parent: Parent, duty: float, checkpoint_s: float) -> None:
    """Train what is left, then write the result; a checkpoint now and then, and at a _Stop."""
    kept = Kept(run, partial(save, run, job, parent), checkpoint_s)
    try:
        parent.say(f"step {run.done} {job.total_steps} 0")
        go_on(kept, parent, duty, f"step {{}} {job.total_steps}")
        models = [job.base(), run.weights()] if job.recipe.personal else [job.base()]
        examine(job, models, parent, duty, checkpoint_s)
    except _Stop:
        kept.save()
        raise
    job.write_result(*run.result())


def examine(
    job: Job, models: Sequence[bytes], parent: Parent, duty: float, checkpoint_s: float
) -> None:
    """Test models on what was held out, if anything was and its file is whole."""
    test = begin_test(job, models, parent)
    if test is None:
        return
    kept = Kept(test, partial(save_tally, test, job), checkpoint_s)
    try:
        go_on(kept, parent, duty, f"test {{}} {job.recipe.total_tests}")
    except _Stop:
        kept.save()
        raise
    job.write_tally(test.tally)


def go_on(kept: Kept, parent: Parent, duty: float, words: str) -> None:
    """Do what is left, a step at a time, while there is a lease. Raises _Stop.

    words: say how far it is
    """
    steps = kept.steps
    while not steps.finished:
        parent.wait_for_lease()
        begun = time.thread_time()
        steps.step()
        spent = time.thread_time() - begun
        parent.say(f"{words.format(steps.done)} {spent * 1e6:.0f}")
        if kept.is_due():
            kept.save()
        if not steps.finished:
            parent.sleep(spent * (1 / duty - 1))


def begin_test(job: Job, models: Sequence[bytes], parent: Parent) -> HeldOutTest | None:
    """Begin the test of models, or go on with it; None: there is nothing to test on."""
    try:
        tests = job.tests()
    except Damaged as error:
        parent.say(f"note {error}; nothing is tested")
        return None
    return HeldOutTest(job.recipe, models, tests, job.tally()) if tests else None


def save_tally(test: HeldOutTest, job: Job) -> None:
    """Write how far the test has come; where a full disk refuses it the test begins anew."""
    with suppress(OSError):
        job.write_tally(test.tally)


def save(run: LocalSgd, job: Job, parent: Parent) -> None:
    """Write a checkpoint; that a full disk refuses it costs no more than a kill before it."""
    try:
        job.write_checkpoint(run.checkpoint())
    except OSError as error:
        with suppress(_Stop):
            parent.say(f"note checkpoint not written: {error.strerror}")


def main(arguments: list[str]) -> int:
    """Run the child; returns its exit status. What goes wrong is said in a note."""
    directory, duty, checkpoint_s = arguments
    die_with_parent()
    parent: Parent | None = None
    try:
        job = Job.open(Path(directory))
        lock(job)  # held to our end
        parent = Parent()
        train(job, parent, float(duty), float(checkpoint_s))
    except _Stop:
        pass
    except (Damaged, OSError) as error:
        os.write(OUTPUT, f"note {error}\n".encode())
        return Exit.FAILED if isinstance(error, Damaged) else Exit.CANNOT_WRITE
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
