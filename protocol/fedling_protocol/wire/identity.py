"""Keys and secrets on disk, and the names that follow from a public key (SPEC.md sections 1, 2)."""

import base64
import binascii
import hashlib
import os
import re
import secrets
import shlex
import stat
from functools import lru_cache
from pathlib import Path
from typing import Final

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from fedling_protocol.disk import durable

KEY_BYTES: Final = 32
TLS_KEY_BYTES: Final = 33
SECRET_BYTES: Final = 32
SEED_BYTES: Final = 32  # of a private key, from which the rest of it follows
SIGNATURE_BYTES: Final = 64
KNOWN: Final = 16_384  # keys whose ids are kept, in 200 bytes each
# Of 32 random bytes fewer than 8 differ once in 10^36 times.
LEAST_VARIED: Final = 8
CREDENTIALS = Path("/run/credentials")  # of systemd, whose access lists look like a group's right
_MAX_FILE = 4096  # no key file is longer
# A private key of Ed25519 as PKCS #8: OneAsymmetricKey of version 1 without attributes, in which
# only the seed differs from key to key (RFC 8410 section 7).
_BEFORE_SEED: Final = bytes.fromhex("302e020100300506032b657004220420")
_SEQUENCE: Final = 0x30
_LONG: Final = 0x80  # from here on a length is how many bytes spell it
_PEM: Final = re.compile(
    rb"-----BEGIN PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----"
)
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
    """The Ed25519 private key of a seed of 32 bytes. Its text form tells the public half only."""

    __slots__ = ("_secret", "kid", "public")

    def __init__(self, seed: bytes) -> None:
        self.public, self._secret = crypto_sign_seed_keypair(seed)
        self.kid = kid(self.public)

    @classmethod
    def generate(cls) -> "SigningKey":
        """Make a new key from the system's randomness."""
        return cls(secrets.token_bytes(SEED_BYTES))

    def sign(self, data: bytes) -> bytes:
        """Sign the data; a signature has 64 bytes."""
        return crypto_sign(data, self._secret)[:SIGNATURE_BYTES]

    def pem(self) -> bytes:
        """Write the key as PKCS #8, as openssl writes and reads it."""
        text = base64.b64encode(_BEFORE_SEED + self._secret[:SEED_BYTES])
        return b"-----BEGIN PRIVATE KEY-----\n" + text + b"\n-----END PRIVATE KEY-----\n"

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid.hex()})"


def kid(public: bytes) -> bytes:
    """The 8 bytes by which an envelope names its key."""
    return hashlib.sha256(public).digest()[:8]


@lru_cache(maxsize=KNOWN)
def device_id(public: bytes) -> str:
    """The 16 characters by which a device is known."""
    return base64.b32encode(hashlib.sha256(public).digest()[:10]).decode().lower()


def verify(public: bytes, signature: bytes, *data: bytes | memoryview) -> bool:
    """Whether the signature is of this data, in parts, by this key. Never raises on hostile bytes.

    Nothing is signed by a weak key.
    """
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES or is_weak(public):
        return False
    try:
        crypto_sign_open(b"".join((signature, *data)), public)
    except BadSignatureError:
        return False
    return True


def is_weak(public: bytes) -> bool:
    """Whether it is of small order: then anybody can sign for it."""
    return public[:-1] + bytes([public[-1] & 127]) in _SMALL_ORDER


def is_tls_key(public: bytes) -> bool:
    """Whether it is a compressed point of P-256: a key that TLS can certify."""
    # 4 MB that a device needs on the day it enrols, and when its certificate is renewed.
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public)
    except ValueError:
        return False
    return len(public) == TLS_KEY_BYTES


def create_key(path: Path, key: SigningKey | None = None) -> SigningKey:
    """Write a key (a new one if none is given) to a file that must not exist yet."""
    key = key or SigningKey.generate()
    durable.create_file(path, key.pem())
    return key


def load_key(path: Path, *, private: bool = True) -> SigningKey:
    """Read a key that create_key() or openssl wrote. private: as read_private() has it"""
    der = _der_of(read_private(path, private=private))
    if der is None:
        raise IdentityError(
            f"{path}: not an unencrypted PEM private key; restore it from a backup or, "
            "to get a new identity, remove it"
        )
    if not der.startswith(_BEFORE_SEED) or len(der) != len(_BEFORE_SEED) + SEED_BYTES:
        raise IdentityError(f"{path}: another kind of key; Ed25519 as openssl writes it is needed")
    return SigningKey(der[len(_BEFORE_SEED) :])


def _der_of(pem: bytes) -> bytes | None:
    """What a PEM file of PKCS #8 holds, whatever text is around it; None: none, or encrypted."""
    found = _PEM.search(pem)
    if found is None:
        return None
    try:
        der = base64.b64decode(b"".join(found[1].split()), validate=True)
    except binascii.Error:
        return None
    return der if _is_whole(der) else None


def _is_whole(der: bytes) -> bool:
    """Whether it is a sequence that was not cut short, as far as its first bytes tell."""
    if len(der) < 2 or der[0] != _SEQUENCE:
        return False
    return der[1] >= _LONG or der[1] == len(der) - 2


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
