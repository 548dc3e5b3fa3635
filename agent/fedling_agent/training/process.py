"""The parent's end of a training child: start it, feed it leases, hear what it did."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Protocol

from fedling_agent.training import yielding
from fedling_agent.training.job import Job
from fedling_protocol.classes import dataclass
from fedling_protocol.runtime.loop import READ, Loop

log = logging.getLogger(__name__)

LONGEST_LINE = 1024  # a child that went mad does not fill our memory
REAP_S = 0.02  # a child that is gone is looked for so often: a wait would hold the loop


@dataclass(frozen=True, slots=True)
class Step:
    """A batch is done: `done` of `total`; the first event tells where training begins."""

    done: int
    total: int
    spent_s: float = 0.0  # of a processor, for this batch


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the test is done: `done` of `total` answers."""

    done: int
    total: int
    spent_s: float = 0.0  # of a processor, for this piece


@dataclass(frozen=True, slots=True)
class Asked:
    """The child waits for a lease before it trains another batch."""


@dataclass(frozen=True, slots=True)
class Done:
    """The training has finished: job.result() is on disk."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth a line in the log: a damaged checkpoint."""

    text: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The child has ended. 0: done, or paused with a checkpoint; negative: the signal's number."""

    code: int


ChildEvent = Step | Piece | Asked | Done | Note | Exited
Tell = Callable[[ChildEvent], None]


class TrainingProcess(Protocol):
    """What trains one job beside the service; a simulation has its own."""

    @property
    def pid(self) -> int | None:
        """The child's process id, once it was started."""

    def waited_s(self) -> float:
        """How long the child has waited for a processor that others had, since its start."""

    def start(self, tell: Tell) -> None:
        """Spawn the child; what it says is told from the loop. Raises OSError."""

    def grant(self, seconds: float) -> None:
        """Let the child begin batches for so long from now."""

    def stop(self) -> None:
        """Pause the child: it finishes the batch, writes a checkpoint, exits 0."""

    def kill(self) -> None:
        """End the child at once, without a checkpoint; nothing is told any more."""


MakeProcess = Callable[[Job], TrainingProcess]


class ChildProcess:
    """A child that runs `fedling_agent.training.trainer` on one job."""

    def __init__(
        self,
        loop: Loop,
        job: Job,
        *,
        duty: float,
        checkpoint_s: float,
        only_idle: bool,
        children: set[int],
    ) -> None:
        """duty: share of one core, 0 < duty <= 1; checkpoint_s: longest work that a kill undoes

        only_idle: it takes what others leave of processors and disks; children: process ids of
        those that live, among which it is while it does
        """
        self._loop = loop
        self._children = children
        self._only_idle = only_idle
        # -P: the current folder is no place to import from
        self._command = [
            *(sys.executable, "-P", "-m", "fedling_agent.training.trainer"),
            *(str(job.directory), str(duty), str(checkpoint_s)),
        ]
        self._child: subprocess.Popen[bytes] | None = None
        self._tell: Tell | None = None
        self._line = b""
        self._waited_s = 0.0

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    def waited_s(self) -> float:
        if self._child is not None and self._child.returncode is None:
            self._waited_s = yielding.waited_s(self._child.pid) or self._waited_s
        return self._waited_s

    def start(self, tell: Tell) -> None:
        self._child = child = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # The unit's words to glibc spare memory; a batch would cost page faults.
            env={k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")},
            start_new_session=True,  # which may be nicer than ours; and a Ctrl-C is for us
        )
        self._children.add(child.pid)
        if self._only_idle:  # before it has done anything
            for refusal in yielding.yield_to_others(child.pid):
                _note_refusal(refusal)
        self._tell = tell
        assert child.stdin is not None
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        os.set_blocking(child.stdin.fileno(), False)
        self._loop.watch(child.stdout.fileno(), READ, self._on_readable)

    def grant(self, seconds: float) -> None:
        child = self._child
        if child is None or child.stdin is None or child.stdin.closed:
            return
        until_ns = time.monotonic_ns() + int(seconds * 1e9)
        # A child that is gone is told by _on_readable; one that reads nothing asks for nothing.
        with suppress(BrokenPipeError, BlockingIOError):
            os.write(child.stdin.fileno(), b"lease %d\n" % until_ns)

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()

    def kill(self) -> None:
        child = self._child
        if child is None or self._tell is None:
            return
        self._tell = None
        child.kill()
        if child.stdout is not None and not child.stdout.closed:  # else its end is awaited
            self._hang_up()

    def _on_readable(self, _events: int) -> None:
        child = self._child
        assert child is not None
        assert child.stdout is not None
        try:
            data = os.read(child.stdout.fileno(), 65_536)
        except BlockingIOError:
            return
        if not data:
            self._hang_up()
            return
        *lines, self._line = (self._line + data).split(b"\n")
        self._line = self._line[:LONGEST_LINE]
        for line in lines:
            event = _parse(line)
            if event is not None and self._tell is not None:
                self._tell(event)

    def _hang_up(self) -> None:
        """Close the channel of a child that has ended, or is about to."""
        child = self._child
        assert child is not None
        assert child.stdout is not None
        self._loop.unwatch(child.stdout.fileno())
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()
        self._reap()

    def _reap(self) -> None:
        """A child that the kernel keeps in a disk's queue does not die at once."""
        assert self._child is not None
        code = self._child.poll()
        if code is None:
            self._loop.after(REAP_S, self._reap)
            return
        self._children.discard(self._child.pid)
        if self._tell is not None:
            tell, self._tell = self._tell, None
            tell(Exited(code))


@cache
def _note_refusal(refusal: str) -> None:
    """Log it once: it is refused to every child."""
    log.debug("training yields to others as far as it may: %s", refusal)


def _parse(line: bytes) -> ChildEvent | None:
    """Read a line of the child; None: not one that we know, as when a kill cut it short."""
    match line.split(b" "):
        case [b"step" | b"test" as word, *numbers] if len(numbers) == 3 and all(
            n.isdigit() for n in numbers
        ):
            done, total, spent_us = map(int, numbers)
            event = Step if word == b"step" else Piece
            return event(done, total, spent_us / 1e6)
        case [b"ask"]:
            return Asked()
        case [b"done"]:
            return Done()
        case [b"note", *words]:
            return Note(b" ".join(words).decode(errors="replace"))
    return None
