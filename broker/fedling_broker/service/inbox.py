"""The one door for messages from outside: what passes is signed and sound, the rest is counted."""

import logging

from fedling_broker.service.counters import Counters
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.trust import Received, Trust

log = logging.getLogger(__name__)

LOG_AGAIN_S = 60.0  # a refusal of the same kind is logged so often


class Inbox:
    """Opens envelopes, counts refusals."""

    def __init__(self, clock: Clock, trust: Trust, counters: Counters) -> None:
        self._clock = clock
        self._trust = trust
        self._counters = counters
        self._logged: dict[str, float] = {}

    def open(self, topic: str, payload: bytes, emptied: bool) -> Received:
        """What it says, if it may say that to us. Raises Refused."""
        if emptied:
            raise Refused(Reason.SIZE, "larger than any message may be")
        received = self._trust.open(topic, payload)
        if not received.address.kind.from_device:
            raise Refused(Reason.TOPIC, "not for the aggregator")
        return received

    def refuse(self, topic: str, refused: Refused) -> None:
        """Count it; whoever floods us must not flood the log."""
        self._counters.count(f"refused: {refused.reason}")
        now = self._clock.now()
        if now - self._logged.get(refused.reason, -LOG_AGAIN_S) >= LOG_AGAIN_S:
            self._logged[refused.reason] = now
            log.warning("refused a message on %r: %s", topic[:200], refused)
