"""Whether this machine is busy for others: how much of its processors they use."""

import time

from fedling_agent.conditions.condition import Roots, Signal, absent, unreadable, untold
from fedling_agent.conditions.files import Unreadable

LEAST_S = 5.0  # what was watched for less is one process that starts, or none


def load(roots: Roots) -> Signal:
    """Percent of all processors that others use; one of four that is busy is 25."""
    source, seen = f"{roots.proc}/stat", roots.processors
    if roots.used is None:
        return absent(source, "only the service watches the processors")
    try:
        seen.look(str(roots.proc), time.monotonic())
    except Unreadable as error:
        return unreadable(source, str(error))
    if seen.watched_s < LEAST_S:
        return untold(source, f"not watched for {LEAST_S:.0f} s yet")
    return Signal(round(seen.others, 1), source, detail=f"in the last {seen.watched_s:.0f} s")
