"""Whether it is an hour at which the owner lets this device train, by its clock where it is.

What counts is what a clock on the wall shows: in the night in which summer time ends, an hour from
02:00 to 03:00 comes twice, in the one in which it begins, never.
"""

import re
import time
from datetime import UTC, datetime

from fedling_agent.conditions.condition import Roots, Signal, unreadable
from fedling_protocol.moments import moment

SOURCE = "policy.hours"
SET_S = 1_704_067_200  # 2024: a clock that shows less was never set
FORM = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)", re.ASCII)
DAY = 24 * 60

Window = tuple[int, int]  # minutes of the day: the first, and the first one after it


def window_of(text: str) -> Window:
    """Read "22:00-06:00". Raises ValueError with what is allowed."""
    if found := FORM.fullmatch(text):
        hour, minute, last_hour, last_minute = map(int, found.groups())
        begin, end = 60 * hour + minute, 60 * last_hour + last_minute
        if begin != end and begin < DAY and end <= DAY:
            return begin, end
    raise ValueError("two times of a day, as 22:00-06:00")


def off_hours(roots: Roots) -> Signal:
    """True while it is none of them."""
    if not roots.hours:
        return Signal(False, SOURCE, detail="any hour is good")
    now_s = time.time() if roots.owner is None else roots.owner.wall()
    if now_s < SET_S:
        return unreadable(SOURCE, f"the clock is not set: it shows {moment(now_s)}")
    time.tzset()  # else a zone that the owner has changed is not heard of before a restart
    here = datetime.fromtimestamp(now_s, UTC).astimezone()
    minute = 60 * here.hour + here.minute
    within = any(_holds(window_of(text), minute) for text in roots.hours)
    detail = f"it is {here:%H:%M}, its hours are {', '.join(roots.hours)}"
    return Signal(not within, SOURCE, detail=detail)


def _holds(window: Window, minute: int) -> bool:
    begin, end = window
    return begin <= minute < end if begin < end else minute >= begin or minute < end
