"""The certificates of TLS: the fleet's own authority, what it signs, what it has revoked.

Three files in the authority's directory: its key, its certificate, and the revocation list, which
is also the memory of what was revoked.

What concerns the MQTT broker begins in 1970: a board without a clock battery believes it then, and
its signature says all that a date would. For the same reason, and since OpenSSL refuses everybody
once a list has run out, the list ends with the authority.
"""

import fcntl
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import (
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedling_protocol.classes import dataclass
from fedling_protocol.disk import durable
from fedling_protocol.net import tls_key
from fedling_protocol.wire.identity import IdentityError

KEY, CERTIFICATE, REVOKED = "tls-ca.key", "tls-ca.crt", "tls-revoked.pem"
READABLE = 0o644  # of a certificate and the list, which everybody is shown
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
CA_LIFE, SERVER_LIFE = 30 * YEAR, 10 * YEAR
OLD = 1 / 5  # a server's certificate with less of its life left is made anew at the next start
# Without an end (RFC 5280 section 4.1.2.5): the authority's own is checked with every signature.
NO_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TlsAuthority:
    """A P-256 authority whose files are in `directory`. Certificates go out in DER form."""

    directory: Path
    certificate: x509.Certificate
    _key: EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        """The authority's own certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def revocations(self) -> Path:
        """The file of list(), for whoever runs an MQTT broker on this machine."""
        return self.directory / REVOKED

    def server(self, hosts: Sequence[str], public_key: bytes) -> bytes:
        """Certify an MQTT broker for these names and addresses. Raises ValueError."""
        builder = self._leaf(hosts[0], public_key, ExtendedKeyUsageOID.SERVER_AUTH)
        builder = builder.add_extension(alternatives(hosts), critical=False)
        return self._sign(builder, EPOCH, datetime.now(UTC) + SERVER_LIFE)

    def client(self, name: str, public_key: bytes, begins: datetime, ends: datetime) -> bytes:
        """Certify one end, by the name that it has at the MQTT broker.

        public_key: 33 bytes; ValueError if it is no point of P-256. begins, ends: UTC
        """
        builder = self._leaf(name, public_key, ExtendedKeyUsageOID.CLIENT_AUTH)
        return self._sign(builder, begins, ends)

    def revoke(self, *serials: int) -> None:
        """Put certificates on the list, durably. Whoever runs the MQTT broker has it read again.

        Raises CannotWrite, IdentityError.
        """
        with self._alone():
            self._write_list(serials)

    def _write_list(self, serials: Iterable[int]) -> None:
        now = datetime.now(UTC)
        old = self._read()
        builder = _copied(old).issuer_name(self.certificate.subject)
        # Of two lists that mosquitto has read OpenSSL takes the one that begins later.
        begins = EPOCH + timedelta(seconds=_number(old) + 1)
        builder = builder.last_update(begins).next_update(NO_END)
        for number in {*serials} - self._serials(old):
            entry = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        builder = builder.add_extension(x509.CRLNumber(_number(old) + 1), critical=False)
        builder = builder.add_extension(self._identifier(), critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        durable.write_file(self.revocations, signed.public_bytes(Encoding.PEM), READABLE)

    def revoked(self) -> set[int]:
        """The serial numbers on the list. Raises IdentityError."""
        return self._serials(self._read())

    def list(self) -> bytes:
        """The revocation list in PEM form, as a crlfile of mosquitto. Raises IdentityError."""
        found = self._read()
        if found is None:
            raise IdentityError(f"{self.revocations}: missing; restore it from a backup")
        return found.public_bytes(Encoding.PEM)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from writing the list: none of two revocations may be lost."""
        with (self.directory / KEY).open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def _leaf(
        self, name: str, public_key: bytes, purpose: x509.ObjectIdentifier
    ) -> x509.CertificateBuilder:
        key = EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
        builder = _builder(_name(name), self.certificate.subject, key)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return builder.add_extension(self._identifier(), critical=False)

    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())

    def _sign(self, builder: x509.CertificateBuilder, begins: datetime, ends: datetime) -> bytes:
        builder = builder.not_valid_before(begins).not_valid_after(ends)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.DER)

    def _read(self) -> x509.CertificateRevocationList | None:
        """The list; None before the first one."""
        try:
            found = x509.load_pem_x509_crl(self.revocations.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise IdentityError(f"{self.revocations}: {error}; restore it from a backup") from error
        if not found.is_signature_valid(self._key.public_key()):
            raise IdentityError(f"{self.revocations}: not by {self.directory / KEY}")
        return found

    @staticmethod
    def _serials(found: x509.CertificateRevocationList | None) -> set[int]:
        return {entry.serial_number for entry in found or ()}


def create_ca(directory: Path, fleet: str) -> TlsAuthority:
    """Make what is missing of an authority: a power cut in the middle costs nothing.

    Raises IdentityError, CannotWrite.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = tls_key.ensure(directory / KEY)
    path = directory / CERTIFICATE
    if not path.exists():
        signed = _own_certificate(key, fleet)
        durable.write_file(path, signed.public_bytes(Encoding.PEM), READABLE)
    made = load_ca(directory)
    if not made.revocations.exists():
        made.revoke()
    return made


def load_ca(directory: Path) -> TlsAuthority:
    """Read an authority that create_ca() made. Raises IdentityError."""
    key = tls_key.load(directory / KEY)
    path = directory / CERTIFICATE
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise IdentityError(f"{path}: {error}; restore it from a backup") from error
    if public_point(certificate) != tls_key.public(key):
        raise IdentityError(f"{path}: not of {directory / KEY}; restore both from a backup")
    return TlsAuthority(directory, certificate, key)


def server_name(fleet: str) -> str:
    """The name that the MQTT broker's certificate proves, wherever that broker moves to."""
    return f"{fleet}.fedling"


def serial(certificate: bytes) -> int:
    """The number by which a certificate in DER form is revoked. Raises ValueError."""
    return x509.load_der_x509_certificate(certificate).serial_number


def pem(certificate: bytes) -> bytes:
    """Write a certificate in DER form as files have it. Raises ValueError."""
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)


