"""The sentences that people read: made last, from a reason's code and numbers."""

from collections.abc import Sequence

from fedling_agent.conditions.condition import Code, Direction, Reason, Value

# What a reason is in a word, for counting; a condition's own code has its word in its row.
WORDS = {
    Code.UNREADABLE: "a sensor is broken",
    Code.SILENT: "a sensor is broken",
    Code.TOO_SOON: "conditions must hold a while",
}
MEANINGS = {
    Code.UNREADABLE: "the hardware is there, what it says is of no use or leaves it open",
    Code.SILENT: "a sensor was not read, or not in time",
    Code.TOO_SOON: "conditions are good, but not yet for `policy.dwell_s`",
}


def sentence(reason: Reason) -> str:
    """Say one reason as "battery 34 % < 40 %"."""
    row = reason.condition
    match reason.code:
        case Code.UNREADABLE:
            return f"{row.name} unknown: {reason.source}: {reason.detail}"
        case Code.SILENT:
            return f"{row.name} unknown: {reason.detail}"
        case Code.TOO_SOON:
            return f"conditions are good, but were not {duration(float(reason.limit or 0))} ago"
    return row.say(reason) if row.say else passed(reason)


def passed(reason: Reason) -> str:
    """Say which number is on the wrong side of which."""
    direction = reason.condition.direction
    nearest = reason.limit if reason.resume is None else reason.resume
    words = f"{reason.condition.name} {shown(reason.value, reason.unit)} {direction.value} "
    words += shown(nearest, reason.unit)
    if reason.resume is None:
        return words
    side = "below" if direction is Direction.AT_LEAST else "above"
    return f"{words} (it was {side} {shown(reason.limit, reason.unit)})"


def of_all(reasons: Sequence[Reason], next_check_s: float) -> str:
    """Say all reasons as "battery 34 % < 40 %, next check in 12 min"; empty if there are none."""
    if not reasons:
        return ""
    sentences = dict.fromkeys(map(sentence, reasons))
    return f"{'; '.join(sentences)}, next check in {duration(next_check_s)}"


def shown(value: Value | None, unit: str) -> str:
    """Write a value with its unit."""
    match value:
        case None:
            return "unknown"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.1f} {unit}".rstrip()
    return f"{value} {unit}".rstrip()


def duration(seconds: float) -> str:
    """Write a duration as people say it: 45 s, 12 min, 3 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{round(seconds / 3600)} h"
