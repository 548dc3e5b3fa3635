"""What the server of a fleet stands on, made from nothing: certificates, mosquitto's files.

What is there stays; a second run changes what is too old or called by other names.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509 as library

from fedling_broker.authority import x509
from fedling_broker.authority.x509 import TlsAuthority
from fedling_broker.mosquitto import access
from fedling_broker.mosquitto.configuration import CA, Configuration, Tls
from fedling_broker.mosquitto.files import Files
from fedling_broker.mosquitto.process import own_user
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing
from fedling_protocol.net import tls_key
from fedling_protocol.wire.topics import Topics

CONFIGURATION, LOG = "mosquitto.conf", "mosquitto.log"
OWN_KEY, OWN_CERTIFICATE = "tls.key", "tls.crt"  # the aggregator's, in its state
OWN_LIFE = timedelta(days=5 * 365)
# Warnings are of patterns without %u, which are meant; a device that comes and goes is no news.
QUIET = ("log_type error", "log_type notice", "connection_messages false")


@dataclass(frozen=True, slots=True)
class Ground:
    """Where it is made. files: of mosquitto; state: of the aggregator"""

    files: Path
    state: Path

    @property
    def configuration(self) -> Path:
        return self.files / CONFIGURATION

    @property
    def log(self) -> Path:
        return self.files / LOG

    @property
    def ca(self) -> Path:
        """Whom the aggregator believes the MQTT broker by."""
        return self.files / CA

    def lay(self, tls: TlsAuthority, topics: Topics, hosts: Sequence[str]) -> None:
        """Make certificates and lists. Raises CannotWrite, IdentityError, ValueError."""
        Files(self.files).prepare(tls, topics, hosts)
        self.certify_aggregator(tls, topics.fleet)

    def configure(self, port: int, enrolment: int) -> None:
        """Write mosquitto.conf, for one that we run ourselves. Raises CannotWrite."""
        text = Configuration(
            port,
            tls=Tls(str(self.files.absolute()), enrolment),
            user=own_user(),
            more=QUIET,
        ).text()
        with writing(str(self.files)):
            durable.write_file(self.configuration, text.encode())

    def certify_aggregator(self, tls: TlsAuthority, fleet: str) -> None:
        """Make its key and certificate for TLS, in its state. Raises CannotWrite, IdentityError."""
        with writing(str(self.state)):
            public = tls_key.public(tls_key.ensure(self.state / OWN_KEY))
            path = self.state / OWN_CERTIFICATE
            if path.exists() and _serves(path.read_bytes(), tls, public):
                return
            name = access.aggregator(fleet)
            ends = datetime.now(UTC) + OWN_LIFE
            durable.write_file(path, x509.pem(tls.client(name, public, x509.EPOCH, ends)))


def _serves(data: bytes, tls: TlsAuthority, public: bytes) -> bool:
    """Whether a certificate is by this authority, of this key, and holds for long."""
    try:
        found = library.load_pem_x509_certificate(data)
    except ValueError:
        return False
    own = found.issuer == tls.certificate.subject and x509.public_point(found) == public
    return own and x509.lasts(found, OWN_LIFE)
