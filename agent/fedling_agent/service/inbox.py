"""The one door for messages from outside: what passes is signed and sound, the rest is counted."""

import logging

from fedling_agent.service.books import Books
from fedling_agent.store.ledger import Ledger
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Received, Trust

log = logging.getLogger(__name__)

LOG_AGAIN_S = 60.0  # a refusal of the same kind is logged so often
MINE = (Kind.TICKET, Kind.RECEIPT)  # the MQTT broker may send another device's


class Inbox:
    """Opens envelopes, keeps certificates' keys, counts refusals."""

    def __init__(
        self, clock: Clock, topics: Topics, root: bytes, device: str, ledger: Ledger, books: Books
    ) -> None:
        """root: the fleet's public key. ledger: where the certificates are kept."""
        self._clock = clock
        self._topics = topics
        self._device = device
        self._ledger = ledger
        self._books = books
        self._trust = Trust(topics, root)
        self._logged: dict[str, float] = {}

    def open(self, topic: str, payload: bytes, emptied: bool) -> Received:
        """What it says, if it may say that here to us. Raises Refused."""
        if emptied:
            raise Refused(Reason.SIZE, "larger than any message may be")
        received = self._trust.open(topic, payload)
        address = received.address
        if address.kind.from_device:
            raise Refused(Reason.TOPIC, "not for devices")
        if address.kind in MINE and address.device != self._device:
            raise Refused(Reason.TOPIC, "of another device")
        return received

    def refuse(self, topic: str, refused: Refused) -> None:
        """Count it; whoever floods us must not flood the log."""
        # A plan of a later version is for others: nothing is wrong with it or with us.
        word = "declined" if refused.reason is Reason.PLAN_KIND else "refused"
        self._books.count(f"{word}: {refused.reason}")
        if self.may_log(refused.reason):
            log.warning("%s a message on %r: %s", word, topic[:200], refused)

    def may_log(self, what: str) -> bool:
        """Whether a minute has passed since the last line of this sort."""
        now = self._clock.now()
        if now - self._logged.get(what, -LOG_AGAIN_S) < LOG_AGAIN_S:
            return False
        self._logged[what] = now
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
