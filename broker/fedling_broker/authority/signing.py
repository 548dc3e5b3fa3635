"""What time is written into what is signed: a clock that nobody has set is told of first."""

import time
from typing import Final

from fedling_protocol.exits import Exit, Failure
from fedling_protocol.moments import moment

BUILT_S: Final = 1_750_000_000  # no clock that was ever set says a time before 2025


def now_s() -> int:
    """Unix time. Raises Failure: certificates that are made now would be over before they count."""
    now = time.time()
    if now < BUILT_S:
        raise Failure(
            f"the clock of this machine says {moment(now)}: set it, or what it certifies is over"
            " as soon as somebody looks",
            Exit.TRY_LATER,
        )
    return int(now)
