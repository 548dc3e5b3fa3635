"""Messages that are not used: each is counted by its reason, and logged now and then."""

import logging
from collections.abc import Callable

from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.wire.refused import Reason, Refused

log = logging.getLogger(__name__)

LOG_AGAIN_S = 60.0  # a refusal of the same kind is logged so often


class Refusals:
    """Counts refusals; whoever floods us fills no log."""

    def __init__(self, clock: Clock, count: Callable[[str], None]) -> None:
        self._clock = clock
        self._count = count
        self._logged: dict[str, float] = {}

    def add(self, topic: str, refused: Refused) -> None:
        """Count a message on this topic that was not used."""
        # A plan of a later version is for others: nothing is wrong with it or with us.
        word = "declined" if refused.reason is Reason.PLAN_KIND else "refused"
        self._count(f"{word}: {refused.reason}")
        if self.may_log(refused.reason):
            log.warning("%s a message on %r: %s", word, topic[:200], refused)

    def fault(self, topic: str, error: Exception) -> None:
        """Count a message that nobody is to blame for but us: it is dropped, the rest goes on."""
        self._count("faults")
        if self.may_log(type(error).__name__):  # its words may be what somebody has sent us
            log.error("dropped a message on %r: %s", topic[:200], mishaps.sentence(error))

    def may_log(self, what: str) -> bool:
        """Whether a minute has passed since the last line of this sort."""
        now = self._clock.now()
        if now - self._logged.get(what, -LOG_AGAIN_S) < LOG_AGAIN_S:
            return False
        self._logged[what] = now
        return True
