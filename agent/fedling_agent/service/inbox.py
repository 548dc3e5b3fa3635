"""The one door for messages from outside: what passes is signed and sound, the rest is counted."""

import logging
from collections.abc import Callable

from fedling_agent.config import AgentConfig
from fedling_agent.store.ledger import Ledger
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.trust import Received, Trust

log = logging.getLogger(__name__)

Take = Callable[[Received, bytes], None]

LOG_AGAIN_S = 60.0  # a refusal of the same kind is logged so often


class Inbox:
    """Opens envelopes, keeps certificates' keys, counts what is refused or declined.

    take: what to do with a message and its envelope; may raise Refused as well
    """

    def __init__(
        self, clock: Clock, config: AgentConfig, ledger: Ledger, device: str, take: Take
    ) -> None:
        self._clock = clock
        self._trust = Trust(config.topics, config.root_public)
        self._topics = config.topics
        self._ledger = ledger
        self._device = device
        self._take = take
        self._logged: dict[str, float] = {}

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        """Never raises because of what came in."""
        try:
            if emptied:
                raise Refused(Reason.SIZE, "larger than any message may be")
            received = self._trust.open(topic, payload)
            address = received.address
            if address.kind in (Kind.TICKET, Kind.RECEIPT) and address.device != self._device:
                raise Refused(Reason.TOPIC, "of another device")
            self._take(received, payload)
        except Refused as refused:
            # A plan of a later version is for others: nothing is wrong with it or with us.
            word = "declined" if refused.reason is Reason.PLAN_KIND else "refused"
            self._ledger.count(f"{word}: {refused.reason}")
            if self.may_log(refused.reason):
                log.warning("%s a message on %r: %s", word, topic[:200], refused)

    def may_log(self, kind: str) -> bool:
        """Whoever floods us must not flood the log."""
        if self._clock.now() - self._logged.get(kind, -LOG_AGAIN_S) < LOG_AGAIN_S:
            return False
        self._logged[kind] = self._clock.now()
        return True

    def key(self, owner: str) -> bytes | None:
        """The certified key of this device, or of "aggregator"."""
        known = self._trust.known(owner)
        return None if known is None else known.key

    def load(self) -> None:
        """Trust the certificates that were kept; one of another root key is passed over."""
        for owner in (AGGREGATOR, self._device):
            envelope = self._ledger.certificate(owner)
            if envelope is None:
                continue
            try:
                self._trust.open(self._topics.of(Kind.KEYS, owner), envelope)
            except Refused as refused:
                log.warning("the stored certificate of %s is of no use: %s", owner, refused)
