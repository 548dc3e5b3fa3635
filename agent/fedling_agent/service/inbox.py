"""The one door for messages from outside: what passes is signed and sound, the rest is counted."""

import logging
from collections.abc import Callable, Iterator

from fedling_agent.service.books import Books
from fedling_agent.store.vouched import Vouched
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.refusals import Refusals
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_SMALL
from fedling_protocol.wire.messages import Certificate
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Address, Topics
from fedling_protocol.wire.trust import Received, Trust

log = logging.getLogger(__name__)

NOT_THE_ROOTS = (Reason.UNKNOWN_KEY, Reason.ROLE, Reason.SIGNATURE)
ASKED = (Kind.MODEL, Kind.CHANGE, Kind.CHUNK)  # nothing of it comes unasked
MINE = (Kind.TICKET, Kind.RECEIPT, Kind.ENROLLED)  # the MQTT broker may send another device's


class Inbox:
    """Opens envelopes, keeps certificates' keys; the service adds to `refusals`."""

    def __init__(
        self,
        clock: Clock,
        topics: Topics,
        root: bytes,
        device: str,
        vouched: Vouched,
        books: Books,
        asked: Callable[[Address], int] = lambda _address: 0,
        now_s: Callable[[], int] = lambda: 0,
    ) -> None:
        """root: the public key that this device is configured with. vouched: what was kept of keys.

        asked: bytes of a model, change or chunk at an address, if one is on its way here
        now_s: Unix time, as far as it is known; 0: it is not
        """
        self.refusals = Refusals(clock, books.count)
        self._topics = topics
        self._device = device
        self._vouched = vouched
        self.trust = Trust(topics, root, self._largest)
        self._asked = asked
        self._now_s = now_s
        self._aggregators = topics.of(Kind.KEYS, AGGREGATOR)
        self._certificates = self._aggregators.removesuffix(AGGREGATOR)  # how their topics begin
        self._wanted = frozenset(topics.subscriptions(Kind.KEYS, device=device))
        self._foreign = False  # the last certificate of an aggregator was not the root's

    def open(self, topic: str, payload: bytes, emptied: bool) -> Received:
        """What it says, if it may say that here to us. Raises Refused."""
        if emptied:
            raise Refused(Reason.SIZE, "larger than any message may be")
        if topic.startswith(self._certificates) and topic not in self._wanted:
            raise Refused(Reason.TOPIC, "of another device")  # which would be kept, and never used
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
        if address.kind not in ASKED:
            return address.kind.largest
        return min(address.kind.largest, max(MAX_SMALL, self._asked(address)))

    def _open(self, topic: str, payload: bytes) -> Received:
        of_aggregator = topic == self._aggregators
        try:
            received = self.trust.open(topic, payload, self._now_s())
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
        known = self.trust.known(owner)
        return None if known is None else known.key

    def load(self) -> Certificate | None:
        """Trust what was kept; one of another root key is passed over.

        Returns the last certificate of this device that counted, also if it was taken back.
        """
        own = None
        for topic, kept in self._kept():
            try:
                message = self.trust.open(topic, kept).message
            except Refused as refused:
                log.warning("what is stored of %s is of no use: %s", topic, refused)
            else:
                if isinstance(message, Certificate) and message.id == self._device:
                    own = message
        return own

    def _kept(self) -> Iterator[tuple[str, bytes]]:
        """What was kept, in an order in which each vouches for the next."""
        chain = self._vouched.roots()
        if chain is not None:
            yield self._topics.of(Kind.ROOTS), chain
        for owner in (AUTHORITY, AGGREGATOR, self._device):
            kept = self._vouched.last_certificate(owner)
            if kept is not None:
                yield self._topics.of(Kind.KEYS, owner), kept
