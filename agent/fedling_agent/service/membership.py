"""What follows from what the fleet says of keys: this device belongs to it, or does not."""

import logging

from fedling_agent.enrol.asking import Granted
from fedling_agent.service import report
from fedling_agent.service.enrolment import Enrolment
from fedling_agent.service.inbox import Inbox
from fedling_agent.service.outbox import Outbox
from fedling_agent.service.renewal import Renewal
from fedling_agent.service.runners import Runners
from fedling_agent.service.teller import Teller
from fedling_agent.service.vouching import Vouching
from fedling_agent.session import events as ev
from fedling_agent.store.identity import Identity
from fedling_agent.training.slot import Slot
from fedling_protocol.wire.messages import Certificate, EnrolReason, Roots, Ticket, WaitReason
from fedling_protocol.wire.names import AGGREGATOR, AUTHORITY
from fedling_protocol.wire.trust import Received

log = logging.getLogger(__name__)


class Membership:
    """This device's; it has kept what counts, and asked for again what came too early."""

    def __init__(
        self,
        fleet: str,
        identity: Identity,
        enrolment: Enrolment,
        inbox: Inbox,
        vouching: Vouching,
        outbox: Outbox,
        renewal: Renewal,
        runners: Runners,
        slot: Slot,
        teller: Teller,
    ) -> None:
        self._fleet = fleet
        self._identity = identity
        self._enrolment = enrolment
        self._inbox = inbox
        self._vouching = vouching
        self._outbox = outbox
        self._renewal = renewal
        self._runners = runners
        self._slot = slot
        self._teller = teller

    # --- what was signed -------------------------------------------------------------------------

    def certificate(self, certificate: Certificate, payload: bytes) -> None:
        """Take in one that counts. What was retained may have come before it could be verified."""
        news = self._vouching.take(certificate, payload)
        if news and certificate.id == AGGREGATOR:
            self._outbox.ask_plans()
        if news and certificate.id == AUTHORITY:
            self._outbox.ask_keys()
        if certificate.id == self._identity.device:
            self.own(certificate)

    def own(self, certificate: Certificate) -> None:
        """This is what counts of this device itself."""
        if certificate.revoked:
            self.revoked()
            return
        self._renewal.holds(certificate)
        if self._enrolment.certified():
            log.info("this device is enrolled")
            self._runners.give_all(ev.Enrolled())
            self._teller.changed()

    def roots(self, roots: Roots, payload: bytes) -> None:
        """Take in a chain that counts; what its newest root signed may have come before it."""
        if self._vouching.take(roots, payload):
            self._outbox.ask_keys()

    def answer(self, received: Received) -> None:
        """Take in the answer to a renewal. Raises Refused."""
        answer = self._renewal.answer(received)
        if isinstance(answer, Granted):
            self._keep(answer)
        elif answer.reason == EnrolReason.REVOKED:
            self.revoked()
        else:
            log.warning("the device's certificate was not renewed: %s", answer.reason)

    def _keep(self, granted: Granted) -> None:
        for message, envelope in granted.learned:
            if isinstance(message, Certificate):
                self.certificate(message, envelope)
            else:
                self._vouching.take(message, envelope)

    def ticket(self, ticket: Ticket) -> None:
        """The aggregator may say that it knows this device not, or not any more."""
        if ticket.reason == WaitReason.NOT_ENROLLED:
            self.cleared()
            self._vouching.drop(self._identity.device)
            if self._inbox.refusals.may_log(WaitReason.NOT_ENROLLED):
                log.warning("not enrolled; the operator runs: %s", self._identity.add_command)
        if ticket.reason == WaitReason.EXPIRED:
            self._renewal.expired()

    # --- what nobody signed ----------------------------------------------------------------------

    def cleared(self) -> None:
        """The own certificate is gone: this device asks with its key, and the answer is signed."""
        if self._enrolment.denied():
            log.warning("not enrolled any more; to enrol it: %s", self._identity.add_command)

    def revoked(self) -> None:
        """The fleet has put this device out: it trains no more; its models go on answering."""
        if self._enrolment.taken_back():
            log.error("%s", report.revoked_words(self._fleet))
            self._renewal.forget()
            self._runners.close()
            self._slot.clear()

    def connected(self) -> None:
        """The MQTT broker lets us in; if no tombstone says otherwise, we belong to it again."""
        known = self._inbox.trust.known(self._identity.device)
        if self._enrolment.revoked and (known is None or not known.revoked):
            self._enrolment.revoked = False
            self._runners.restore()
        self._renewal.connected()
