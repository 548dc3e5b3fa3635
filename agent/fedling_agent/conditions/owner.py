"""What the owner has said to this device by a command: a pause, for a time or until it is resumed.

How long is counted while the machine runs, whatever its clock says; until when, for people only.
"""

from collections.abc import Callable

from fedling_protocol.classes import dataclass
from fedling_protocol.moments import hour

LONGEST_S = 366 * 86_400  # of a pause
LONGEST_REASON = 200  # characters
RESUME = "fedling-agent resume"


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is trained or sent."""

    reason: str = ""  # the owner's words; they stay on this device
    due: float | None = None  # seconds since boot when it is over; None: `resume` ends it


@dataclass(slots=True)
class Owner:
    """The loop sets the pause; a reader beside it may look."""

    now: Callable[[], float]  # as Clock has them
    wall: Callable[[], float]
    pause: Pause | None = None

    def left_s(self, pause: Pause) -> float | None:
        """Seconds that are left of a pause; None: it has no end."""
        return None if pause.due is None else max(0.0, pause.due - self.now())


def until(left_s: float | None, reason: str, now_s: float) -> str:
    """Say "until 14:30: firmware week". now_s: Unix time, as well as it is known"""
    when = RESUME if left_s is None else hour(now_s + left_s, now_s)
    return f"until {when}{': ' if reason else ''}{reason}"
