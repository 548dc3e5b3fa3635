"""Whether somebody is at this machine's keyboard and screen, as systemd-logind knows."""

from fedling_agent.conditions.bus import Unanswered, property_of
from fedling_agent.conditions.condition import Roots, Signal, absent, untold

SOURCE = "seat0 of systemd-logind"
# True where all who are logged in at the seat are idle, or nobody is; who comes by ssh has no seat.
IDLE = property_of(
    "org.freedesktop.login1",
    "/org/freedesktop/login1/seat/seat0",
    "org.freedesktop.login1.Seat",
    "IdleHint",
    "b",
)


def unattended(roots: Roots) -> Signal:
    """True while nobody is there. What is not known is no objection."""
    if not roots.unattended:
        return absent(SOURCE, "policy.unattended does not ask")
    try:
        idle = roots.bus.ask(IDLE)
    except Unanswered as error:
        return untold(SOURCE, str(error))
    return Signal(bool(idle), SOURCE, detail=f"IdleHint is {'yes' if idle else 'no'}")
