"""When and why a device did not train: its spells as rows, with times that people can read.

Order and length are by the time that was lived; the clock of a run is believed as it stood last,
since it may have been set in the middle of it.
"""

from collections.abc import Sequence
from itertools import pairwise

from fedling_agent.service.control import Json
from fedling_agent.store.spells import Course, Spell


def explain(
    spells: Sequence[Spell], lived_ms: int, now_s: float, running: int | None
) -> list[Json]:
    """Tell each spell, the oldest first; from_s, to_s: Unix times.

    lived_ms: now; now_s: Unix time as the clock stands. running: the run that goes on; None: none
    to_s is null if the spell goes on (goes_on), or if nobody knows when it ended.
    """
    clocks = {spell.run: spell.wall_ms - spell.lived_ms for spell in spells}  # the last one holds
    if running is not None:
        clocks[running] = round(now_s * 1000) - lived_ms
    begun = [(spell.lived_ms + clocks[spell.run]) / 1000 for spell in spells]
    rows = [
        _row(spell, from_s, *_end_before(spell, from_s, after, after_s))
        for (spell, from_s), (after, after_s) in pairwise(zip(spells, begun, strict=True))
    ]
    if spells:
        rows.append(_last(spells[-1], begun[-1], lived_ms, now_s, running))
    return rows


def _end_before(
    spell: Spell, from_s: float, after: Spell, after_s: float
) -> tuple[float | None, float | None]:
    """When a spell ended that another one followed, and how long it was; None: nobody knows."""
    if after.run == spell.run:
        return after_s, (after.lived_ms - spell.lived_ms) / 1000
    if spell.course is Course.OFF and after_s >= from_s:
        return after_s, after_s - from_s
    return None, None


def _last(spell: Spell, from_s: float, lived_ms: int, now_s: float, running: int | None) -> Json:
    if spell.run == running:
        return _row(spell, from_s, None, (lived_ms - spell.lived_ms) / 1000, goes_on=True)
    off = running is None and spell.course is Course.OFF
    return _row(spell, from_s, None, max(0.0, now_s - from_s) if off else None, goes_on=off)


def _row(
    spell: Spell,
    from_s: float,
    to_s: float | None,
    for_s: float | None,
    *,
    goes_on: bool = False,
) -> Json:
    return {
        "from_s": round(from_s),
        "to_s": None if to_s is None else round(to_s),
        "for_s": None if for_s is None else round(for_s),
        "goes_on": goes_on,
        "verdict": spell.course.value,
        "why": list(spell.why),
    }
