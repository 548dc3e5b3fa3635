"""How long this machine is up: what a command counts time by, as the service does."""

import time


def up_s() -> float:
    """Tell seconds since boot, time asleep included, as Loop.now()."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def up_ms() -> int:
    return int(up_s() * 1000)
