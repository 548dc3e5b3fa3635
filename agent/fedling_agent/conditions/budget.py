"""What is used up of the owner's day: minutes of training, bytes on the network."""

from fedling_agent.conditions.condition import Roots, Signal, absent

SOURCE = "the last 24 hours of running"


def work(roots: Roots) -> Signal:
    """Minutes of a processor that training has taken."""
    if roots.used is None:
        return absent(SOURCE, "only the service counts them")
    return Signal(roots.used.work_min, SOURCE)


def moved(roots: Roots) -> Signal:
    """Megabytes that were sent and received."""
    if roots.used is None:
        return absent(SOURCE, "only the service counts them")
    return Signal(roots.used.megabytes, SOURCE)
