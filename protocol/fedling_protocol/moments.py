"""How a moment is written for a person: where this machine is, in one form everywhere.

For programs (JSON) a moment is Unix time, in a field whose name ends with its unit, _s or _ms.
"""

import re
from datetime import UTC, datetime, time, timedelta

LONG_AGO_S = 12 * 3600
_OF_DAY = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?").fullmatch


def moment(unix_s: float) -> str:
    """Write a Unix time: 2026-03-01 14:05:09."""
    return _here(unix_s).strftime("%Y-%m-%d %H:%M:%S")


def day(unix_s: float) -> str:
    """Write the day of a Unix time: 2026-03-01."""
    return _here(unix_s).strftime("%Y-%m-%d")


def hour(unix_s: float, now_s: float) -> str:
    """Write a time that is near: 14:05; of another day than now 2026-03-01 14:05."""
    form = "%H:%M" if day(unix_s) == day(now_s) else "%Y-%m-%d %H:%M"
    return _here(unix_s).strftime(form)


def read(text: str, now_s: float, after_s: float | None = None) -> float:
    """Read what a person writes: a date with a time, where this machine is unless it says where.

    A time of day alone is the last one, of today or of the night before: one that is longer ago
    wants its date. after_s: it is the first one after that. Raises ValueError.
    """
    if not _OF_DAY(text):
        try:
            return datetime.fromisoformat(text).astimezone().timestamp()
        except OverflowError as error:
            raise ValueError(text) from error
    of_day = time.fromisoformat(text)
    if after_s is not None:
        return min(found for found in _on_days(of_day, after_s) if found > after_s)
    found = max(found for found in _on_days(of_day, now_s) if found <= now_s)
    if now_s - found > LONG_AGO_S and day(found) != day(now_s):
        raise ValueError(f"the last {text} was a day ago: write the date, too")
    return found


def _on_days(of_day: time, near_s: float) -> list[float]:
    """List when it is this time of day, in two days before a moment and in two after it.

    Twice on a day when clocks are set back; never if they are set forward over it.
    """
    days = [_here(near_s).date() + timedelta(days=n) for n in (-2, -1, 0, 1, 2)]
    found = [
        datetime.combine(day, of_day.replace(fold=fold)).astimezone()
        for day in days
        for fold in (0, 1)
    ]
    return [one.timestamp() for one in found if _here(one.timestamp()).time() == of_day]


def _here(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC).astimezone()
