"""Signed messages: COSE_Sign1 with Ed25519, bound to their topic (SPEC.md section 2).

An envelope has one spelling: everything around key id, payload and signature is fixed.
"""

from collections.abc import Callable
from typing import Final

from fedling_protocol.classes import dataclass
from fedling_protocol.wire import bounded, identity, payload
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_SMALL
from fedling_protocol.wire.messages import Message
from fedling_protocol.wire.refused import Reason, Refused

_TAG: Final = b"\xd2"  # 18, COSE_Sign1
_PROTECTED: Final = bytes.fromhex("43a10127")  # << {1: -8} >>: the algorithm is EdDSA
_BEFORE_KID: Final = _TAG + b"\x84" + _PROTECTED + bytes.fromhex("a10448")  # [protected, {4: kid
_KID_BYTES: Final = 8
_BEFORE_PAYLOAD: Final = len(_BEFORE_KID) + _KID_BYTES
_BEFORE_SIGNATURE: Final = b"\x58\x40"
_SIGNATURE_BYTES: Final = 64
_AFTER_PAYLOAD: Final = len(_BEFORE_SIGNATURE) + _SIGNATURE_BYTES
_SIGNED: Final = b"\x84\x6aSignature1" + _PROTECTED  # RFC 9052 section 4.4


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message in its well-formed envelope; not verified yet."""

    kid: bytes
    payload: memoryview  # of the envelope's bytes
    signature: bytes

    def verify(self, bound: bytes, public: bytes) -> None:
        """Raise Refused(signature) unless the key of this public half signed it for this topic."""
        if not identity.verify(public, self.signature, *_to_be_signed(bound, self.payload)):
            raise Refused(Reason.SIGNATURE)


FindKey = Callable[[Envelope], bytes]
"""The public key that must have signed an envelope, or Refused."""


def seal(message: Message, bound: bytes, key: SigningKey) -> bytes:
    """The bytes to send. bound: Topics.bound of the topic they will be sent on."""
    data = payload.encode(message)
    signature = key.sign(b"".join(_to_be_signed(bound, data)))
    sealed = b"".join(
        (_BEFORE_KID, key.kid, _head_of_bytes(len(data)), data, _BEFORE_SIGNATURE, signature)
    )
    if len(sealed) > payload.kind_of(message).largest:
        name = type(message).__name__
        raise ValueError(f"{name} cannot be sent: {len(sealed)} bytes are too many")
    return sealed


def open_envelope(data: bytes, bound: bytes, kind: Kind, find_key: FindKey) -> Message:
    """Verify and decode a message, or raise Refused."""
    envelope = parse(data, kind)
    envelope.verify(bound, find_key(envelope))
    return payload.decode(kind, envelope.payload)


def parse(data: bytes, kind: Kind) -> Envelope:
    """Part an envelope, or raise Refused. Copies no payload."""
    if not 0 < len(data) <= kind.largest:
        raise Refused(Reason.SIZE, f"{len(data)} bytes, at most {kind.largest}")
    if not data.startswith(_BEFORE_KID):
        raise _malformed(data)
    major, size, start = bounded.head(data, _BEFORE_PAYLOAD)
    end = start + size
    after = data[end : end + _AFTER_PAYLOAD + 1]
    if (
        major != bounded.BYTES
        or len(after) != _AFTER_PAYLOAD
        or not after.startswith(_BEFORE_SIGNATURE)
    ):
        raise _malformed(data)
    kid = data[len(_BEFORE_KID) : _BEFORE_PAYLOAD]
    return Envelope(kid, memoryview(data)[start:end], after[len(_BEFORE_SIGNATURE) :])


def _malformed(data: bytes) -> Refused:
    """Make Refused(cbor) if it is none of the subset that we read, else Refused(envelope).

    A large one is not read to find a better word for it.
    """
    if not data.startswith(_TAG) or len(data) > MAX_SMALL:
        return Refused(Reason.ENVELOPE, "not a COSE_Sign1 with its tag, key id and payload")
    try:
        bounded.read(memoryview(data)[len(_TAG) :])
    except Refused as refused:
        return refused
    return Refused(Reason.ENVELOPE, "not [protected, {kid}, payload, signature] as in SPEC.md")


def _to_be_signed(bound: bytes, data: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
    """Write the Sig_structure, deterministic, in parts: the payload is not copied for it."""
    return _SIGNED, _head_of_bytes(len(bound)), bound, _head_of_bytes(len(data)), data


def _head_of_bytes(size: int) -> bytes:
    """Write the head of a byte string, in shortest form."""
    if size < 24:
        return bytes([0x40 | size])
    for info, width in ((0x58, 1), (0x59, 2), (0x5A, 4)):
        if size < 1 << (8 * width):
            return bytes([info]) + size.to_bytes(width, "big")
    raise ValueError(f"{size} bytes")
