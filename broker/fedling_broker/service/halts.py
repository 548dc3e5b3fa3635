"""Tasks that something of their own has stopped: others go on, and each is tried again by itself.

A damaged file, a task text of another version, a fault of ours: whatever it is, it is said in the
log and by `task list`, with the file and the way out, and it is tried again, since a person may
have mended it, or a disk may read today what it did not read yesterday.
"""

import logging
from collections.abc import Callable, Mapping

from fedling_broker.service.holding import Notice
from fedling_broker.store.shelf import Damaged
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Clock, Timer
from fedling_protocol.settings import SettingsError

log = logging.getLogger(__name__)

FIRST_S, LONGEST_S = 2.0, 600.0
WAIT_S = 60  # what a device is told at least: it need not ask again before


class _Halt:
    """One task, since it was first stopped."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self.backoff = Backoff(FIRST_S, LONGEST_S, lambda: (1 + draw()) / 2)
        self.timer: Timer | None = None  # until it is tried again; None: it is at work
        self.tried = 0.0
        self.notice: Notice | None = None


class Halts:
    """Who is stopped. told: called with all notices, by task, when they change. again: tries one"""

    def __init__(
        self,
        clock: Clock,
        draw: Callable[[], float],
        told: Callable[[Mapping[str, Notice]], None],
        again: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._draw = draw
        self._told = told
        self._again = again
        self._halts: dict[str, _Halt] = {}

    def __contains__(self, task: str) -> bool:
        halt = self._halts.get(task)
        return halt is not None and halt.timer is not None

    def wait_s(self, task: str) -> int:
        """Tell how long a device that asks for a stopped task may wait."""
        halt = self._halts[task]
        assert halt.timer is not None
        return max(WAIT_S, int(halt.timer.due - self._clock.now()))

    def add(self, task: str, error: Exception) -> None:
        """Stop a task: it has no runner any more."""
        halt = self._halts.setdefault(task, _Halt(self._draw))
        if halt.timer is not None:
            return
        halt.backoff.lived(self._clock.now() - halt.tried)
        wait_s = halt.backoff.next_s()
        says = f"{mishaps.sentence(error)}; {way_out(task, error)}"
        log.error("task %s is stopped, others go on: %s; next try in %.0f s", task, says, wait_s)
        halt.timer = self._clock.after(wait_s, lambda: self._try(task))
        halt.notice = Notice(f"is stopped: {says}", self._clock.wall() + wait_s)
        self._tell()

    def forget(self, task: str) -> None:
        """It was changed, or is no more: what is left of it begins anew at once."""
        halt = self._halts.pop(task, None)
        if halt is not None and halt.timer is not None:
            halt.timer.cancel()
            self._tell()

    def close(self) -> None:
        """Try nothing: all tasks begin anew, or the service ends."""
        for task in list(self._halts):
            self.forget(task)

    def _try(self, task: str) -> None:
        halt = self._halts[task]
        halt.timer, halt.notice, halt.tried = None, None, self._clock.now()
        log.info("task %s is tried again", task)
        self._tell()
        self._again(task)

    def _tell(self) -> None:
        self._told({t: halt.notice for t, halt in self._halts.items() if halt.notice is not None})


def way_out(task: str, error: Exception) -> str:
    """Say what a person can do about it."""
    if isinstance(error, Damaged):
        return (
            "put the file back from a backup, or begin the round anew from an older model: "
            f"fedling-broker model rollback {task} VERSION"
        )
    if isinstance(error, SettingsError):
        return f"mend it: fedling-broker task update {task} FILE, or task remove {task}"
    return f"if it stays so, this is a fault of fedling: report it, or task remove {task}"
