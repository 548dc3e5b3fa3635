"""Who may sign what: the root keys, what they certified, and what the authority certified."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from enum import StrEnum
from typing import Final

from fedling_protocol.classes import dataclass
from fedling_protocol.wire import digest, envelope, payload
from fedling_protocol.wire.envelope import Envelope
from fedling_protocol.wire.identity import device_id, kid
from fedling_protocol.wire.kinds import Kind, Signer
from fedling_protocol.wire.messages import (
    Certificate,
    Change,
    Enrol,
    Join,
    Message,
    Model,
    Plan,
    PlanKind,
    Rest,
    Role,
    Roots,
    Update,
)
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.roots import walk
from fedling_protocol.wire.topics import Address, Topics

_PLAN_KINDS = frozenset(map(str, PlanKind))


class Standing(StrEnum):
    """What the fleet thinks of the key that signed a message."""

    CERTIFIED = "certified"
    EXPIRED = "expired"  # its certificate is over
    REVOKED = "revoked"
    UNKNOWN = "unknown"  # nobody vouched for it: the message has its key inside


_HEARD: Final[Mapping[Kind, frozenset[Standing]]] = {
    Kind.JOIN: frozenset({Standing.UNKNOWN, Standing.EXPIRED, Standing.REVOKED}),
    Kind.ENROL: frozenset({Standing.UNKNOWN, Standing.EXPIRED, Standing.REVOKED}),
    Kind.ROOTS: frozenset({Standing.UNKNOWN}),
}
"""Which messages are heard although their key has no certificate that counts: to be answered.

