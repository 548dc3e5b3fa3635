"""Who may sign what: the root's public key and the certificates it signed."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from fedling_protocol.wire import digest, envelope, payload
from fedling_protocol.wire.envelope import Envelope
from fedling_protocol.wire.identity import device_id, kid
from fedling_protocol.wire.kinds import Kind, Signer
from fedling_protocol.wire.messages import (
    Certificate,
    Join,
    Message,
    Model,
    Plan,
    PlanKind,
    Rest,
    Role,
    Update,
)
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Address, Topics

_PLAN_KINDS = frozenset(map(str, PlanKind))


@dataclass(frozen=True, slots=True)
class Received:
    """A message that was signed by who may sign it, on the topic that it is for."""

    address: Address
    message: Message
    envelope: bytes
    certified: bool = True  # False: a join that vouches for its own key only

    @property
    def hash(self) -> bytes:
        """Message hash, 32 bytes; computed when it is asked for: most messages need none."""
        return digest.message_hash(self.envelope)


@dataclass(frozen=True, slots=True)
class Known:
    """A key that the root vouched for."""

    key: bytes  # public, 32 bytes
    serial: int
    kid: bytes  # of the key, hashed once


@dataclass(slots=True)
class Trust:
    """The keys of one fleet, as one end knows them.

    largest: bytes of a message that are looked at, on an address; more are refused unread
    """

    topics: Topics
    root: bytes  # public key, 32 bytes
    largest: Callable[[Address], int] = lambda address: address.kind.largest
    _root: Known = field(init=False)
    _known: dict[str, Known] = field(default_factory=dict, init=False)  # by owner
    _kids: Counter[bytes] = field(default_factory=Counter, init=False)  # of _known and the root

    def __post_init__(self) -> None:
        self._root = Known(self.root, 0, kid(self.root))
        self._kids[self._root.kid] += 1

    def open(self, topic: str, data: bytes) -> Received:
        """Check all that is sent on a topic. Raises Refused. A certificate is taken in at once."""
        address = self.topics.parse(topic)
        if len(data) > (most := self.largest(address)):
            raise Refused(Reason.SIZE, f"{len(data)} bytes, at most {most} here")
        parts = envelope.parse(data, address.kind)
        parts.verify(self.topics.bound(topic), self._find_key(address, parts))
        if address.plan_kind is not None and address.plan_kind not in _PLAN_KINDS:
            raise Refused(Reason.PLAN_KIND, address.plan_kind)
        message = payload.decode(address.kind, parts.payload)
        _check_address(address, message)
        if isinstance(message, Certificate):
            self._learn(message)
        certified = not address.kind.from_device or address.device in self._known
        return Received(address, message, data, certified)

    def known(self, owner: str) -> Known | None:
        """Find the key of a device, or of "aggregator"; None: nobody vouched for one."""
        return self._known.get(owner)

    def know(self, owner: str, key: bytes, serial: int) -> None:
        """Take in a certificate that was verified before it was stored: nothing is checked."""
        self.forget(owner)
        known = self._known[owner] = Known(key, serial, kid(key))
        self._kids[known.kid] += 1

    def forget(self, owner: str) -> None:
        """Trust this device (or aggregator) no longer, until it has another certificate."""
        known = self._known.pop(owner, None)
        if known is not None:
            self._kids[known.kid] -= 1
            if not self._kids[known.kid]:
                del self._kids[known.kid]

    def _find_key(self, address: Address, parts: Envelope) -> bytes:
        """Find the one key that may sign here; which key did sign only explains a refusal."""
        known = self._signer_of(address)
        if known is not None and known.kid == parts.kid:
            return known.key
        if known is None and address.kind is Kind.JOIN:
            own = _own_key(parts)
            if own is not None:
                return own
        if parts.kid in self._kids:
            raise Refused(Reason.ROLE, f"this key does not sign {address.kind} here")
        raise Refused(Reason.UNKNOWN_KEY, parts.kid.hex())

    def _signer_of(self, address: Address) -> Known | None:
        if address.kind.signer is Signer.ROOT:
            return self._root
        if address.kind.signer is Signer.AGGREGATOR:
            return self._known.get(AGGREGATOR)
        return self._known.get(address.device or "")

    def _learn(self, new: Certificate) -> None:
        if new.fleet != self.topics.fleet:
            raise Refused(Reason.CERTIFICATE, "of another fleet")
        expected = AGGREGATOR if new.role is Role.AGGREGATOR else device_id(new.key)
        if new.id != expected:
            raise Refused(Reason.CERTIFICATE, "the id is not that of the key")
        old = self._known.get(new.id)
        if old is None or new.serial > old.serial:
            self.know(new.id, new.key, new.serial)
        elif (new.key, new.serial) != (old.key, old.serial):
            raise Refused(Reason.CERTIFICATE, f"outdated: serial {new.serial}")


def _check_address(address: Address, message: Message) -> None:
    """Check that what a message says twice, in its topic and inside, it says alike."""
    match message:
        case Certificate() if message.id != address.owner:
            raise Refused(Reason.CERTIFICATE, "for another id")
        case Join(key=bytes(key)) if device_id(key) != address.device:
            raise Refused(Reason.CERTIFICATE, "the key in the join is another device's")
        case Plan() | Rest() | Model() if message.spec.task != address.task:
            raise Refused(Reason.SHAPE, "of another task")
        case Plan() if message.kind != address.plan_kind:
            raise Refused(Reason.SHAPE, "of another kind of plan")
        case Model() if message.version != address.version:
            raise Refused(Reason.SHAPE, "of another version")
        case Update() if (message.plan_id, 0) != (address.plan_id, address.chunk):
            raise Refused(Reason.SHAPE, "on the topic of another plan or chunk")


def _own_key(parts: Envelope) -> bytes | None:
    """The public key inside a join, for a device that nobody vouched for yet, if it is its own."""
    message = payload.decode(Kind.JOIN, parts.payload)
    if not isinstance(message, Join) or message.key is None or kid(message.key) != parts.kid:
        return None
    return message.key
