"""Tasks that something of their own has stopped: others go on, and each is tried again by itself.

A damaged file, a task text of another version, a fault of ours: whatever it is, it is said in the
log and where the owner looks, with the file and the way out. It is tried again, since a person may
have mended it, or a disk may read today what it did not read yesterday.
"""

import logging
from collections.abc import Callable, Mapping

from fedling_protocol.classes import dataclass
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Clock, Timer

log = logging.getLogger(__name__)

FIRST_S, LONGEST_S = 2.0, 600.0


@dataclass(frozen=True, slots=True)
class Halted:
    """Why a task is stopped, and when it is tried again, by Clock.now()."""

    says: str
    until: float


class _Halt:
    """One task, since it was first stopped."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self.backoff = Backoff(FIRST_S, LONGEST_S, lambda: (1 + draw()) / 2)
        self.timer: Timer | None = None  # until it is tried again
        self.tried = 0.0
        self.halted: Halted | None = None  # None: it is at work


class Halts:
    """Who is stopped.

    way_out: says what a person can do about this error of a task
    count: called for each stop
    told: called when somebody is stopped, or is not any more
    again: tries a task again: then add() or begun() tells what came of it
    """

    def __init__(
        self,
        clock: Clock,
        draw: Callable[[], float],
        way_out: Callable[[str, Exception], str],
        count: Callable[[], None],
        told: Callable[[], None],
        again: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._draw = draw
        self._way_out = way_out
        self._count = count
        self._told = told
        self._again = again
        self._halts: dict[str, _Halt] = {}

    @property
    def halted(self) -> Mapping[str, Halted]:
        """By task."""
        return {task: halt.halted for task, halt in self._halts.items() if halt.halted is not None}

    def __contains__(self, task: str) -> bool:
        return task in self.halted

    def add(self, task: str, error: Exception) -> None:
        """Stop a task: it has no runner any more."""
        halt = self._halts.setdefault(task, _Halt(self._draw))
        if halt.timer is not None:
            return
        self._count()
        halt.backoff.lived(self._clock.now() - halt.tried)
        wait_s = halt.backoff.next_s()
        says = f"{mishaps.sentence(error)}; {self._way_out(task, error)}"
        log.error("task %s is stopped, others go on: %s; next try in %.0f s", task, says, wait_s)
        halt.halted = Halted(says, self._clock.now() + wait_s)
        halt.timer = self._clock.after(wait_s, lambda: self._try(task))
        self._told()

    def begun(self, task: str) -> None:
        """It has a runner again, if it was stopped."""
        halt = self._halts.get(task)
        if halt is None or halt.halted is None:
            return
        if halt.timer is not None:  # by another way than ours: what stops it next is to be heard
            halt.timer.cancel()
            halt.timer, halt.tried = None, self._clock.now()
        halt.halted = None
        self._told()

    def forget(self, task: str) -> None:
        """It was changed, or is no more: what is left of it begins anew at once."""
        halt = self._halts.pop(task, None)
        if halt is not None and halt.timer is not None:
            halt.timer.cancel()
        if halt is not None and halt.halted is not None:
            self._told()

    def close(self) -> None:
        """Try nothing: all tasks begin anew, or the service ends."""
        for task in list(self._halts):
            self.forget(task)

    def _try(self, task: str) -> None:
        halt = self._halts[task]
        halt.timer, halt.tried = None, self._clock.now()
        log.info("task %s is tried again", task)
        self._again(task)
