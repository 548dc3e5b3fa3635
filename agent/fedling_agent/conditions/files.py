"""Reads sysfs and procfs attributes: bounded, without blocking, never surprised.

What stands in those files is not trusted: whatever is no use is Unreadable with its reason.
"""

import os

LONGEST_VALUE = 64  # bytes of a sysfs attribute that we read
LONGEST_TABLE = 65_536  # bytes of a routing table; a default route stands near its beginning
MOST_ENTRIES = 64  # supplies or zones that are looked at


class Unreadable(Exception):
    """A file cannot be read or makes no sense; the message is the reason in words."""


def names(folder: str) -> list[str]:
    """List what lies in a folder; nothing if there is none."""
    try:
        return sorted(os.listdir(folder))[:MOST_ENTRIES]
    except OSError:
        return []


def integer(path: str, low: int, high: int) -> int:
    """Read an attribute that is a number. Raises Unreadable, also if it is out of range."""
    text_ = text(path)
    try:
        value = int(text_)
    except ValueError:
        raise Unreadable(f"{shown(text_)} is not a number") from None
    if not low <= value <= high:
        raise Unreadable(f"{value} is not {low} to {high}")
    return value


def text(path: str) -> str:
    """Read a short attribute. Raises Unreadable."""
    return content(path, LONGEST_VALUE).strip()


def content(path: str, longest: int) -> str:
    """Read the beginning of a file as text. Raises Unreadable."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            data = os.read(handle, longest)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:  # ValueError: a NUL in a name
        reason = error.strerror if isinstance(error, OSError) else None
        raise Unreadable(reason or "cannot be read") from None
    return data.decode("ascii", "replace")


def shown(text_: str) -> str:
    """Cut a strange text so that a reason can show it."""
    return repr(text_[:16])
