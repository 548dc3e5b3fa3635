"""Renews this device's certificates over the living connection, long before they are over.

At two thirds of their life, and a part of it more that is each device's own, so that a fleet that
was enrolled in one hour does not ask in one hour. Asked again and again, ever more rarely, until
there is an answer; the old certificates are used until the new ones are whole.

What reads certificates is imported when it is time, beside the loop: 3 MB that no other day needs.
"""

import hmac
import logging
from collections.abc import Callable
from dataclasses import field
from functools import partial
from pathlib import Path

from fedling_agent.enrol import asking
from fedling_agent.enrol.asking import Denied, Granted
from fedling_agent.service.calendar import Calendar
from fedling_agent.service.outbox import Outbox
from fedling_agent.service.writer import Writer
from fedling_agent.store.identity import Identity
from fedling_protocol.classes import dataclass
from fedling_protocol.net.ports import Link
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.loop import Clock, Timer
from fedling_protocol.wire.messages import Certificate, Enrol, Enrolled, Grant
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.trust import Received

log = logging.getLogger(__name__)

LOOK_S = 3600.0  # the calendar may jump: it is looked at so often
SOON_S = 20.0  # a fleet that comes back at once, all of it late, asks within so long
FIRST_S, LONGEST_S = 60.0, 6 * 3600.0  # between two questions without an answer
NONCE = 16


def due_s(certificate: Certificate, secret: bytes) -> int | None:
    """When to renew, in Unix time: between 8 and 9 twelfths of its life; None: it has no end."""
    life = certificate.until_s - certificate.issued_s
    if not certificate.until_s or not certificate.issued_s:
        return None
    words = b"renewal %d" % certificate.serial
    share = int.from_bytes(hmac.digest(secret, words, "sha256")[:4], "big") / 2**32
    return certificate.issued_s + int(life * (8 + share) / 12)


@dataclass(frozen=True, slots=True)
class Hands:
    """What a renewal works with.

    directory: where the pair of TLS lies
    pair: whether the connection is made with that pair; if not, only the device's key is certified
    check: has what was said to a question looked at, and learned. Raises Refused
    """

    clock: Clock
    calendar: Calendar
    link: Link
    outbox: Outbox
    writer: Writer
    identity: Identity
    directory: Path
    pair: bool
    dice: Callable[[int], bytes]
    draw: Callable[[], float]
    check: Callable[[Received, Enrol], object]


@dataclass(slots=True)
class Renewal:
    """One device's; quiet until it knows a certificate that has an end."""

    _hands: Hands
    _certificate: Certificate | None = None
    _asked: Enrol | None = None  # and not answered
    _timer: Timer | None = None
    _wanted: bool = False  # it is time, whatever the calendar says
    _closed: bool = False
    _backoff: Backoff = field(init=False)

    def __post_init__(self) -> None:
        self._backoff = Backoff(FIRST_S, LONGEST_S, self._hands.draw)

    @property
    def due_s(self) -> int | None:
        """When the present certificate is renewed, in Unix time."""
        secret, known = self._hands.identity.secret, self._certificate
        return None if known is None else due_s(known, secret)

    def holds(self, certificate: Certificate) -> None:
        """This is the device's certificate from now on."""
        if certificate != self._certificate:
            self._certificate, self._wanted = certificate, False
            self._set(0.0)

    def forget(self) -> None:
        """There is nothing to renew any more."""
        self._certificate, self._wanted, self._asked = None, False, None

    def expired(self) -> None:
        """The aggregator says so: whatever our clock says, it is time."""
        if not self._wanted and not self._closed:
            self._wanted = True
            self._set(SOON_S * self._hands.draw())

    def connected(self) -> None:
        """What was asked on the last connection may be lost."""
        if self._due:
            self._set(SOON_S * self._hands.draw())

    def close(self) -> None:
        """Ask no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def answer(self, received: Received) -> Granted | Denied:
        """Take what the aggregator said, rightly signed: what it granted. Raises Refused.

        The pair is to be written before the rest: a kill between has all of it asked for again.
        """
        asked, answer = self._asked, received.message
        assert isinstance(answer, Enrolled)
        if asked is None or answer.nonce != asked.nonce:
            raise Refused(Reason.UNASKED, "not to the last question")
        self._check_pair(asked, answer.grant)
        self._hands.check(received, asked)
        self._asked = None
        if answer.grant is None:
            return Denied(answer.reason, proven=True)
        granted = asking.granted(answer.grant)
        self._write_pair(granted.grant)
        new = granted.certificate
        self._backoff = Backoff(FIRST_S, LONGEST_S, self._hands.draw)
        self._hands.calendar.told(new.issued_s)
        self.holds(new)
        log.info("the device's certificate was renewed")
        return granted

    @property
    def _due(self) -> bool:
        due = self.due_s
        late = due is not None and self._hands.calendar.now_s() >= due
        return not self._closed and (self._wanted or late)

    def _set(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._timer = self._hands.clock.after(seconds, self._look)

    def _look(self) -> None:
        if not self._due or not self._hands.link.connected:
            self._set(LOOK_S)
            return
        self._hands.writer.do(partial(_ask_key, self._hands.directory), self._ask)
        self._set(self._backoff.next_s() + FIRST_S)

    def _ask(self, tls_key: bytes) -> None:
        hands, name = self._hands, self._certificate.name if self._certificate else ""
        if not hands.link.connected or self._closed:
            return
        key, nonce = hands.identity.key.public, hands.dice(NONCE)
        self._asked = asking.ask(key, tls_key, nonce, name, None)
        hands.outbox.enrol(self._asked, "asks for a new certificate")

    def _check_pair(self, asked: Enrol, grant: Grant | None) -> None:
        """Raise Refused unless the part for TLS is of use."""
        certificate = None if grant is None else grant.tls_certificate
        ca = None if grant is None else grant.tls_ca
        if self._hands.pair and certificate is not None and ca is not None:
            from fedling_agent.store import tls_pair
            from fedling_agent.store.tls_pair import NotAPair

            try:
                tls_pair.check(certificate, ca, asked.tls_key)
            except NotAPair as error:
                raise Refused(Reason.CERTIFICATE, str(error)) from error

    def _write_pair(self, grant: Grant) -> None:
        hands = self._hands
        if hands.pair and grant.tls_certificate is not None and grant.tls_ca is not None:
            from fedling_agent.store import tls_pair

            take = partial(tls_pair.take, hands.directory, grant.tls_certificate, grant.tls_ca)
            hands.writer.do(take, lambda _: log.info("TLS has a new key from the next connect on"))


def _ask_key(directory: Path) -> bytes:
    from fedling_agent.store import tls_pair

    return tls_pair.ask_key(directory)
