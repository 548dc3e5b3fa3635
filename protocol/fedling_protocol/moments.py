"""How a moment is written for a person: where this machine is, in one form everywhere.

For programs (JSON) a moment is Unix time, in a field whose name ends with its unit, _s or _ms.
"""

import re
from datetime import UTC, date, datetime, time, timedelta

DAY = timedelta(days=1)
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

    A time of day alone is the last one, of today or of the night before: one that is more than
    twelve hours ago wants its date. after_s: it is the first one after that. Raises ValueError.
    """
    try:
        if not _OF_DAY(text):
            return datetime.fromisoformat(text).astimezone().timestamp()
        of_day = time.fromisoformat(text)
        if after_s is not None:
            found = _at(_here(after_s).date(), of_day)
            return found if found > after_s else _at(_here(after_s).date() + DAY, of_day)
        found = _at(_here(now_s).date(), of_day)
        if found > now_s:
            found = _at(_here(now_s).date() - DAY, of_day)
            if now_s - found > LONG_AGO_S:
                raise ValueError(f"{text} is still to come today: write the date, too")
    except OverflowError as error:
        raise ValueError(text) from error
    else:
        return found


def _at(day: date, of_day: time) -> float:
    return datetime.combine(day, of_day).astimezone().timestamp()


def _here(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC).astimezone()
