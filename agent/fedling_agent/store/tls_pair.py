"""This device's key and certificate for TLS, as they lie in its state directory.

Both are in one file, so that a power cut cannot leave a new certificate beside an old key: one
rename takes both. The key that certificates are asked for waits in a file of its own; it is the
same however often the question has to be asked again.
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedling_agent.store.files import PAIR_FILE
from fedling_protocol.disk import durable
from fedling_protocol.disk.errors import writing
from fedling_protocol.net import tls_key

NEXT_FILE = "tls-next.key"  # a key whose certificate has not come
CA_FILE = "ca.crt"  # whose signature under the MQTT broker's certificate is believed
READABLE = 0o644
MOST_CAS = 2  # an authority and the one before it: the MQTT broker changes over later than devices


class NotAPair(Exception):
    """A certificate is none, or not for the key that it was asked for."""


def ask_key(directory: Path) -> bytes:
    """Get the public half, 33 bytes, of the key to be certified next; made if there is none.

    Raises IdentityError, CannotWrite.
    """
    path, used = directory / NEXT_FILE, certificate(directory)
    with writing(str(path)):
        public = tls_key.public(tls_key.ensure(path))
        if used is not None and public == _point(used):  # killed when it had been taken
            durable.remove_file(path)
            public = tls_key.public(tls_key.ensure(path))
        return public


def check(certificate: bytes, ca: bytes, public: bytes) -> None:
    """Check that certificates in DER form are such, the first for this key. Raises NotAPair."""
    if public_of(certificate) != public:
        raise NotAPair("the certificate for TLS is for another key than the one it was asked for")
    public_of(ca)


def public_of(certificate: bytes) -> bytes:
    """The compressed public key, of P-256, that a certificate in DER form is for.

    Raises NotAPair.
    """
    try:
        point = _point(x509.load_der_x509_certificate(certificate))
    except Exception as error:  # whatever a parser of hostile bytes raises
        raise NotAPair("what should be a certificate for TLS is none") from error
    if not point:
        raise NotAPair("the certificate for TLS is for another kind of key")
    return point


def take(directory: Path, certificate: bytes, ca: bytes) -> None:
    """Put a new pair in the old one's place, of certificates that were checked.

    Used from the next connect on. Doing it twice is doing it once. Raises IdentityError,
    CannotWrite.
    """
    with writing(str(directory / PAIR_FILE)):
        _take_ca(directory / CA_FILE, _pem(ca))
        if (directory / NEXT_FILE).exists():
            key = tls_key.load(directory / NEXT_FILE)
            if tls_key.public(key) == public_of(certificate):
                durable.write_file(directory / PAIR_FILE, _pem(certificate) + tls_key.pem(key))
            durable.remove_file(directory / NEXT_FILE)


def certificate(directory: Path) -> x509.Certificate | None:
    """The certificate of the pair in use; None: there is none, or it cannot be read."""
    try:
        return x509.load_pem_x509_certificate((directory / PAIR_FILE).read_bytes())
    except (OSError, ValueError):
        return None


def _point(certificate: x509.Certificate) -> bytes:
    """The compressed point that is its key; empty, if the key is of another kind."""
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey):
        return b""
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def _take_ca(path: Path, new: bytes) -> None:
    """Believe a new authority beside the last one: the MQTT broker may still show the old one's."""
    old = path.read_bytes() if path.exists() else b""
    known = [new, *(one for one in _split(old) if one != new)]
    data = b"".join(known[:MOST_CAS])
    if data != old:
        durable.write_file(path, data, READABLE)


def _split(pem: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----\n"
    return [part + end for part in pem.split(end) if part.strip()]


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
