"""What a way of holding rounds decides: whom a round takes in, and when it has enough.

The machine speaks to a policy through these few names; synchronous.py is the one that there is.
"""

from typing import Protocol

from fedling_broker.rounds.cohort import Cohort
from fedling_protocol.classes import dataclass

DAY_S = 86_400  # what a ticket, a wait or a rest says when nothing limits it


@dataclass(frozen=True, slots=True)
class Keep:
    """The device has a place, and may go on for so many seconds."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Take:
    """The device gets a place, or has its own prolonged. `instead_of` loses an expired one."""

    seconds: int
    until_ms: int  # age of the round at which the place ends
    instead_of: str | None


@dataclass(frozen=True, slots=True)
class TurnAway:
    """The device may ask again after so many seconds."""

    seconds: int
    reason: str


Admission = Keep | Take | TurnAway


class Policy(Protocol):
    """Pure: a policy looks at a cohort, and the machine changes it."""

    @property
    def goal(self) -> int:
        """How many accepted updates are enough, however young the round is."""

    @property
    def wait_s(self) -> int:
        """How long a device is told to wait at most, unless the policy says more."""

    @property
    def deadline_ms(self) -> int | None:
        """The age at which a round becomes overdue; None: never."""

    def admit(self, cohort: Cohort, device: str, age_ms: int) -> Admission:
        """The answer to a device without a decision that asks for a place."""

    def enough(self, cohort: Cohort, overdue: bool) -> bool:
        """Whether the updates suffice to close the round now."""


def whole_seconds(ms: int) -> int:
    """Round milliseconds up to seconds, at least 1."""
    return max(1, -(-ms // 1000))
