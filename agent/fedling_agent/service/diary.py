"""What the device does about training, written down when it changes; `--explain` reads it."""

from collections.abc import Callable, Iterable
from functools import partial

from fedling_agent.conditions.condition import Code, Reason
from fedling_agent.service import report
from fedling_agent.service.report import Live
from fedling_agent.service.writer import Writer
from fedling_agent.session import state
from fedling_agent.store.spells import Course, Spell, Spells, Why
from fedling_protocol.classes import dataclass
from fedling_protocol.runtime.loop import Clock, Timer

LASTS_S = 5.0  # what is over within seconds is nobody's business
REST_S = 300.0  # one entry in so long at most: an SD card has so many writes
MOST_WHY = 4

Now = tuple[Course, tuple[Reason | str, ...]]
"""What holds, and why: conditions, or words of MEANINGS."""

_Key = tuple[Course, tuple[str, ...]]
"""What makes it another spell, codes: numbers may change within one."""

OFF: Now = (Course.OFF, ())

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
    key: _Key


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
        """Look whether another spell has begun, and have it written soon.

        It is called at each step of a session: whatever is the same costs no sentence.
        """
        if self._closed:
            return
        now = self._current()
        key = _key(now)
        if self._now is not None and (key == self._now.key or _is_still(key, self._now.key)):
            return
        self._now = self._entry(now, key)
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
        for entry in (self._now, self._entry(OFF, _key(OFF))):
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

    def _entry(self, now: Now, key: _Key) -> _Entry:
        course, codes = key
        of_code = {_code(one): one for one in now[1]}
        why = tuple(_told(of_code[code]) for code in codes)
        return _Entry(course, why, self._up_ms(), int(self._clock.wall() * 1000), key)

    def _up_ms(self) -> int:
        return int(self._clock.now() * 1000)


def _key(now: Now) -> _Key:
    course, why = now
    return course, tuple(dict.fromkeys(map(_code, why)))[:MOST_WHY]


def _code(why: Reason | str) -> str:
    return why if isinstance(why, str) else str(why.code)


def _is_still(key: _Key, before: _Key) -> bool:
    """Conditions that must hold for a while are what they were before: not good enough."""
    return key[0] is before[0] is Course.FORBIDDEN and set(key[1]) == {Code.TOO_SOON}


def _told(why: Reason | str) -> dict[str, object]:
    if isinstance(why, str):
        return {"code": why, "sentence": MEANINGS[why]}
    return report.of_reason(why)


# --- what holds now --------------------------------------------------------------------------


def course_of(runners: Iterable[Live], pause: Reason | None, hindrance: str) -> Now:
    """Tell what a device does about training: what the task does that is the furthest.

    pause: the owner's. hindrance: a word of MEANINGS, if something keeps it from all rounds
    """
    found = [_of_task(runner) for runner in runners]
    courses = {course for course, _ in found}
    if pause is not None and Course.TRAINS not in courses:
        return Course.FORBIDDEN, (pause,)
    for course in (Course.TRAINS, Course.FORBIDDEN, Course.WAITS):
        if course in courses:
            return course, tuple(one for got, why in found if got is course for one in why)
    return Course.NOTHING, (hindrance or "no-open-round",)


def _of_task(live: Live) -> Now:
    session, allowance = live.session, live.allowance
    if isinstance(session.phase, state.Training):
        return Course.TRAINS, ()
    if not (session.begun or session.offer or session.spool):
        return Course.NOTHING, ()
    if allowance is not None and allowance.train_reasons and not session.spool:
        return Course.FORBIDDEN, tuple(allowance.train_reasons)
    return Course.WAITS, (_lack(live),)


def _lack(live: Live) -> str:
    if live.session.spool or live.session.begun or live.session.enough:
        return "waits-for-the-aggregator"
    return "too-few-examples" if live.new_found is None else "too-few-new-examples"
