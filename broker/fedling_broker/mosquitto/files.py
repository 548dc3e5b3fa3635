"""The directory of what mosquitto reads, and its files, which change while it runs.

Whoever runs mosquitto has it read them again when one has changed (SIGHUP); serve and commands only
write. In a directory with the set-group bit, as `fedling-broker setup` makes it, the group reads
them, which is mosquitto's, and a mark says that something has changed; else only the owner does.
The private key is for its owner alone.
"""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509 as library

from fedling_broker.authority import x509
from fedling_broker.authority.x509 import TlsAuthority
from fedling_broker.mosquitto import access, passwords
from fedling_broker.mosquitto.configuration import (
    ACCESS,
    CA,
    CERTIFICATE,
    ENROLMENT_ACCESS,
    KEY,
    PASSWORDS,
    REVOKED,
)
from fedling_broker.mosquitto.passwords import Login
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing
from fedling_protocol.net import tls_key
from fedling_protocol.wire.topics import Topics

RELOADED = (CERTIFICATE, KEY, CA, REVOKED, ACCESS, PASSWORDS, ENROLMENT_ACCESS)
CHANGED = "changed"  # in a shared directory: there is something that mosquitto has not read yet
FOR_GROUP = 0o640

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Files:
    """What is there stays as it is while nothing differs, so that nobody reloads for nothing."""

    directory: Path

    def prepare(self, tls: TlsAuthority, topics: Topics, hosts: Sequence[str]) -> None:
        """Make what is missing, a certificate for these names included.

        Raises CannotWrite, IdentityError, ValueError.
        """
        with writing(str(self.directory)):
            if not self.directory.exists():
                self.directory.mkdir(mode=0o700)
            self._certify(tls, hosts)
            self._put(CA, x509.pem(tls.der))
            self._put(REVOKED, tls.list())
            self._put(ENROLMENT_ACCESS, access.of_enrolment(topics).encode())
            if not (self.directory / ACCESS).exists():
                self._put(ACCESS, access.of_devices(topics, ()).encode())
            if not (self.directory / PASSWORDS).exists():
                self._put(PASSWORDS, b"")

    def tell(
        self, topics: Topics, revoked: Iterable[str], crl: bytes | None, logins: Iterable[Login]
    ) -> bool:
        """Write whom to let in; whether anything differs from before. Raises CannotWrite.

        revoked: device ids; crl: of their certificates, PEM, None: it is kept elsewhere;
        logins: of tokens that count
        """
        with writing(str(self.directory)):
            put = [
                crl is not None and self._put(REVOKED, crl),
                self._put(ACCESS, access.of_devices(topics, revoked).encode()),
                self._put(PASSWORDS, self._passwords(logins).encode()),
            ]
        return any(put)

    def tell_revoked(self, crl: bytes) -> bool:
        """Write the revocation list alone; whether it differs. Raises CannotWrite."""
        with writing(str(self.directory)):
            return self._put(REVOKED, crl)

    def stamp(self) -> Stamp:
        """What changes when one of the files does."""
        return tuple(_stamp(self.directory / name) for name in RELOADED)

    def _passwords(self, logins: Iterable[Login]) -> str:
        """Write the lines; who was there keeps the line, since a new one has another salt."""
        path = self.directory / PASSWORDS
        old = path.read_text().splitlines() if path.exists() else []
        lines = {line.partition(":")[0]: line for line in old}
        return passwords.text(
            lines.get(login.user) or login.line(os.urandom(passwords.SALT_BYTES))
            for login in sorted(logins, key=lambda login: login.user)
        )

    def _certify(self, tls: TlsAuthority, hosts: Sequence[str]) -> None:
        """Have the MQTT broker certified anew: other names, another authority, soon too old."""
        key = tls_key.public(tls_key.ensure(self.directory / KEY))
        path = self.directory / CERTIFICATE
        if not path.exists() or not _proves(path.read_bytes(), tls, hosts, key):
            self._put(CERTIFICATE, x509.pem(tls.server(hosts, key)))

    def _put(self, name: str, data: bytes) -> bool:
        path = self.directory / name
        if path.exists() and path.read_bytes() == data:
            return False
        self._write(name, data)
        self._mark()
        return True

    def _mark(self) -> None:
        """Have who watches a shared directory know, until it has taken the mark away."""
        if self._mode == FOR_GROUP and not (self.directory / CHANGED).exists():
            self._write(CHANGED, b"")

    def _write(self, name: str, data: bytes) -> None:
        """Write a file with its mode, whatever the umask: mosquitto must be able to read it."""
        durable.write_file(self.directory / name, data, self._mode, exact=True)

    @property
    def _mode(self) -> int:
        shared = self.directory.stat().st_mode & stat.S_ISGID
        return FOR_GROUP if shared else durable.PRIVATE


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _proves(data: bytes, tls: TlsAuthority, hosts: Sequence[str], key: bytes) -> bool:
    """Whether a certificate is by this authority, for these names, of this key, and lasts."""
    try:
        found = library.load_pem_x509_certificate(data)
    except ValueError:
        return False
    names = found.extensions.get_extension_for_class(library.SubjectAlternativeName).value
    return (
        found.issuer == tls.certificate.subject
        and x509.public_point(found) == key
        and names == x509.alternatives(hosts)
        and x509.lasts(found, x509.SERVER_LIFE)
    )