Roots because the chain itself vouches for the key. A revoked device may not have seen its
tombstone: whoever answers its join tells it.
"""

_WHY_NOT: Final[Mapping[Standing, Reason]] = {
    Standing.EXPIRED: Reason.EXPIRED,
    Standing.REVOKED: Reason.REVOKED,
}
_OFFICES: Final[Mapping[Role, str]] = {Role.AGGREGATOR: AGGREGATOR, Role.AUTHORITY: AUTHORITY}


@dataclass(frozen=True, slots=True)
class Received:
    """A message that was signed by who may sign it, on the topic that it is for."""

    address: Address
    message: Message
    envelope: bytes
    standing: Standing = Standing.CERTIFIED

    @property
    def certified(self) -> bool:
        """Whether its key has a certificate that counts."""
        return self.standing is Standing.CERTIFIED

    @property
    def hash(self) -> bytes:
        """Message hash, 32 bytes; computed when it is asked for: most messages need none."""
        return digest.message_hash(self.envelope)


@dataclass(frozen=True, slots=True)
class Known:
    """A key that somebody vouched for."""

    key: bytes  # public, 32 bytes
    serial: int
    kid: bytes  # of the key, hashed once
    until_s: int = 0  # Unix time; 0: it does not end
    revoked: bool = False
    signer: bytes | None = None  # public key; None: nothing was checked
    vouched: bool = True  # False: it stands in the message that it signed, and nowhere else

    def standing(self, now_s: int) -> Standing:
        """What is thought of the key at this time."""
        if not self.vouched:
            return Standing.UNKNOWN
        if self.revoked:
            return Standing.REVOKED
        return Standing.EXPIRED if 0 < self.until_s < now_s else Standing.CERTIFIED


@dataclass(slots=True)
class Trust:
    """The keys of one fleet, as one end knows them.

    largest: bytes of a message that are looked at, on an address; more are refused unread
    """

    topics: Topics
    root: bytes  # public key, 32 bytes: the one that this end is configured with
    largest: Callable[[Address], int] = lambda address: address.kind.largest
    _roots: tuple[Known, ...] = field(init=False)  # the same, and its successors
    _known: dict[str, Known] = field(default_factory=dict, init=False)  # by owner
    _kids: Counter[bytes] = field(default_factory=Counter, init=False)  # of _known and the roots

    def __post_init__(self) -> None:
        self._roots = (_known_root(self.root),)
        self._kids[self._roots[0].kid] += 1

    def open(self, topic: str, data: bytes, now_s: int = 0) -> Received:
        """Check all that is sent on a topic. Raises Refused. Certificates are taken in at once.

        now_s: Unix time, as far as it is known; 0: it is not, and nothing is over
        """
        address = self.topics.parse(topic)
        if len(data) > (most := self.largest(address)):
            raise Refused(Reason.SIZE, f"{len(data)} bytes, at most {most} here")
        parts = envelope.parse(data, address.kind)
        signer = self._find_signer(address, parts)
        parts.verify(self.topics.bound(topic), signer.key)
        standing = _standing(address.kind, signer, now_s)
        if address.plan_kind is not None and address.plan_kind not in _PLAN_KINDS:
            raise Refused(Reason.PLAN_KIND, address.plan_kind)
        message = payload.decode(address.kind, parts.payload)
        _check_address(address, message)
        if isinstance(message, Certificate):
            self._learn(message, signer.key)
        elif isinstance(message, Roots):
            self._follow(message)
            standing = Standing.CERTIFIED
        return Received(address, message, data, standing)

    def known(self, owner: str) -> Known | None:
        """Find the key of a device, "aggregator" or "authority"; None: nobody vouched for one."""
        return self._known.get(owner)

    @property
    def roots(self) -> tuple[bytes, ...]:
        """The root key that this end is configured with, and those that came after it."""
        return tuple(root.key for root in self._roots)

    def know(
        self, owner: str, key: bytes, serial: int, until_s: int = 0, revoked: bool = False
    ) -> None:
        """Take in a certificate that was verified before it was stored: nothing is checked."""
        self._set(owner, Known(key, serial, kid(key), until_s, revoked))

    def forget(self, owner: str) -> None:
        """Trust this device (or aggregator) no longer, until it has another certificate."""
        known = self._known.pop(owner, None)
        if known is not None:
            self._kids[known.kid] -= 1
            if not self._kids[known.kid]:
                del self._kids[known.kid]

    # --- who signed it ---------------------------------------------------------------------------

    def _find_signer(self, address: Address, parts: Envelope) -> Known:
        """Find the one key that may sign here; which key did sign only explains a refusal."""
        for known in self._signers(address):
            if known.kid == parts.kid:
                return known
        if self._may_vouch(address):
            inside = _key_inside(parts, address.kind)
            if inside is not None and kid(inside) == parts.kid:
                return Known(inside, 0, parts.kid, vouched=False)
        if parts.kid in self._kids:
            raise Refused(Reason.ROLE, f"this key does not sign {address.kind} here")
        raise Refused(Reason.UNKNOWN_KEY, parts.kid.hex())

    def _signers(self, address: Address) -> tuple[Known, ...]:
        """The keys that may have signed what is sent there, as far as they are known."""
        signer = address.kind.signer
        if signer is Signer.NEWEST:
            return ()
        if signer is not Signer.ROOT:
            owner = AGGREGATOR if signer is Signer.AGGREGATOR else address.device or ""
            return (self._known[owner],) if owner in self._known else ()
        if address.owner in _OFFICES.values() or AUTHORITY not in self._known:
            return self._roots
        return (self._known[AUTHORITY], *self._roots)

    def _may_vouch(self, address: Address) -> bool:
        """Whether a message may bring the key that it is signed with."""
        unknown = Standing.UNKNOWN in _HEARD.get(address.kind, ())
        return unknown and address.device not in self._known

    # --- what is taken in ------------------------------------------------------------------------

    def _learn(self, new: Certificate, signer: bytes) -> None:
        if new.fleet != self.topics.fleet:
            raise Refused(Reason.CERTIFICATE, "of another fleet")
        if new.id != _OFFICES.get(new.role, device_id(new.key)):
            raise Refused(Reason.CERTIFICATE, "the id is not that of the key")
        if new.role is Role.DEVICE and signer not in self._certifiers():
            raise Refused(Reason.CERTIFICATE, "outdated: by a root that was replaced")
        found = Known(new.key, new.serial, kid(new.key), new.until_s, new.revoked, signer)
        old = self._known.get(new.id)
        if old is None or self._age(new.id, found) > self._age(new.id, old):
            self._set(new.id, found)
            if new.role is not Role.DEVICE:
                self._drop_orphans()
        elif replace(old, signer=signer) != found:
            raise Refused(Reason.CERTIFICATE, f"outdated: serial {new.serial}")

    def _follow(self, new: Roots) -> None:
        """Take the successors in; what the roots before them signed counts until it is replaced."""
        for key in walk(self.roots, new, self.topics.fleet)[len(self._roots) :]:
            self._roots += (_known_root(key),)
            self._kids[self._roots[-1].kid] += 1

    def _set(self, owner: str, known: Known) -> None:
        self.forget(owner)
        self._known[owner] = known
        self._kids[known.kid] += 1

    def _age(self, owner: str, known: Known) -> tuple[int, int]:
        """Of two certificates of one owner the greater one counts.

        Of the aggregator and the authority that of the newer root does, whatever its serial.
        """
        office = owner in _OFFICES.values()
        return (self._rank(known.signer) if office else 0, known.serial)

    def _rank(self, signer: bytes | None) -> int:
        """How many roots came before this one, since the one that this end is configured with."""
        return self.roots.index(signer) if signer in self.roots else 0

    def _certifiers(self) -> tuple[bytes | None, ...]:
        """Whose word on devices counts: the authority's, and that of roots that are in force.

        A root is not any more when a later one has certified the aggregator or the authority.
        """
        offices = [self._known[owner] for owner in _OFFICES.values() if owner in self._known]
        floor = max((self._rank(known.signer) for known in offices), default=0)
        authority = self._known.get(AUTHORITY)
        deputies = [] if authority is None or authority.revoked else [authority.key]
        return (*self.roots[floor:], *deputies, None)

    def _drop_orphans(self) -> None:
        """Forget devices whose certificate was signed by a key that is not in force any more."""
        signers = self._certifiers()
        for owner in [owner for owner, known in self._known.items() if known.signer not in signers]:
            if owner not in _OFFICES.values():
                self.forget(owner)


def _known_root(key: bytes) -> Known:
    return Known(key, 0, kid(key))


def _standing(kind: Kind, signer: Known, now_s: int) -> Standing:
    """What is thought of the key that signed. Raises Refused where that does not do."""
    standing = signer.standing(now_s)
    if standing is Standing.CERTIFIED or standing in _HEARD.get(kind, ()):
        return standing
    raise Refused(_WHY_NOT[standing], f"the key that signed this {kind}")


def _check_address(address: Address, message: Message) -> None:
    """Check that what a message says twice, in its topic and inside, it says alike."""
    match message:
        case Certificate() if message.id != address.owner:
            raise Refused(Reason.CERTIFICATE, "for another id")
        case Join(key=bytes(key)) | Enrol(key=key) if device_id(key) != address.device:
            raise Refused(Reason.CERTIFICATE, "the key inside is another device's")
        case Plan() | Rest() | Model() if message.spec.task != address.task:
            raise Refused(Reason.SHAPE, "of another task")
        case Plan() if message.kind != address.plan_kind:
            raise Refused(Reason.SHAPE, "of another kind of plan")
        case Model() | Change() if message.version != address.version:
            raise Refused(Reason.SHAPE, "of another version")
        case Update() if (message.plan_id, 0) != (address.plan_id, address.chunk):
            raise Refused(Reason.SHAPE, "on the topic of another plan or chunk")


def _key_inside(parts: Envelope, kind: Kind) -> bytes | None:
    """The public key inside a message that vouches for itself; None: it has none."""
    match payload.decode(kind, parts.payload):
        case Join() | Enrol() as message:
            return message.key
        case Roots() as message:
            return message.links[-1].key
    return None
