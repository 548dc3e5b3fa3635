"""The token by which a device enrols: one secret, and whom it vouches for (SPEC.md section 7).

A person types it, or scans it. What is sent of it are its id, a user name with a password, and
codes that prove the secret: each is derived from the secret alone and tells nothing of the others.
"""

import base64
import hashlib
import hmac
import re
import secrets
import unicodedata
from dataclasses import field
from enum import StrEnum
from typing import Final, NoReturn

from fedling_protocol.classes import dataclass
from fedling_protocol.wire.names import is_host
from fedling_protocol.wire.topics import Topics

SECRET_BYTES: Final = 16
FINGERPRINT_BYTES: Final = 16
ID_BYTES: Final = 8
MAC_BYTES: Final = 32
LONGEST: Final = 4096  # characters that are looked at, spaces and dashes among them
USUAL_ROOT: Final = "fedling"  # of topics: then the token has none

_VERSION: Final = 1
_CHECK_BYTES: Final = 4
_GROUP: Final = 4
_MISREAD: Final = str.maketrans("018", "OIB")  # base32 has none of these digits
# What stands between groups, or comes along when a chat, a mail or Windows has copied the text:
# dashes, spaces, controls, and signs that nobody sees (Unicode's general categories).
_BETWEEN: Final = frozenset({"Pd", "Zs", "Zl", "Zp", "Cc", "Cf"})
_MINUS: Final = "\u2212"  # is a sign of mathematics, and looks like a dash
_BASE32: Final = re.compile("[A-Z2-7]+")


class TokenError(ValueError):
    """A text is not a token, or a token not possible; a sentence, without the text."""


class Purpose(StrEnum):
    """What a code over a message proves: one that answers cannot be one that asks."""

    ASK = "ask"
    ANSWER = "answer"


def fingerprint(root: bytes) -> bytes:
    """The 16 bytes by which a token names a root key, given its public half."""
    return hashlib.sha256(root).digest()[:FINGERPRINT_BYTES]


@dataclass(frozen=True, slots=True)
class Token:
    """Leave to enrol, and what the device must know before it can believe anybody.

    host, port: of the listener for enrolment
    """

    secret: bytes = field(repr=False)
    fingerprint: bytes  # of the root key
    fleet: str
    topic_root: str
    host: str
    port: int

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES or len(self.fingerprint) != FINGERPRINT_BYTES:
            raise TokenError("a token has 16 bytes of secret and 16 of a root key's fingerprint")
        try:
            Topics(self.topic_root, self.fleet)
        except ValueError as error:
            raise TokenError(f"a token cannot be for this fleet: {error}") from error
        if not is_host(self.host) or not 1 <= self.port <= 65_535:
            raise TokenError("a token cannot be for this address: a host name or address, a port")

    @classmethod
    def generate(cls, root: bytes, topics: Topics, host: str, port: int) -> "Token":
        """Make a new token for a fleet whose root key has this public half."""
        secret = secrets.token_bytes(SECRET_BYTES)
        return cls(secret, fingerprint(root), topics.fleet, topics.root, host, port)

    # --- what is derived from the secret ---------------------------------------------------------

    @property
    def id(self) -> bytes:
        """The 8 bytes by which the aggregator finds it again."""
        return self._derived("id", ID_BYTES)

    @property
    def password(self) -> str:
        """The password of its users at the MQTT broker: 32 hexadecimal digits."""
        return self._derived("password", 16).hex()

    def user(self, slot: int | None = None) -> str:
        """The user name at the MQTT broker; of several devices that share it each takes a slot."""
        return f"enrol-{self.id.hex()}" + ("" if slot is None else f"-{slot}")

    def seal(self, purpose: Purpose, data: bytes) -> bytes:
        """Make the 32 bytes that prove to whoever has the secret that this was not changed."""
        return hmac.digest(self._derived(purpose, MAC_BYTES), data, "sha256")

    def check(self, purpose: Purpose, data: bytes, mac: bytes) -> bool:
        """Whether seal() made this mac for the same purpose, of the same data."""
        return hmac.compare_digest(self.seal(purpose, data), mac)

    def vouches_for(self, root: bytes) -> bool:
        """Whether it names the root key of this public half."""
        return hmac.compare_digest(self.fingerprint, fingerprint(root))

    def _derived(self, label: str, size: int) -> bytes:
        # Only who enrols or is enrolled needs it: 4 MB that a service does without.
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        info = f"fedling token 1 {label}".encode()
        return HKDF(algorithm=SHA256(), length=size, salt=None, info=info).derive(self.secret)

    # --- as text ---------------------------------------------------------------------------------

    def text(self) -> str:
        """Write it in capitals, digits and dashes, as a person types it."""
        root = "" if self.topic_root == USUAL_ROOT else self.topic_root
        data = bytes([_VERSION]) + self.secret + self.fingerprint + self.port.to_bytes(2, "big")
        for word in (self.fleet, root, self.host):
            data += bytes([len(word)]) + word.encode()
        letters = base64.b32encode(data + _check(data)).decode().rstrip("=")
        return "-".join(letters[n : n + _GROUP] for n in range(0, len(letters), _GROUP))

    @classmethod
    def parse(cls, text: str) -> "Token":
        """Read what text() wrote and a person copied. Raises TokenError."""
        data = _decode(text)
        if len(data) <= _CHECK_BYTES or _check(data[:-_CHECK_BYTES]) != data[-_CHECK_BYTES:]:
            _mistyped("its check does not fit")
        if data[0] != _VERSION:
            raise TokenError(f"this token is of version {data[0]}; this program reads {_VERSION}")
        return _Reader(data[1:-_CHECK_BYTES]).token()


class _Reader:
    """Takes a token's fields off its bytes, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def token(self) -> Token:
        secret, mark = self._take(SECRET_BYTES), self._take(FINGERPRINT_BYTES)
        port = int.from_bytes(self._take(2), "big")
        fleet, root, host = (self._word() for _ in range(3))
        if self._data:
            raise TokenError("this is no token of fedling: something stands behind its end")
        return Token(secret, mark, fleet, root or USUAL_ROOT, host, port)

    def _take(self, size: int) -> bytes:
        taken, self._data = self._data[:size], self._data[size:]
        if len(taken) != size:
            raise TokenError("this is no token of fedling: it ends too soon")
        return taken

    def _word(self) -> str:
        try:
            return self._take(self._take(1)[0]).decode("ascii")
        except UnicodeDecodeError:
            raise TokenError("this is no token of fedling: a name in it is no text") from None


def _decode(text: str) -> bytes:
    """The bytes of a text in base32, of which there is one spelling, however it was typed."""
    if len(text) > LONGEST:
        raise TokenError("this text is too long for a token")
    letters = "".join(filter(_counts, text)).upper().translate(_MISREAD)
    if not letters:
        raise TokenError("the token is missing")
    if not _BASE32.fullmatch(letters):
        _mistyped("it has signs that no token has")
    try:
        data = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except ValueError:
        _mistyped("its length is that of no token")
    if base64.b32encode(data).decode().rstrip("=") != letters:
        _mistyped("its last sign does not fit")
    return data


def _counts(sign: str) -> bool:
    """Whether it is more than what stands between groups."""
    return sign != _MINUS and unicodedata.category(sign) not in _BETWEEN


def _check(data: bytes) -> bytes:
    return hashlib.sha256(b"fedling token" + data).digest()[:_CHECK_BYTES]


def _mistyped(detail: str) -> NoReturn:
    raise TokenError(f"the token was mistyped, or is not whole: {detail}")
