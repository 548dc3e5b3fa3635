"""Certificates of an authority of the owner's, as openssl would make them, and every wrong one.

The fleet's own authority makes none that is wrong: fedling_broker/authority/x509.py.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
HERE = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a certificate and of its key."""

    certificate: Path
    key: Path


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class Authority:
    """A P-256 authority whose certificate is the file `certificate`."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.certificate = directory / f"{name}.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        own = (
            self._builder(self._name, self._key, -DAY, 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate.write_bytes(own.public_bytes(Encoding.PEM))

    def server(
        self,
        name: str = "server",
        hosts: Sequence[str] = HERE,
        begins: timedelta = -DAY,
        ends: timedelta = 90 * DAY,
    ) -> Pair:
        """Certify an MQTT broker. begins, ends: from now on"""
        return self._certify(name, hosts, SERVER, begins, ends)

    def client(self, name: str, begins: timedelta = -DAY, ends: timedelta = 90 * DAY) -> Pair:
        """Certify one end, known by its common name."""
        return self._certify(name, (), CLIENT, begins, ends)

    def revoke(self, *pairs: Pair) -> Path:
        """Write the list of certificates that hold no more."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - DAY).next_update(now + 30 * DAY)
        for pair in pairs:
            serial = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial)
            entry = entry.revocation_date(now - DAY)
            builder = builder.add_revoked_certificate(entry.build())
        file = self.directory / "revoked.pem"
        file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return file

    def _builder(
        self, subject: x509.Name, key: EllipticCurvePrivateKey, begins: timedelta, ends: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().issuer_name(self._name).subject_name(subject)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(now + begins).not_valid_after(now + ends)

    def _certify(
        self,
        name: str,
        hosts: Sequence[str],
        purpose: x509.ObjectIdentifier,
        begins: timedelta,
        ends: timedelta,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(name), key, begins, ends)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([_alternative(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        pair = Pair(self.directory / f"{name}.crt", self.directory / f"{name}.key")
        signed = builder.sign(self._key, hashes.SHA256())
        pair.certificate.write_bytes(signed.public_bytes(Encoding.PEM))
        pair.key.touch(0o600)
        pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pair


def mosquitto_settings(
    authority: Authority, server: Pair, *more: str, mutual: bool = False
) -> list[str]:
    """Lines of mosquitto.conf that make a listener of the owner's one of TLS, good or bad.

    A listener of ours is written by the product itself: fedling_broker/mosquitto/configuration.py.
    mutual: devices are known by it
    """
    lines = [f"certfile {server.certificate}", f"keyfile {server.key}", *more]
    if mutual:
        lines += [
            f"cafile {authority.certificate}",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
        ]
    return lines


def mqtt_keys(authority: Authority, client: Pair | None = None) -> str:
    """Write the keys of [mqtt] for it."""
    lines = ["tls = true", f'ca_file = "{authority.certificate}"']
    if client is not None:
        lines.append(f'certificate_file = "{client.certificate}"')
        lines.append(f'key_file = "{client.key}"')
    return "\n".join(lines)
