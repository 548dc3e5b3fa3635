"""Whose keys the aggregator trusts, and which certificates the MQTT broker holds.

All are trusted from the start, without a look at their signatures: each was signed before it was
stored. Published is the aggregator's own at each connect, a device's when it is new, and when a
device shows that it has none: by its key in a join.
"""

from functools import partial

from fedling_broker.config import Config
from fedling_broker.service.publisher import Publisher
from fedling_broker.service.turns import Turns
from fedling_broker.store.devices import Certified, Devices
from fedling_protocol.runtime.throttle import Throttle
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.names import AGGREGATOR
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.trust import Trust

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
        self._under_way = False  # others are being published or taken back

    def load(self, config: Config) -> None:
        """Before anything else. Raises SettingsError: broker.toml was changed after `init`."""
        self._take_in()
        own = self._devices.find(AGGREGATOR)
        if own is None:
            raise SettingsError(
                f"{config.state_dir}: the online key has no certificate; run: fedling-broker init"
            )
        try:
            self._trust.open(config.topics.of(Kind.KEYS, AGGREGATOR), own.envelope)
        except Refused as refused:
            raise SettingsError(
                f"{config.path}: the certificate of {AGGREGATOR} in {config.state_dir} is of"
                f" another fleet or root key: {refused}"
            ) from refused

    def look(self) -> list[str]:
        """Trust what was added, and no longer what was removed; the devices that were."""
        removed = self._take_in()
        self._say_news()
        return removed

    def connected(self) -> None:
        """The MQTT broker may have forgotten everything."""
        own = self._devices.find(AGGREGATOR)
        if own is not None:
            self._publish(own)
        self.greeted, self._under_way = True, False
        self._say_news()

    def lost(self) -> None:
        """A connection has ended. What was under way on it is forgotten by the next one."""
        self.greeted = False

    def knows(self, device: str) -> bool:
        """Whether it belongs to the fleet."""
        return self._trust.known(device) is not None

    def vouch(self, device: str) -> None:
        """A device that belongs to the fleet does not know it: tell it before it is answered."""
        certified = self._devices.find(device)
        if certified is not None:
            self._publish(certified)

    def note(self, device: str, key: bytes, now_s: int) -> bool:
        """One that does not belong to it asked; whether for the first time.

        A stranger makes a key for each question: so many are written down, not more. A device that
        was passed over asks again.
        """
        if not self._devices.asked(device) and self._strangers.take(now_s) > 0:
            return False
        return self._devices.ask(device, key, now_s)

    def _take_in(self) -> list[str]:
        changes = self._devices.changes(self._seen)
        for change in changes:
            self._seen = change.changed
            if change.removed:
                self._trust.forget(change.id)
            else:
                self._trust.know(change.id, change.key, change.serial)
        return [change.id for change in changes if change.removed]

    def _publish(self, certified: Certified) -> None:
        self._devices.set_retained(certified.id)
        self._turns.then(lambda: self._publisher.certificate(certified))

    # --- what the MQTT broker does not know yet --------------------------------------------------

    def _say_news(self) -> None:
        """A few at a time: a fleet that was enrolled at once must not hold the first answers up."""
        if self._under_way or not self.greeted:
            return
        new = self._devices.unpublished(AT_ONCE)
        gone = self._devices.withdrawn(AT_ONCE)
        for certified in new:
            self._devices.set_retained(certified.id)
        if new or gone:
            self._under_way = True
            self._turns.then(lambda: self._send(new, gone))

    def _send(self, new: list[Certified], gone: list[str]) -> None:
        """The last PUBACK asks for more; if it never comes, the next connect does."""
        waiting = set(gone) | {certified.id for certified in new}

        def acknowledged(owner: str, empty: bool) -> None:
            waiting.discard(owner)
            if empty:
                self._turns.run(lambda: self._devices.not_retained(owner))
            if not waiting:
                self._under_way = False
                self._turns.run(self._say_news)

        for certified in new:
            self._publisher.certificate(certified, partial(acknowledged, certified.id, False))
        for owner in gone:
            self._publisher.no_certificate(owner, partial(acknowledged, owner, True))
