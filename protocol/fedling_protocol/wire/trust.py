"""Who may sign what: the root's public key and the certificates it signed."""

from dataclasses import dataclass, field

from fedling_protocol.wire import digest, envelope, records
from fedling_protocol.wire.envelope import Envelope
from fedling_protocol.wire.identity import device_id, kid
from fedling_protocol.wire.messages import (
    Certificate,
    Join,
    Message,
    Model,
    Plan,
    Rest,
    Role,
    Update,
)
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import AGGREGATOR, FROM_DEVICES, Address, Kind, Topics


@dataclass(frozen=True, slots=True)
class Received:
    """A message that was signed by who may sign it, on the topic that it is for."""

    address: Address
    message: Message
    hash: bytes  # message hash, 32 bytes
    certified: bool = True  # False: a join that vouches for its own key only


@dataclass(slots=True)
class Trust:
    """The keys of one fleet, as one end knows them."""

    topics: Topics
    root: bytes  # public key, 32 bytes
    _certificates: dict[str, Certificate] = field(default_factory=dict)  # by id

    def open(self, topic: str, data: bytes) -> Received:
        """Check all that is sent on a topic, or Refused. A certificate is taken in at once."""
        address = self.topics.parse(topic)

        def find_key(parts: Envelope) -> bytes:
            return self._find_key(address, parts)

        message = envelope.open_envelope(data, self.topics.bound(topic), address.kind, find_key)
        _check_address(address, message)
        if isinstance(message, Certificate):
            self._learn(message)
        certified = address.kind not in FROM_DEVICES or address.device in self._certificates
        return Received(address, message, digest.message_hash(data), certified)

    def certificate(self, owner: str) -> Certificate | None:
        """The newest certificate of a device, or of "aggregator"."""
        return self._certificates.get(owner)

    def forget(self, owner: str) -> None:
        """Trust this device (or aggregator) no longer, until it has another certificate."""
        self._certificates.pop(owner, None)

    def _find_key(self, address: Address, parts: Envelope) -> bytes:
        """The one key that may sign here; which key did sign only explains a refusal."""
        key = self._key_for(address)
        if key is None and address.kind is Kind.JOIN:
            key = _own_key(parts)
        if key is not None and kid(key) == parts.kid:
            return key
        known = [self.root, *(certificate.key for certificate in self._certificates.values())]
        if any(kid(other) == parts.kid for other in known):
            raise Refused(Reason.ROLE, f"this key does not sign {address.kind} here")
        raise Refused(Reason.UNKNOWN_KEY, parts.kid.hex())

    def _key_for(self, address: Address) -> bytes | None:
        if address.kind is Kind.KEYS:
            return self.root
        owner = address.device if address.kind in FROM_DEVICES else AGGREGATOR
        certificate = self._certificates.get(owner or "")
        return None if certificate is None else certificate.key

    def _learn(self, new: Certificate) -> None:
        if new.fleet != self.topics.fleet:
            raise Refused(Reason.CERTIFICATE, "of another fleet")
        expected = AGGREGATOR if new.role is Role.AGGREGATOR else device_id(new.key)
        if new.id != expected:
            raise Refused(Reason.CERTIFICATE, "the id is not that of the key")
        old = self._certificates.get(new.id)
        if old is not None and old != new and new.serial <= old.serial:
            raise Refused(Reason.CERTIFICATE, f"outdated: serial {new.serial}")
        self._certificates[new.id] = new


def _check_address(address: Address, message: Message) -> None:
    """What a message says twice, in its topic and inside, it says alike."""
    match message:
        case Certificate() if message.id != address.device:
            raise Refused(Reason.CERTIFICATE, "for another id")
        case Join(key=bytes(key)) if device_id(key) != address.device:
            raise Refused(Reason.CERTIFICATE, "the key in the join is another device's")
        case Plan() | Rest() | Model() if message.spec.task != address.task:
            raise Refused(Reason.SHAPE, "of another task")
        case Model() if message.version != address.version:
            raise Refused(Reason.SHAPE, "of another version")
        case Update() if (message.plan_id, 0) != (address.plan_id, address.chunk):
            raise Refused(Reason.SHAPE, "on the topic of another plan or chunk")


def _own_key(parts: Envelope) -> bytes | None:
    """The public key inside a join, for a device that nobody vouched for yet."""
    message = records.decode(Kind.JOIN, parts.payload)
    return message.key if isinstance(message, Join) else None
