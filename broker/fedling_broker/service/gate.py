"""Keeps what the MQTT broker reads as the database says: whose tokens count, who was revoked.

Looked at with each change in the database and once a minute, since tokens end by themselves. What
differs is written beside the loop. Who was revoked is then put off (cutting.py): also those whom an
earlier life of this process may not have come to.
"""

import logging
from collections.abc import Callable

from fedling_broker.mosquitto.configuration import SLOTS
from fedling_broker.mosquitto.passwords import Login
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_protocol.classes import dataclass
from fedling_protocol.runtime import mishaps
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.worker import Worker

log = logging.getLogger(__name__)

AGAIN_S = 10.0  # after a disk that refused


@dataclass(frozen=True, slots=True)
class Guests:
    """Who is let in, and who is not any more.

    revoked: device ids; serials: of their certificates for TLS; logins: of tokens that count
    able: those of the revoked whose certificates for TLS did not end by themselves
    """

    revoked: frozenset[str] = frozenset()
    serials: frozenset[int] = frozenset()
    logins: frozenset[Login] = frozenset()
    able: frozenset[str] = frozenset()


def read(devices: Devices, store: Store, now_s: Callable[[], int]) -> Guests:
    """Look up who they are."""
    now, revoked = now_s(), [device.id for device in devices.revoked()]
    logins = set()
    for invitation in store.invitations.live(now):
        token = invitation.token
        password = token.password
        logins |= {Login(token.user(slot), password) for slot in range(SLOTS)}
    return Guests(
        frozenset(revoked),
        frozenset(store.tls_certificates.revoked()),
        frozenset(logins),
        frozenset(device for device in revoked if _is_able(store, device, now)),
    )


def _is_able(store: Store, device: str, now_s: int) -> bool:
    """Whether it may have a connection: one of its certificates has not ended by itself."""
    return any(not one.until_s or one.until_s > now_s for one in store.tls_certificates.of(device))


class Gate:
    """look() belongs in a turn."""

    def __init__(
        self,
        clock: Clock,
        worker: Worker,
        read: Callable[[], Guests],
        write: Callable[[Guests], None],
        cut: Callable[[str], None],
    ) -> None:
        """read: the database. write: what the MQTT broker reads, off the loop. cut: one device"""
        self._clock = clock
        self._worker = worker
        self._read = read
        self._write = write
        self._cut = cut
        self._wanted: Guests | None = None
        self._writing = False
        self._cutting: set[str] = set()  # in this life

    def look(self) -> None:
        """Compare, and have written what differs. What is written last is what was read last."""
        guests = self._read()
        if guests != self._wanted:
            self._wanted = guests
            self._begin()

    def _begin(self) -> None:
        if self._writing or self._wanted is None:
            return
        guests, self._writing = self._wanted, True

        def written(_: None) -> None:
            self._on_written(guests)

        self._worker.do(lambda: self._write(guests), written, self._on_failed)

    def _on_written(self, guests: Guests) -> None:
        self._writing = False
        for device in sorted(guests.able - self._cutting):
            self._cutting.add(device)
            self._cut(device)
        if guests != self._wanted:
            self._begin()

    def _on_failed(self, error: Exception) -> None:
        log.error("the MQTT broker cannot be told whom to let in: %s", mishaps.sentence(error))
        self._writing = False
        self._clock.after(AGAIN_S, self._begin)
