"""A second, tiny encoder of CBOR and of envelopes, written from the RFCs, not from the product."""

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Value = int | str | bytes | bool | None | list["Value"] | dict[int, "Value"]


def head(major: int, number: int) -> bytes:
    """RFC 8949 section 3, shortest form."""
    if number < 24:
        return bytes([major << 5 | number])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 256**size:
            return bytes([major << 5 | info]) + number.to_bytes(size, "big")
    raise ValueError(number)


def cbor(value: Value) -> bytes:
    """RFC 8949 section 4.2.1, deterministic."""
    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(cbor(item) for item in value)
        case dict():
            pairs = sorted((cbor(key), cbor(item)) for key, item in value.items())
            return head(5, len(pairs)) + b"".join(key + item for key, item in pairs)


def diagnostic(value: Value) -> str:
    """RFC 8949 section 8, for people."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case bytes():
            return f"h'{value.hex()}'"
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(diagnostic(item) for item in value)}]"
        case dict():
            return f"{{{', '.join(f'{key}: {diagnostic(item)}' for key, item in value.items())}}}"
    return str(value)


class Signer:
    """A key from a seed, and what follows from its public half."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        digest = hashlib.sha256(self.public).digest()
        self.kid = digest[:8]
        self.device = base64.b32encode(digest[:10]).decode().lower()

    def sign(self, data: bytes) -> bytes:
        """RFC 8032, of bytes as they are."""
        return self._private.sign(data)

    def seal(
        self, payload: bytes, bound: bytes, protected: bytes = b"\xa1\x01\x27", tag: int = 18
    ) -> bytes:
        """RFC 9052 sections 4.2 and 4.4."""
        signed = cbor(["Signature1", protected, bound, payload])
        parts: Value = [protected, {4: self.kid}, payload, self._private.sign(signed)]
        return head(6, tag) + cbor(parts)
