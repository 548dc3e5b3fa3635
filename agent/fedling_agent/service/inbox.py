"""The one door for messages from outside: what passes is signed and sound, the rest is counted."""

import logging
from collections.abc import Callable

from fedling_agent.service.books import Books
from fedling_agent.store.ledger import Ledger
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.refusals import Refusals
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_SMALL
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Address, Topics
from fedling_protocol.wire.trust import Received, Trust

log = logging.getLogger(__name__)

NOT_THE_ROOTS = (Reason.UNKNOWN_KEY, Reason.ROLE, Reason.SIGNATURE)
MINE = (Kind.TICKET, Kind.RECEIPT)  # the MQTT broker may send another device's


class Inbox:
    """Opens envelopes, keeps certificates' keys; the service adds to `refusals`."""

    def __init__(
        self,
        clock: Clock,
        topics: Topics,
        root: bytes,
        device: str,
        ledger: Ledger,
        books: Books,
        asked: Callable[[str], int] = lambda _task: 0,
    ) -> None:
        """root: the fleet's public key. ledger: where the certificates are kept.

        asked: bytes of the model of a task that is on its way here
        """
        self.refusals = Refusals(clock, books.count)
        self._topics = topics
        self._device = device
        self._ledger = ledger
        self._trust = Trust(topics, root, self._largest)
        self._asked = asked
        self._aggregators = topics.of(Kind.KEYS, AGGREGATOR)
        self._foreign = False  # the last certificate of an aggregator was not the root's

    def open(self, topic: str, payload: bytes, emptied: bool) -> Received:
        """What it says, if it may say that here to us. Raises Refused."""
        if emptied:
            raise Refused(Reason.SIZE, "larger than any message may be")
        received = self._open(topic, payload)
        address = received.address
        if address.kind.from_device:
            raise Refused(Reason.TOPIC, "not for devices")
        if address.kind in MINE and address.device != self._device:
            raise Refused(Reason.TOPIC, "of another device")
        return received

    def _largest(self, address: Address) -> int:
        """What is not for us, or nobody asked for, is not hashed to find out who sent it."""
        if address.kind.from_device:
            return MAX_SMALL
        if address.kind is not Kind.MODEL:
            return address.kind.largest
        return min(address.kind.largest, max(MAX_SMALL, self._asked(address.task or "")))

    def _open(self, topic: str, payload: bytes) -> Received:
        of_aggregator = topic == self._aggregators
        try:
            received = self._trust.open(topic, payload)
        except Refused as refused:
            self._foreign |= of_aggregator and refused.reason in NOT_THE_ROOTS
            raise
        self._foreign &= not of_aggregator
        return received

    @property
    def foreign(self) -> bool:
        """Whether the only aggregator that was heard is one that our root key did not sign."""
        return self._foreign and self.key(AGGREGATOR) is None

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
