"""The private keys of TLS: P-256, in files that only their owner reads.

A handshake with one costs a Pi Zero milliseconds, with RSA a good part of a second.
"""

from pathlib import Path

# Imported when they are needed, by cryptography and by wire.token: then root has long become a user
# who may not read where they lie.
import cryptography.hazmat.backends.openssl.backend
import cryptography.hazmat.primitives.kdf.hkdf  # noqa: F401
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fedling_protocol.disk import durable
from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import IdentityError

PUBLIC_BYTES = 33  # of a compressed point


def generate() -> EllipticCurvePrivateKey:
    """Make a new key from the system's randomness."""
    return ec.generate_private_key(ec.SECP256R1())


def public(key: EllipticCurvePrivateKey) -> bytes:
    """Spell the public half, as messages do: 33 bytes."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def pem(key: EllipticCurvePrivateKey) -> bytes:
    """Write the key as PKCS #8, as openssl, mosquitto and Python's ssl read it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def ensure(path: Path) -> EllipticCurvePrivateKey:
    """Load the key in the file, made if there is none. Raises IdentityError."""
    try:
        if not path.exists():
            key = generate()
            durable.create_file(path, pem(key))
            return key
    except FileExistsError:  # another process was faster
        pass
    return load(path)


def load(path: Path) -> EllipticCurvePrivateKey:
    """Read a key of P-256. Raises IdentityError."""
    try:
        key = load_pem_private_key(identity.read_private(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityError(
            f"{path}: not an unencrypted PEM private key; restore it from a backup"
        ) from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IdentityError(f"{path}: another kind of key; P-256 is needed")
    return key
