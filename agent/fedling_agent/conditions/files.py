"""Reads sysfs attributes: bounded, without blocking, never surprised.

What stands in those files is not trusted: whatever is no use is Unreadable with its reason.
"""

import os
import re
import time

LONGEST_VALUE = 64  # bytes of an attribute that we read
MOST_ENTRIES = 256  # of one kind in a folder: zones, supplies; boards have up to a hundred


class Unreadable(Exception):
    """A file cannot be read or makes no sense; the message is the reason in words."""


def names(folder: str, prefix: str = "") -> list[str]:
    """List what begins with the prefix in a folder, zone10 after zone9; nothing if it is absent.

    All of it: who looks at MOST_ENTRIES only says what is left out.
    """
    try:
        found = os.listdir(folder)
    except OSError:
        return []
    return sorted((name for name in found if name.startswith(prefix)), key=_by_number)


def _by_number(name: str) -> list[tuple[str, int]]:
    """Order names as people do: the numbers in them by their value."""
    parts = re.findall(r"([^0-9]*)([0-9]{0,9})", name)
    return [(words, int(digits or 0)) for words, digits in parts]


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


def text(path: str, longest: int = LONGEST_VALUE) -> str:
    """Read a short attribute, or the first bytes of what is longer. Raises Unreadable."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            data = os.read(handle, longest)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:  # ValueError: a NUL in a name
        reason = error.strerror if isinstance(error, OSError) else None
        raise Unreadable(reason or "cannot be read") from None
    return data.decode("ascii", "replace").strip()


def age_s(path: str) -> float:
    """How long ago it was written, as its clock says; raises Unreadable."""
    try:
        return time.time() - os.stat(path).st_mtime
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise Unreadable(reason or "cannot be read") from None


def shown(text_: str) -> str:
    """Cut a strange text so that a reason can show it."""
    return repr(text_[:16])
