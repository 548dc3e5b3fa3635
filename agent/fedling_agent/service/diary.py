"""What the device does about training, written down when it changes; `--explain` reads it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from fedling_agent.conditions.condition import Code, Reason
from fedling_agent.service import report
from fedling_agent.service.report import Live
from fedling_agent.service.writer import Writer
from fedling_agent.session import state
from fedling_agent.store.spells import Course, Spell, Spells, Why
from fedling_protocol.runtime.loop import Clock, Timer

LASTS_S = 5.0  # what is over within seconds is nobody's business
REST_S = 300.0  # one entry in so long at most: an SD card has so many writes
MOST_WHY = 4

Now = tuple[Course, Why]

# Why nothing is trained, where it is no condition's fault.
MEANINGS = {
    "no-open-round": "no round is open, or this device has had its part in it",
    "not-connected": "the MQTT broker is not connected",
    "not-a-member": "this device is not enrolled, or was revoked",
    "too-few-examples": "there are fewer examples than the round asks for",
    "too-few-new-examples": "there are fewer new examples than the round asks for",
    "waits-for-the-aggregator": "it has asked, or was told to wait, or its update has no receipt",
}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A spell as it began."""

    course: Course
    why: Why
    since_ms: int  # since boot
    wall_ms: int

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it another spell: numbers may change within one."""
        return self.course, tuple(reason["code"] for reason in self.why)


class Diary:
    """Nothing is written while nothing changes; what is over within REST_S may be left out."""

    def __init__(
        self, clock: Clock, spells: Spells, writer: Writer, current: Callable[[], Now]
    ) -> None:
        """current: tells what holds now"""
        self._clock = clock
        self._spells = spells
        self._writer = writer
        self._current = current
        self._run = 0
        self._now: _Entry | None = None
        self._written: _Entry | None = None
        self._timer: Timer | None = None
        self._closed = True

    def load(self) -> None:
        """Begin the entries of this run. Raises BadDatabase."""
        self._run = self._spells.last_run() + 1
        self._closed = False
        self.changed()

    def changed(self) -> None:
        """Look whether another spell has begun, and have it written soon."""
        if self._closed:
            return
        entry = self._entry(*self._current())
        if self._now is not None and (entry.key == self._now.key or _is_still(entry, self._now)):
            return
        self._now = entry
        if self._timer is None:
            self._timer = self._clock.after(LASTS_S, self._write)

    @property
    def run(self) -> int:
        """The number of this run of the service."""
        return self._run

    def pending(self, lived_ms: int) -> list[Spell]:
        """Tell the spell that holds, if it is not written. lived_ms: now"""
        entry = self._now
        if entry is None or (self._written is not None and entry.key == self._written.key):
            return []
        began_ms = lived_ms - (self._up_ms() - entry.since_ms)
        return [Spell(self._run, began_ms, entry.wall_ms, entry.course, entry.why)]

    def close(self) -> None:
        """Write what is not written yet, and that the service ends."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for entry in (self._now, self._entry(Course.OFF, ())):
            self._put(entry)

    def _write(self) -> None:
        """Write the spell that holds, and nothing more for a while."""
        self._timer = None
        if self._closed or not self._put(self._now):
            return
        self._timer = self._clock.after(REST_S, self._write)

    def _put(self, entry: _Entry | None) -> bool:
        """Whether it is another one than the last that was written."""
        if entry is None or (self._written is not None and entry.key == self._written.key):
            return False
        put = partial(
            self._spells.add, self._run, entry.course, entry.why, entry.since_ms, self._up_ms(),
            entry.wall_ms,
        )  # fmt: skip
        self._writer.do(put, lambda _: self._on_written(entry))
        return True

    def _on_written(self, entry: _Entry) -> None:
        self._written = entry

    def _entry(self, course: Course, why: Why) -> _Entry:
        return _Entry(course, why, self._up_ms(), int(self._clock.wall() * 1000))

    def _up_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _is_still(entry: _Entry, before: _Entry) -> bool:
    """Conditions that must hold for a while are what they were before: not good enough."""
    holds = {reason["code"] for reason in entry.why} == {Code.TOO_SOON}
    return holds and entry.course is before.course is Course.FORBIDDEN


# --- what holds now --------------------------------------------------------------------------


def course_of(runners: Sequence[Live], pause: Reason | None, hindrance: str) -> Now:
    """Tell what a device does about training: what the task does that is the furthest.

    pause: the owner's. hindrance: a word of MEANINGS, if something keeps it from all rounds
    """
    found = [_of_task(runner) for runner in runners]
    courses = {course for course, _ in found}
    if pause is not None and Course.TRAINS not in courses:
        return Course.FORBIDDEN, (report.of_reason(pause),)
    for course in (Course.TRAINS, Course.FORBIDDEN, Course.WAITS):
        if course in courses:
            reasons = [one for got, why in found if got is course for one in why]
            return course, tuple({one["code"]: one for one in reasons}.values())[:MOST_WHY]
    return Course.NOTHING, _because(hindrance or "no-open-round")


def _of_task(live: Live) -> Now:
    session, allowance = live.session, live.allowance
    if isinstance(session.phase, state.Training):
        return Course.TRAINS, ()
    if not (session.begun or session.offer or session.spool):
        return Course.NOTHING, ()
    if allowance is not None and allowance.train_reasons and not session.spool:
        return Course.FORBIDDEN, tuple(report.of_reason(one) for one in allowance.train_reasons)
    return Course.WAITS, _because(_lack(live))


def _lack(live: Live) -> str:
    if live.session.spool or live.session.begun or live.session.enough:
        return "waits-for-the-aggregator"
    return "too-few-examples" if live.new_found is None else "too-few-new-examples"


def _because(code: str) -> Why:
    return ({"code": code, "sentence": MEANINGS[code]},)
