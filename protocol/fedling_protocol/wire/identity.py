"""Keys and secrets on disk, and the names that follow from a public key (SPEC.md sections 1, 2)."""

import base64
import hashlib
import os
import secrets
import shlex
import stat
from functools import lru_cache
from pathlib import Path
from typing import Final

# Signing imports it, when root has long become a user who may not read where it lies.
import cryptography.hazmat.backends.openssl.backend  # noqa: F401
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from fedling_protocol.disk import durable

KEY_BYTES: Final = 32
TLS_KEY_BYTES: Final = 33
SECRET_BYTES: Final = 32
KNOWN: Final = 16_384  # keys of which what was computed is kept, in 200 bytes each
# Of 32 random bytes fewer than 8 differ once in 10^36 times.
LEAST_VARIED: Final = 8
CREDENTIALS = Path("/run/credentials")  # of systemd, whose access lists look like a group's right
_MAX_FILE = 4096  # no key file is longer
# The y of the points whose order divides 8 (RFC 8032 section 5.1), as keys spell it, and the other
# spellings of 0 and 1: p and p + 1. The bit of x's sign, the last one, does not matter.
_SMALL_ORDER: Final = frozenset(
    y.to_bytes(KEY_BYTES, "little")
    for y in (
        *(0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18),
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    )
)


class IdentityError(Exception):
    """A key or secret file cannot be used; the message names the file and what to do."""


class SigningKey:
    """An Ed25519 private key. Its text form tells the public half only."""

    __slots__ = ("_private", "kid", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.kid = kid(self.public)

    @classmethod
    def generate(cls) -> "SigningKey":
        """Make a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> "SigningKey":
        """The key of 32 given bytes: for simulations and tests, where runs must repeat."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, data: bytes) -> bytes:
        """Sign the data; a signature has 64 bytes."""
        return self._private.sign(data)

    def pem(self) -> bytes:
        """Write the key as PKCS #8, as openssl writes and reads it."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid.hex()})"


def kid(public: bytes) -> bytes:
    """The 8 bytes by which an envelope names its key."""
    return hashlib.sha256(public).digest()[:8]


@lru_cache(maxsize=KNOWN)
def device_id(public: bytes) -> str:
    """The 16 characters by which a device is known."""
    return base64.b32encode(hashlib.sha256(public).digest()[:10]).decode().lower()


def verify(public: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the signature is of this data by this key. Never raises on hostile bytes.

    Nothing is signed by a weak key.
    """
    try:
        _public_key(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_weak(public: bytes) -> bool:
    """Whether it is of small order: then anybody can sign for it."""
    return public[:-1] + bytes([public[-1] & 127]) in _SMALL_ORDER


def is_tls_key(public: bytes) -> bool:
    """Whether it is a compressed point of P-256: a key that TLS can certify."""
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public)
    except ValueError:
        return False
    return len(public) == TLS_KEY_BYTES


@lru_cache(maxsize=KNOWN)
def _public_key(public: bytes) -> Ed25519PublicKey:
    if len(public) == KEY_BYTES and is_weak(public):
        raise ValueError("a key of small order")
    return Ed25519PublicKey.from_public_bytes(public)


def create_key(path: Path, key: SigningKey | None = None) -> SigningKey:
    """Write a key (a new one if none is given) to a file that must not exist yet."""
    key = key or SigningKey.generate()
    durable.create_file(path, key.pem())
    return key


def load_key(path: Path, *, private: bool = True) -> SigningKey:
    """Read a key that create_key() or openssl wrote. private: as read_private() has it"""
    try:
        found = load_pem_private_key(read_private(path, private=private), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityError(
            f"{path}: not an unencrypted PEM private key; restore it from a backup or, "
            "to get a new identity, remove it"
        ) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise IdentityError(f"{path}: another kind of key; Ed25519 is needed")
    return SigningKey(found)


def ensure_key(path: Path) -> SigningKey:
    """Load the key in the file, made if there is none."""
    try:
        return create_key(path) if not path.exists() else load_key(path)
    except FileExistsError:  # another process was faster
        return load_key(path)


def create_secret(path: Path, secret: bytes | None = None) -> bytes:
    """Write 32 secret bytes (random ones if none are given) to a file that must not exist yet."""
    secret = secrets.token_bytes(SECRET_BYTES) if secret is None else secret
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, not {len(secret)}")
    durable.create_file(path, secret)
    return secret


def load_secret(path: Path) -> bytes:
    """Read what create_secret() wrote."""
    secret = read_private(path)
    if len(secret) != SECRET_BYTES:
        raise IdentityError(f"{path}: has {len(secret)} bytes, a secret has {SECRET_BYTES}")
    if len(set(secret)) < LEAST_VARIED:
        raise IdentityError(
            f"{path}: holds the same few bytes again and again, as a power cut leaves a file, and "
            "is no secret; restore it from a backup or, to get a new one, remove it"
        )
    return secret


def ensure_secret(path: Path) -> bytes:
    """Load the secret in the file, made if there is none."""
    try:
        return create_secret(path) if not path.exists() else load_secret(path)
    except FileExistsError:
        return load_secret(path)


def read_private(path: Path, *, private: bool = True) -> bytes:
    """Read a file that only its owner can read; raises IdentityError if others can.

    private: False where the file system knows no modes, as on a stick
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise IdentityError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise IdentityError(f"{path}: not a file")
        if private and mode & 0o077 and CREDENTIALS not in path.parents:
            raise IdentityError(
                f"{path}: mode {stat.S_IMODE(mode):04o} lets others read the secret; "
                f"run: chmod 600 {shlex.quote(str(path))}"
            )
        return os.read(handle, _MAX_FILE)
    finally:
        os.close(handle)
