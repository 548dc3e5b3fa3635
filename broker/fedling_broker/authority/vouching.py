"""What `serve` has of the authority: the keys that certify devices, never the root key."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from fedling_broker.authority import directory, x509
from fedling_broker.authority.roles import DAY_S
from fedling_broker.authority.x509 import TlsAuthority
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.identity import SigningKey

LAST = datetime(9999, 12, 31, tzinfo=UTC)  # that a certificate for TLS can say


@dataclass(frozen=True, slots=True)
class Vouching:
    """The authority as far as it is for devices."""

    key: SigningKey
    tls: TlsAuthority
    grace_s: int

    def client(self, owner: str, tls_key: bytes, until_s: int) -> bytes:
        """Certify a client of the MQTT broker, in DER form. Raises ValueError: no such key.

        until_s: of its fedling certificate; the MQTT broker lets it in for the grace longer, so
        that it can ask for another one. 0: it never ends
        """
        ends = LAST if not until_s else _moment(until_s + self.grace_s)
        return self.tls.client(owner, tls_key, x509.EPOCH, ends)


def load(path: Path) -> Vouching | None:
    """Read the keys; None: there are none here, and devices are certified by hand.

    Raises IdentityError, SettingsError, BadInput.
    """
    if not (path / directory.AUTHORITY_KEY).exists():
        return None
    found = directory.open_(path)
    return Vouching(found.authority_key(), found.tls(), found.file.grace_days * DAY_S)


def _moment(seconds: int) -> datetime:
    return min(x509.EPOCH + timedelta(seconds=seconds), LAST)
