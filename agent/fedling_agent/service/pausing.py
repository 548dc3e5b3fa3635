"""The owner's pause in the running service: begun and ended by commands, or by its time."""

from collections.abc import Callable
from functools import partial

from fedling_agent.conditions.owner import Owner, Pause
from fedling_agent.service.writer import Writer, ignore
from fedling_agent.store.pauses import Pauses
from fedling_protocol.net.ports import Done
from fedling_protocol.runtime.loop import Clock, Timer
from fedling_protocol.runtime.worker import Failed

KEEP_S = 600.0  # a pause lasts longer by so much at most when the power is cut, and not less


class Pausing:
    """It is on disk before it acts, and before anybody is told so."""

    def __init__(
        self, clock: Clock, pauses: Pauses, writer: Writer, owner: Owner, changed: Done
    ) -> None:
        """owner: what conditions look at. changed: called when it has another pause, or none"""
        self._clock = clock
        self._pauses = pauses
        self._writer = writer
        self._owner = owner
        self._changed = changed
        self._timers: list[Timer] = []

    def load(self) -> None:
        """Go on with what was said to an earlier process. Raises BadDatabase."""
        kept = self._pauses.find(self._up_ms())
        if kept is not None:
            self._take(None if kept.left_ms is None else kept.left_ms / 1000, kept.reason)

    def begin(self, lasts_s: float | None, reason: str, then: Done, failed: Failed) -> None:
        """Pause for so long, or until end(); in place of an earlier pause."""
        up_ms, lasts_ms = self._up_ms(), None if lasts_s is None else int(lasts_s * 1000)

        def begun(_: None) -> None:
            self._take(lasts_s, reason)
            self._changed()
            then()

        self._writer.do(lambda: self._pauses.begin(lasts_ms, reason, up_ms), begun, failed)

    def end(self, then: Callable[[bool], None], failed: Failed) -> None:
        """Resume. then: told whether there was a pause"""

        def ended(was_paused: bool) -> None:
            self._drop()
            self._changed()
            then(was_paused)

        self._writer.do(self._pauses.end, ended, failed)

    def close(self) -> None:
        """The next process goes on from here."""
        ends = self._owner.pause is not None and self._owner.pause.due is not None
        self._cancel()
        if ends:
            self._live()

    def _take(self, left_s: float | None, reason: str) -> None:
        self._cancel()
        due = None if left_s is None else self._clock.now() + left_s
        self._owner.pause = Pause(reason, due)
        if due is not None:
            self._timers = [self._clock.at(due, self._on_over), self._keep_later()]

    def _drop(self) -> None:
        self._cancel()
        self._owner.pause = None

    def _cancel(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []

    def _on_over(self) -> None:
        self._drop()
        self._changed()
        self._writer.do(self._pauses.end, ignore)

    def _keep_later(self) -> Timer:
        return self._clock.after(KEEP_S, self._on_keep)

    def _on_keep(self) -> None:
        self._timers[-1] = self._keep_later()
        self._live()

    def _live(self) -> None:
        self._writer.do(partial(self._pauses.live, self._up_ms()), ignore)

    def _up_ms(self) -> int:
        return int(self._clock.now() * 1000)