def alternatives(hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    """The names and addresses that a server's certificate proves. Raises ValueError."""
    return x509.SubjectAlternativeName([_alternative(host) for host in hosts])


def ends(certificate: x509.Certificate) -> datetime:
    """When it holds no more. Before cryptography 42 the date has no zone, and is UTC."""
    found = getattr(certificate, "not_valid_after_utc", None) or certificate.not_valid_after
    return found.replace(tzinfo=UTC)


def lasts(certificate: x509.Certificate, life: timedelta) -> bool:
    """Whether enough of a life is left. life: that certificates of this role are made for"""
    return ends(certificate) - datetime.now(UTC) >= OLD * life


def public_point(certificate: x509.Certificate) -> bytes:
    """The public key of a certificate as messages spell it; empty: it is none of P-256."""
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return b""
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def _own_certificate(key: EllipticCurvePrivateKey, fleet: str) -> x509.Certificate:
    """Sign the authority's own. Its name has a part of its key: a successor's is another one."""
    mark = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = _name(f"fedling {fleet} {mark.digest.hex()[:8]}")
    builder = _builder(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    builder = builder.not_valid_before(EPOCH).not_valid_after(datetime.now(UTC) + CA_LIFE)
    return builder.sign(key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    mark = x509.SubjectKeyIdentifier.from_public_key(key)
    return builder.add_extension(mark, critical=False)


def _usage(*, signs: bool) -> x509.KeyUsage:
    """What a key is for: to sign certificates and lists, or handshakes."""
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _copied(old: x509.CertificateRevocationList | None) -> x509.CertificateRevocationListBuilder:
    """Begin a list with what is on another."""
    builder = x509.CertificateRevocationListBuilder()
    for entry in old or ():
        builder = builder.add_revoked_certificate(entry)
    return builder


def _number(old: x509.CertificateRevocationList | None) -> int:
    """Which list it is: 0 none, then from 1."""
    if old is None:
        return 0
    return old.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
