"""Whether the owner has paused this device."""

from fedling_agent.conditions.condition import Roots, Signal, absent
from fedling_agent.conditions.owner import until

SOURCE = "fedling-agent pause"
WORDS = "paused by its owner"


def read(roots: Roots) -> Signal:
    """True while it is paused; the detail says until when, and the owner's reason."""
    owner = roots.owner
    if owner is None:
        return absent(SOURCE, "nobody has asked the store")
    pause = owner.pause
    if pause is None:
        return Signal(False, SOURCE)
    words = until(owner.left_s(pause), pause.reason, owner.wall())
    return Signal(True, SOURCE, detail=words)
