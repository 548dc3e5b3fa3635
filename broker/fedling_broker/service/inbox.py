"""The one door for messages from outside: what passes is signed and sound, the rest is counted."""

from fedling_broker.service.counters import Counters
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.refusals import Refusals
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.trust import Received, Trust


class Inbox:
    """Opens envelopes; the service adds to `refusals`."""

    def __init__(self, clock: Clock, trust: Trust, counters: Counters) -> None:
        self._clock = clock
        self._trust = trust
        self.refusals = Refusals(clock, counters.count)

    def open(self, topic: str, payload: bytes, emptied: bool) -> Received:
        """What it says, to whomever. Raises Refused."""
        if emptied:
            raise Refused(Reason.SIZE, "larger than any message may be")
        return self._trust.open(topic, payload, int(self._clock.wall()))
