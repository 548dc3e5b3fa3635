"""The parent's end of a training child: start it, feed it leases, hear what it did.

No loop and no thread of its own: register fileno() for reading, call on_readable() then.
"""

from dataclasses import dataclass

from fedling_agent.job import Job

LEASE_NS = 200_000_000  # conditions older than this are read again before a batch


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
        raise NotImplementedError

    def start(self) -> None:
        """Spawn it. Raises CannotWrite or OSError if the system has no process left."""
        raise NotImplementedError

    def fileno(self) -> int:
        """Of its standard output."""
        raise NotImplementedError

    def on_readable(self) -> list[ChildEvent]:
        """What it has said; ends with Exited when it has gone (then unregister fileno)."""
        raise NotImplementedError

    def grant(self, until_ns: int) -> None:
        """It may begin batches until CLOCK_MONOTONIC reads until_ns: readings.at_ns + LEASE_NS."""
        raise NotImplementedError

    def stop(self) -> None:
        """Pause: it finishes the batch, writes a checkpoint, exits 0."""
        raise NotImplementedError

    def kill(self) -> None:
        """At once, without a checkpoint, and wait for its end."""
        raise NotImplementedError
