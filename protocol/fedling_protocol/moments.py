"""How a moment is written for a person: where this machine is, in one form everywhere.

For programs (JSON) a moment is Unix time, in a field whose name ends with its unit, _s or _ms.
"""

import re
from datetime import UTC, datetime, time, timedelta

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


def read(text: str, now_s: float) -> float:
    """Read what a person writes: a date with a time, where this machine is unless it says where.

    A time of day alone is the last one: of today, or of yesterday. Raises ValueError.
    """
    now = _here(now_s)
    if _OF_DAY(text):
        found = datetime.combine(now.date(), time.fromisoformat(text))
        found = found.astimezone()
        if found > now:
            day_before = now.date() - timedelta(days=1)
            found = datetime.combine(day_before, found.time()).astimezone()
        return found.timestamp()
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except OverflowError as error:
        raise ValueError(text) from error


def _here(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC).astimezone()
