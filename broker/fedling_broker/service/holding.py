"""Tasks whose model the MQTT broker cuts the connection for: they wait, so that others go on.

MQTT 3.1.1 has no word for the largest packet that a broker takes: it is learned from what was on
its way when the connection was cut. Once may be chance; from the second time on the task is held
back, twice as long each time, until the broker acknowledges what it did not take. A link that dies
without any such message dies by itself: then nobody is blamed for what was before.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial

from fedling_broker.service.notices import Notice
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Clock, Timer

log = logging.getLogger(__name__)

CUTS = 2  # in a row
FIRST_S, LONGEST_S = 5.0, 6 * 3600.0  # a link that failed twice by chance costs seconds

Call = Callable[[], None]


class _Hold:
    """One task, since its message was first on its way when the connection was cut."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self.what = ""
        self.cuts = 0
        self.backoff = Backoff(FIRST_S, LONGEST_S, lambda: (1 + draw()) / 2)
        self.until = 0.0
        self.timer: Timer | None = None
        self.notice: Notice | None = None


class Holding:
    """Who is held back. told: called with all notices, by task, when they change"""

    def __init__(
        self,
        clock: Clock,
        draw: Callable[[], float],
        told: Callable[[Mapping[str, Notice]], None],
    ) -> None:
        self._clock = clock
        self._draw = draw
        self._told = told
        self._holds: dict[str, _Hold] = {}
        self._blamed = False  # a message was on its way when the connection was cut

    def connected(self) -> None:
        """Hear that the MQTT broker has accepted us."""
        self._blamed = False

    def lost(self) -> None:
        """Hear that the connection has ended, or that none was made, after any cut()."""
        if not self._blamed:
            for task in list(self._holds):
                self.forget(task)

    def cut(self, task: str, what: str, size: int) -> None:
        """Hear that the connection was cut while this message of the task was on its way."""
        self._blamed = True
        hold = self._holds.get(task)
        if hold is None or hold.what != what:
            self.forget(task)
            hold = self._holds[task] = _Hold(self._draw)
            hold.what = what
        hold.cuts += 1
        if hold.cuts < CUTS:
            return
        wait_s = hold.backoff.next_s()
        hold.until = self._clock.now() + wait_s
        says = (
            f"is held back: its {what} of {size:,} bytes cost the connection to the MQTT broker "
            f"{hold.cuts} times in a row: raise the broker's limit of packets, or lower "
            "largest_packet in broker.toml; see fedling-broker check"
        )
        log.warning("task %s %s; others go on, next try in %.0f s", task, says, wait_s)
        hold.notice = Notice(says, self._clock.wall() + wait_s)
        self._tell()

    def passed(self, task: str, what: str) -> None:
        """Hear that the broker has acknowledged such a message."""
        hold = self._holds.get(task)
        if hold is not None and hold.what == what:
            if hold.notice is not None:
                log.info("task %s goes on: the MQTT broker has taken its %s", task, what)
            self.forget(task)

    def wait(self, task: str, call: Call) -> bool:
        """Call it when the task is held back no longer, instead of an earlier call; False: now."""
        hold = self._holds.get(task)
        if hold is None or hold.until <= self._clock.now():
            return False
        if hold.timer is not None:
            hold.timer.cancel()
        hold.timer = self._clock.at(hold.until, partial(self._again, task, call))
        return True

    def _again(self, task: str, call: Call) -> None:
        if not self.wait(task, call):  # the connection may have been cut once more meanwhile
            call()

    def forget(self, task: str) -> None:
        """Hold it back no longer, and call nobody: it passed, or is no more."""
        hold = self._holds.pop(task, None)
        if hold is not None and hold.timer is not None:
            hold.timer.cancel()
        if hold is not None and hold.notice is not None:
            self._tell()

    def _tell(self) -> None:
        self._told({t: hold.notice for t, hold in self._holds.items() if hold.notice is not None})
