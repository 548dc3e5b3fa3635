"""How a moment is written for a person: where this machine is, in one form everywhere.

For programs (JSON) a moment is Unix time, in a field whose name ends with its unit, _s or _ms.
"""

from datetime import UTC, datetime


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


def _here(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC).astimezone()
