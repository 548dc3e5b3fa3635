"""Who comes into the fleet, and who stays: answers devices that ask for certificates.

SPEC.md section 7 has the table. A use of a token is on disk before the answer leaves; the same key
that asks again gets the same certificates, since an answer may be lost.
"""

import logging
from collections.abc import Callable
from functools import partial

from fedling_broker.authority import certificates, roles
from fedling_broker.authority.certificates import ROOTS
from fedling_broker.authority.roles import DAY_S
from fedling_broker.authority.signing import BUILT_S
from fedling_broker.authority.vouching import Vouching
from fedling_broker.service.counters import Counters
from fedling_broker.service.publisher import Publisher
from fedling_broker.service.roster import Roster
from fedling_broker.service.turns import Turns
from fedling_broker.store.devices import Certified, Devices, NameTaken
from fedling_broker.store.invitations import Invitation, Invitations
from fedling_broker.store.tls_certificates import TlsCertificate, TlsCertificates
from fedling_protocol.classes import dataclass
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.throttle import Throttle
from fedling_protocol.wire import enrolment
from fedling_protocol.wire.messages import Enrol, Enrolled, EnrolReason, Grant, Role
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.token import Token

log = logging.getLogger(__name__)

STRANGERS = 60  # who proves nothing is answered so often at once; then once a second
MOST_A_DAY = 12  # certificates for TLS that one device is made in a day


