"""Reads this device's sensors beside the loop: one that is slow, or hangs, holds nothing up."""

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from functools import partial

from fedling_agent.conditions import words
from fedling_agent.conditions.condition import Condition, Lack, Readings, Roots, Signal
from fedling_agent.conditions.owner import Owner
from fedling_agent.conditions.used import Used
from fedling_protocol.classes import dataclass
from fedling_protocol.runtime.loop import Clock, Timer
from fedling_protocol.runtime.worker import Worker, raise_

SILENT_S = 5.0  # a reading that takes longer is an answer: the sensor is silent

Rows = Sequence[Condition]
Then = Callable[[Readings], None]
Arrived = dict[str, Signal]


def read(rows: Rows, roots: Roots, arrived: Arrived | None = None) -> Arrived:
    """Read every signal, one after another; by its condition's name. Raises nothing.

    arrived: filled as they come, for who cannot wait for the last one
    """
    arrived = {} if arrived is None else arrived
    for row in rows:
        arrived[row.name] = _read_one(row, roots)
    return arrived


def _read_one(row: Condition, roots: Roots) -> Signal:
    try:
        return row.read(roots)
    except Exception as error:  # noqa: BLE001 (told as what it is: a sensor that does not answer)
        return Signal(None, row.name, Lack.SILENT, f"{type(error).__name__}: {error}")


@dataclass(slots=True)
class _Reading:
    """A reading that is under way."""

    at: float
    waiting: list[Then]
    timer: Timer
    arrived: Arrived = field(default_factory=dict)  # the worker's thread adds, the loop looks
    late: bool = False
    doubtful: bool = False


class Watcher:
    """The readings of one device, for all its tasks. Give it a worker of its own.

    used: what the day has cost so far; whoever pays adds
    owner: what was typed; whoever hears it sets it, and then doubts what was read
    At most one reading is under way, and one waits for it: who asks meanwhile shares that one.
    """

    def __init__(self, rows: Rows, roots: Roots, clock: Clock, worker: Worker) -> None:
        self._rows = tuple(rows)
        self.used = roots.used or Used()
        self.owner = roots.owner or Owner(clock.now, clock.wall)
        self._roots = replace(roots, used=self.used, owner=self.owner)
        self._clock = clock
        self._worker = worker
        self._reading: _Reading | None = None
        self._next: list[Then] = []
        unread = {row.name: Signal(None, "", Lack.SILENT, "not read yet") for row in rows}
        self.latest = Readings(unread, float("-inf"))
        self._doubtful = False

    @property
    def fresh(self) -> bool:
        """Whether a decision may depend on `latest`."""
        return not self._doubtful and self._clock.now() < self.latest.good_until

    def doubt(self) -> None:
        """What was read up to now is no longer so: it is read again before anything is decided.

        Who waits for a reading that is under way is told the next one.
        """
        self._doubtful = True
        if self._reading is not None:
            self._reading.doubtful = True
            self._reading.arrived = {}  # of no use, if it hangs
            self._next = self._reading.waiting + self._next
            self._reading.waiting = []

    def refresh(self, then: Then) -> None:
        """Call `then` with a reading made from now on, from the loop and never within this call.

        It comes after SILENT_S at the latest; at once while an older one has gone on for longer.
        """
        reading = self._reading
        if reading is None:
            self._begin([then])
        elif reading.late:
            self.latest = readings = self._without_answer(reading)
            self._clock.after(0, partial(then, readings))
        else:
            self._next.append(then)

    def close(self) -> None:
        """Tell nobody any more."""
        self._next.clear()
        if self._reading is not None:
            self._reading.waiting.clear()
            self._reading.timer.cancel()

    def _begin(self, waiting: list[Then]) -> None:
        timer = self._clock.after(SILENT_S, self._on_late)
        self._reading = reading = _Reading(self._clock.now(), waiting, timer)
        call = partial(read, self._rows, self._roots, reading.arrived)
        self._worker.do(call, self._on_read, raise_)

    def _on_read(self, signals: Arrived) -> None:
        reading, self._reading = self._reading, None
        assert reading is not None
        reading.timer.cancel()
        readings = Readings(signals, reading.at, self._clock.now() - reading.at)
        if readings.at >= self.latest.at:  # else it was late, and is not what it is like now
            self.latest, self._doubtful = readings, reading.doubtful
        if self._next:
            waiting, self._next = self._next, []
            self._begin(waiting)
        for then in reading.waiting:
            then(readings)

    def _on_late(self) -> None:
        """Answer without it, which goes on: a thread in the kernel cannot be stopped."""
        reading = self._reading
        assert reading is not None
        reading.late = True
        waiting = reading.waiting + self._next
        reading.waiting, self._next = [], []
        self.latest = readings = self._without_answer(reading)
        for then in waiting:
            then(readings)

    def _without_answer(self, reading: _Reading) -> Readings:
        """Tell what has arrived, and that the rest has not."""
        now = self._clock.now()
        waited_s = now - reading.at
        signals: Arrived = {}
        hanging = ""
        for row in self._rows:
            detail = (
                f"waits for {hanging}" if hanging else f"no answer for {words.duration(waited_s)}"
            )
            silent = Signal(None, "", Lack.SILENT, detail, waited_s)
            signals[row.name] = reading.arrived.get(row.name, silent)
            if signals[row.name] is silent:
                hanging = hanging or row.name
        return Readings(signals, now)
