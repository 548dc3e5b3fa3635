"""How `serve` tells the MQTT broker whom to let in, and puts off whom it must not."""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from fedling_broker.authority import vouching, x509
from fedling_broker.authority.x509 import TlsAuthority
from fedling_broker.config import Config
from fedling_broker.mosquitto.files import Files
from fedling_broker.service.cutting import Cutter, Gatehouse, Pass
from fedling_broker.service.gate import Guests
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.net import tls as tls_layer
from fedling_protocol.net import tls_key
from fedling_protocol.net.credentials import Access
from fedling_protocol.net.ports import Link, Owner
from fedling_protocol.runtime.loop import Clock
from fedling_protocol.runtime.worker import Worker

log = logging.getLogger(__name__)

SKEW = timedelta(days=1)  # the MQTT broker's clock may be behind

LinkOf = Callable[[Access, str, Owner], Link]


@dataclass(frozen=True, slots=True)
class Admission:
    """Both ways, as far as this machine has the authority's keys and mosquitto's files."""

    found: Config
    make_link: LinkOf

    def write(self, guests: Guests) -> None:
        """Have the list of revoked ones and mosquitto's files say so. Off the loop.

        Raises CannotWrite, IdentityError.
        """
        tls, crl = self._tls(), None
        if tls is not None:
            if guests.serials - tls.revoked():
                tls.revoke(*guests.serials)
            crl = tls.list()
        if self.found.files is not None:
            Files(self.found.files).tell(self.found.topics, guests.revoked, crl, guests.logins)

    def cutter(self, clock: Clock, worker: Worker) -> Callable[[str], None]:
        """What puts a device off; nobody, where no certificate can be made for that."""
        if self._tls() is None or self.found.file.mqtt.certificate_file is None:
            return _leave
        return Cutter(clock, worker, random.random, Gatehouse(self._issue, self._revoke)).cut

    def _tls(self) -> TlsAuthority | None:
        keys = vouching.load(self.found.authority)
        return None if keys is None else keys.tls

    def _issue(self, device: str, seconds: int) -> Pass:
        """Make a pass; its key is on disk for a moment, since Python's ssl reads files only."""
        tls, now = self._tls(), datetime.now(UTC)
        assert tls is not None
        key, ends = tls_key.generate(), now + timedelta(seconds=seconds)
        made = tls.client(device, tls_key.public(key), now - SKEW, ends)
        with durable.scratch(self.found.authority) as folder:
            pair = folder / "pass.crt", folder / "pass.key"
            for file, data in zip(pair, (x509.pem(made), tls_key.pem(key)), strict=True):
                durable.create_file(file, data)
            mqtt = replace(self.found.file.mqtt, certificate_file=pair[0], key_file=pair[1])
            access = Access(None, tls_layer.layer_of_now(mqtt))
        return Pass(x509.serial(made), partial(self.make_link, access))

    def _revoke(self, serial: int) -> None:
        tls = self._tls()
        assert tls is not None
        tls.revoke(serial)
        if self.found.files is not None:
            Files(self.found.files).tell_revoked(tls.list())


def _leave(device: str) -> None:
    log.warning(
        "%s is revoked: its connection lives until it ends, since this machine has no authority for"
        " TLS that could put it off",
        device,
    )
