"""Whose keys the aggregator trusts, and which certificates the MQTT broker holds.

All are trusted from the start, without a look at their signatures: each was signed before it was
stored. Published are the chain of root keys, the authority's and the aggregator's own at each
connect; a device's, or its tombstone, when it is new, and when a device shows that it has none: by
its key in a join.
"""

import logging
from functools import partial

from fedling_broker.authority import certificates
from fedling_broker.authority.certificates import ROOTS
from fedling_broker.config import Config
from fedling_broker.service.publisher import Publisher
from fedling_broker.service.turns import Turns
from fedling_broker.store.devices import OFFICES, Certified, Devices
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.runtime.throttle import Throttle
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.messages import Answer, Join, Ticket, WaitReason
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.trust import Received, Standing, Trust

log = logging.getLogger(__name__)

WAIT_S = 60  # a device whose key does not count is told to wait for so long
NOT_NOW = {Standing.EXPIRED: WaitReason.EXPIRED, Standing.REVOKED: WaitReason.NOT_ENROLLED}
AT_ONCE = 50  # certificates that are published before their PUBACK is awaited
STRANGERS = 60  # devices without certificate that are written down at once; then one a second


class Roster:
    """What it does with the store belongs in a turn, but for load()."""

    def __init__(self, devices: Devices, trust: Trust, turns: Turns, publisher: Publisher) -> None:
        self._devices = devices
        self._trust = trust
        self._turns = turns
        self._publisher = publisher
        self._seen = 0  # the last change that was looked at
        self.greeted = False  # the MQTT broker of this connection has the aggregator's own
        self._strangers = Throttle(STRANGERS, 1.0)
        self._under_way = False  # others are being published

    def load(self, config: Config) -> None:
        """Before anything else. Raises SettingsError: broker.toml was changed after `init`."""
        self._take_in()
        if self._devices.find(AGGREGATOR) is None:
            raise SettingsError(
                f"{config.state_dir}: the online key has no certificate; run: fedling-broker init"
            )
        try:
            certificates.trusted(
                self._devices.bundle().only(OFFICES), config.root_key, str(config.state_dir)
            )
        except BadInput as error:
            raise SettingsError(f"{config.path}: another fleet or root key: {error}") from error

    def look(self) -> list[str]:
        """Trust what was added, and no longer what was revoked; the devices that were."""
        revoked = self._take_in()
        self._say_news()
        return revoked

    def admit(self, certified: Certified) -> None:
        """Trust a certificate that was made in this turn, as soon as it is on disk, and tell it."""
        self._turns.then(lambda: self._know(certified))
        self._publish(certified)

    def connected(self) -> None:
        """The MQTT broker may have forgotten everything."""
        for owner in OFFICES:
            found = self._devices.find(owner)
            if found is not None:
                self._publish(found)
        self.greeted, self._under_way = True, False
        self._say_news()

    def lost(self) -> None:
        """A connection has ended. What was under way on it is forgotten by the next one."""
        self.greeted = False

    def knows(self, device: str) -> bool:
        """Whether it belongs to the fleet."""
        known = self._trust.known(device)
        return known is not None and not known.revoked

    # --- joins of who shows its key, or whose key does not count --------------------------------

    def introduce(self, device: str, key: bytes, certified: bool, now_s: int) -> None:
        """A device that knows of no certificate of its own sends its key."""
        if certified:
            self._vouch(device)
        elif self._note(device, key, now_s):
            log.warning(
                "%s is not enrolled; to enrol it: fedling-broker device add %s %s",
                device,
                device,
                key.hex(),
            )

    def put_off(self, device: str, received: Received, join: Join) -> None:
        """A device renews its certificate first, or has to learn that it is revoked.

        Raises Refused: one that is revoked does not doubt yet.
        """
        if received.standing is Standing.REVOKED:
            if join.key is None:
                raise Refused(Reason.REVOKED)
            self._vouch(device)
        reason, task = NOT_NOW[received.standing], received.address.task or ""
        ticket = Ticket(join.plan_id, join.nonce, Answer.WAIT, WAIT_S, reason)
        self._turns.then(partial(self._publisher.ticket, task, device, ticket))

    def _vouch(self, device: str) -> None:
        """A device does not know its certificate, or its tombstone: tell it before the answer."""
        certified = self._devices.look_up(device)
        if certified is not None and certified.envelope:
            self._publish(certified)

    def _note(self, device: str, key: bytes, now_s: int) -> bool:
        """One that does not belong to the fleet asked; whether for the first time.

        A stranger makes a key for each question: so many are written down, not more. A device that
        was passed over asks again.
        """
        if not self._devices.asked(device) and self._strangers.take(now_s) > 0:
            return False
        return self._devices.ask(device, key, now_s)

    # --- what changed ----------------------------------------------------------------------------

    def _take_in(self) -> list[str]:
        changes = self._devices.changes(self._seen)
        for change in changes:
            self._seen = change.changed
            if change.id != ROOTS:
                self._trust.know(
                    change.id, change.key, change.serial, change.until_s, change.revoked
                )
        return [change.id for change in changes if change.revoked]

    def _know(self, certified: Certified) -> None:
        self._trust.know(
            certified.id, certified.key, certified.serial, certified.term.until_s, certified.revoked
        )

    def _publish(self, certified: Certified) -> None:
        self._devices.set_retained(certified)
        self._turns.then(lambda: self._publisher.certificate(certified))

    # --- what the MQTT broker does not know yet --------------------------------------------------

    def _say_news(self) -> None:
        """A few at a time: a fleet that was enrolled at once must not hold the first answers up."""
        if self._under_way or not self.greeted:
            return
        new = self._devices.unpublished(AT_ONCE)
        for certified in new:
            if not certified.revoked:  # a tombstone until its PUBACK: nobody asks for it
                self._devices.set_retained(certified)
        if new:
            self._under_way = True
            self._turns.then(lambda: self._send(new))

    def _send(self, new: list[Certified]) -> None:
        """The last PUBACK asks for more; if it never comes, the next connect does."""
        waiting = {certified.id for certified in new}

        def acknowledged(certified: Certified) -> None:
            waiting.discard(certified.id)
            if certified.revoked:
                self._turns.run(lambda: self._devices.set_retained(certified))
            if not waiting:
                self._under_way = False
                self._turns.run(self._say_news)

        for certified in new:
            self._publisher.certificate(certified, partial(acknowledged, certified))