class Refusal(Exception):
    """Why a device does not get what it asked for."""

    def __init__(self, reason: EnrolReason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Place:
    """Where devices find the MQTT broker, and which root key this end is configured with."""

    host: str
    port: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Books:
    """What is written of devices that enrol."""

    devices: Devices
    invitations: Invitations
    tls: TlsCertificates


class Registrar:
    """What it does belongs in a turn. load: reads the authority's keys anew."""

    def __init__(
        self,
        clock: Clock,
        books: Books,
        turns: Turns,
        publisher: Publisher,
        roster: Roster,
        counters: Counters,
        place: Place,
        load: Callable[[], Vouching | None],
    ) -> None:
        self._clock = clock
        self._devices = books.devices
        self._invitations = books.invitations
        self._tls = books.tls
        self._turns = turns
        self._publisher = publisher
        self._roster = roster
        self._counters = counters
        self._place = place
        self._load = load
        self._vouching: Vouching | None = None
        self._strangers = Throttle(STRANGERS, 1.0)

    def enrol(self, device: str, ask: Enrol) -> None:
        """Answer a device whose message was verified with the key in it."""
        token = None
        try:
            invitation = self._invitation(ask)
            token = None if invitation is None else invitation.token
            with self._turns.part():
                grant = self._grant(device, ask, invitation)
        except Refusal as refusal:
            self._refuse(device, ask, token, refusal.reason)
        else:
            self._answer(device, token, Enrolled(ask.nonce, "", grant))

    # --- who asks --------------------------------------------------------------------------------

    def _invitation(self, ask: Enrol) -> Invitation | None:
        """The invitation whose bearer asks; None: it brought no token."""
        if ask.token_id is None:
            return None
        found = self._invitations.find(ask.token_id)
        if found is None or not enrolment.proves(found.token, ask):
            raise Refusal(EnrolReason.TOKEN_UNKNOWN)
        return found

    def _grant(self, device: str, ask: Enrol, invitation: Invitation | None) -> Grant:
        """Certify a device that may be. Raises Refusal."""
        known, now_s = self._devices.look_up(device), int(self._clock.wall())
        if known is not None and known.revoked:
            raise Refusal(EnrolReason.REVOKED)
        vouching = self._keys()
        if vouching is None:
            raise Refusal(EnrolReason.BY_HAND)
        if invitation is None:
            certified, new = self._renewed(known, vouching, now_s), False
        else:
            new = not self._invitations.has_used(invitation.token.id, device)
            certified = self._enrolled(device, ask, known, invitation, vouching, now_s)
        tls = self._for_tls(certified, ask.tls_key, vouching, now_s, invited=new)
        return self._give(
            certified, tls, None if invitation is None else invitation.token, vouching
        )

    def _keys(self) -> Vouching | None:
        """The authority's keys in force: another command may have put others in their place."""
        own = self._devices.find(AUTHORITY)
        if own is None:
            return None
        if self._vouching is None or self._vouching.key.public != own.key:
            self._vouching = self._load()
        found = self._vouching
        return found if found is not None and found.key.public == own.key else None

    # --- certificates ----------------------------------------------------------------------------

    def _enrolled(
        self,
        device: str,
        ask: Enrol,
        known: Certified | None,
        invitation: Invitation,
        vouching: Vouching,
        now_s: int,
    ) -> Certified:
        token_id = invitation.token.id
        if known is not None and self._invitations.has_used(token_id, device):
            return known
        if invitation.is_used_up:
            raise Refusal(EnrolReason.TOKEN_USED)
        if invitation.is_late(now_s):
            raise Refusal(EnrolReason.TOKEN_LATE)
        name = invitation.name or ask.name or ("" if known is None else known.term.name)
        certified = self._certify(device, ask.key, name, vouching, now_s)
        self._invitations.use(token_id, device)
        self._counters.count("enrolled")
        log.info("%s is enrolled%s", device, f" as {name}" if name else "")
        return certified

    def _renewed(self, known: Certified | None, vouching: Vouching, now_s: int) -> Certified:
        if known is None:
            raise Refusal(EnrolReason.NOT_ENROLLED)
        term = known.term
        if term.until_s and now_s > term.until_s + vouching.grace_s:
            raise Refusal(EnrolReason.NOT_ENROLLED)
        if term.until_s and abs(now_s - term.issued_s) < DAY_S:  # an answer was lost
            return known
        self._counters.count("renewed certificates")
        return self._certify(known.id, known.key, term.name, vouching, now_s)

    def _certify(
        self, device: str, key: bytes, name: str, vouching: Vouching, now_s: int
    ) -> Certified:
        if now_s < BUILT_S:  # what is certified now would be over as soon as the clock is right
            raise Refusal(EnrolReason.BUSY)
        term = roles.term(Role.DEVICE, now_s, name)
        known = self._devices.find(device)
        if known is not None and known.term == term:
            return known
        try:
            made = self._devices.certify(device, key, vouching.key, term)
        except NameTaken:
            raise Refusal(EnrolReason.NAME_TAKEN) from None
        self._roster.admit(made)
        return made

    def _for_tls(
        self, certified: Certified, tls_key: bytes, vouching: Vouching, now_s: int, *, invited: bool
    ) -> bytes:
        """The certificate for TLS of this key, as long as the other one counts.

        invited: who asks brought a token that this device had not used
        """
        owner, term = certified.id, certified.term
        made = self._tls.of(owner)
        until_s = term.until_s + vouching.grace_s if term.until_s else 0
        for one in made:
            if (one.key, one.until_s) == (tls_key, until_s):
                return one.der
        lately = [one for one in made if abs(now_s - one.issued_s) < DAY_S]
        if len(lately) >= MOST_A_DAY:
            raise Refusal(EnrolReason.BUSY)
        if lately and not invited:
            log.warning(
                "%s asks with another key for TLS than %d s ago: was its state copied, and is the"
                " copy in use? see: fedling-broker device list",
                owner,
                now_s - lately[0].issued_s,
            )
        der = vouching.client(owner, tls_key, term.until_s)
        self._tls.forget_old(owner, now_s)
        self._tls.add(TlsCertificate(owner, tls_key, der, now_s, until_s, invited))
        return der

    # --- answers ---------------------------------------------------------------------------------

    def _give(
        self, certified: Certified, tls: bytes, token: Token | None, vouching: Vouching
    ) -> Grant:
        """Put together all that a device must have."""
        authority, aggregator = self._devices.find(AUTHORITY), self._devices.find(AGGREGATOR)
        assert authority is not None  # its key is in force
        assert aggregator is not None  # the service would not have begun
        chain = self._devices.find(ROOTS)
        return Grant(
            root=self._root_of(token),
            authority=authority.envelope,
            aggregator=aggregator.envelope,
            device=certified.envelope,
            host=self._place.host,
            port=self._place.port,
            roots=None if chain is None else chain.envelope,
            tls_certificate=tls,
            tls_ca=vouching.tls.der,
        )

    def _root_of(self, token: Token | None) -> bytes:
        """The root key that a token names; of none the one in force, which every device follows."""
        chain = self._devices.find(ROOTS)
        successors = () if chain is None else certificates.links(chain.envelope)
        roots = [self._place.root, *(link.key for link in successors)]
        return next((r for r in roots if token is not None and token.vouches_for(r)), roots[-1])

    def _refuse(self, device: str, ask: Enrol, token: Token | None, reason: EnrolReason) -> None:
        """Tell why not. Who proves nothing is told so often, not more."""
        self._counters.count(f"not enrolled: {reason}")
        if token is None and self._strangers.take(self._clock.now()) > 0:
            return
        if token is not None:
            log.warning("%s is not enrolled: %s", device, reason)
        self._answer(device, token, Enrolled(ask.nonce, reason))

    def _answer(self, device: str, token: Token | None, answer: Enrolled) -> None:
        if token is not None:
            answer = enrolment.prove(token, answer)
        self._turns.then(partial(self._publisher.enrolled, device, answer))
