"""The parent's end of a training child: start it, feed it leases, hear what it did.

No loop and no thread of its own: register fileno() for reading, call on_readable() then.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from fedling_agent.training.job import Job

LONGEST_LINE = 1024  # a child that went mad does not fill our memory


@dataclass(frozen=True, slots=True)
class Step:
    """`done` of `total` batches; the first one tells where it begins."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Asked:
    """It waits for a lease before it trains another batch."""


@dataclass(frozen=True, slots=True)
class Done:
    """job.result() is on disk."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth a line in the log: a damaged checkpoint."""

    text: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The last event. 0: done, or paused with a checkpoint; negative: the signal that killed it."""

    code: int


ChildEvent = Step | Asked | Done | Note | Exited


class TrainingProcess:
    """One child on one job."""

    def __init__(self, job: Job, *, duty: float, checkpoint_s: float) -> None:
        """duty: share of one core, 0 < duty <= 1; checkpoint_s: longest work that a kill undoes."""
        # -P: the current folder is no place to import from
        self._command = [
            *(sys.executable, "-P", "-m", "fedling_agent.training.trainer"),
            *(str(job.directory), str(duty), str(checkpoint_s)),
        ]
        self._child: subprocess.Popen[bytes] | None = None
        self._fd = -1
        self._line = b""

    @property
    def pid(self) -> int | None:
        """Of the child, once it was started."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Spawn it. Raises OSError if the system has no process left."""
        self._child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._fd = self._child.stdout.fileno()
        os.set_blocking(self._fd, False)
        os.set_blocking(self._child.stdin.fileno(), False)

    def fileno(self) -> int:
        """Of its standard output; -1 when it has gone."""
        return self._fd

    def on_readable(self) -> list[ChildEvent]:
        """What it has said; ends with Exited when it has gone (then unregister fileno)."""
        try:
            data = os.read(self._fd, 65_536)
        except BlockingIOError:
            return []
        if not data:
            return [Exited(self._reap())]
        *lines, self._line = (self._line + data).split(b"\n")
        self._line = self._line[:LONGEST_LINE]
        return [event for line in lines if (event := _parse(line)) is not None]

    def grant(self, seconds: float) -> None:
        """It may begin batches for so long from now."""
        if self._child is None or self._child.stdin is None or self._child.stdin.closed:
            return
        until_ns = time.monotonic_ns() + int(seconds * 1e9)
        # A child that is gone is told by on_readable; one that reads nothing asks for nothing.
        with suppress(BrokenPipeError, BlockingIOError):
            os.write(self._child.stdin.fileno(), b"lease %d\n" % until_ns)

    def stop(self) -> None:
        """Pause: it finishes the batch, writes a checkpoint, exits 0."""
        if self._child is not None:
            self._child.terminate()

    def kill(self) -> None:
        """At once, without a checkpoint, and wait for its end."""
        if self._child is not None and self._fd >= 0:
            self._child.kill()
            self._reap()

    def _reap(self) -> int:
        child = self._child
        assert child is not None
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()
        self._fd = -1
        return child.wait()


def _parse(line: bytes) -> ChildEvent | None:
    """None: nothing that we know, as after a write that a kill cut short."""
    match line.split(b" "):
        case [b"step", done, total] if done.isdigit() and total.isdigit():
            return Step(int(done), int(total))
        case [b"ask"]:
            return Asked()
        case [b"done"]:
            return Done()
        case [b"note", *words]:
            return Note(b" ".join(words).decode(errors="replace"))
    return None
