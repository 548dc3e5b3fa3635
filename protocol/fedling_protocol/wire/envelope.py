"""Signed messages: COSE_Sign1 with Ed25519, bound to their topic (SPEC.md section 2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cbor2

from fedling_protocol.wire import bounded, identity, records
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.limits import MAX_LARGE, MAX_PLAN, MAX_SMALL
from fedling_protocol.wire.messages import Message
from fedling_protocol.wire.refused import Reason, Refused
from fedling_protocol.wire.topics import Kind

_TAG: Final = 18
_PROTECTED: Final = bytes.fromhex("a10127")  # {1: -8}: the algorithm is EdDSA
_KID: Final = 4
_LARGEST: Final = {Kind.PLAN: MAX_PLAN, Kind.MODEL: MAX_LARGE, Kind.UPDATE: MAX_LARGE}


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message in its well-formed envelope; not verified yet."""

    kid: bytes
    payload: bytes
    signature: bytes

    def verify(self, bound: bytes, public: bytes) -> None:
        """Refused(signature) unless the key of this public half signed it for this topic."""
        signed = _to_be_signed(bound, self.payload)
        if not identity.verify(public, self.signature, signed):
            raise Refused(Reason.SIGNATURE)


FindKey = Callable[[Envelope], bytes]
"""The public key that must have signed an envelope, or Refused."""


def largest(kind: Kind) -> int:
    """How many bytes an envelope of this kind may have."""
    return _LARGEST.get(kind, MAX_SMALL)


def seal(message: Message, bound: bytes, key: SigningKey) -> bytes:
    """The bytes to send. bound: Topics.bound of the topic they will be sent on."""
    payload = records.encode(message)
    signature = key.sign(_to_be_signed(bound, payload))
    parts = [_PROTECTED, {_KID: key.kid}, payload, signature]
    data = cbor2.dumps(cbor2.CBORTag(_TAG, parts), canonical=True)
    if len(data) > largest(records.kind_of(message)):
        raise ValueError(f"{type(message).__name__} cannot be sent: {len(data)} bytes are too many")
    return data


def open_envelope(data: bytes, bound: bytes, kind: Kind, find_key: FindKey) -> Message:
    """The verified message, or Refused."""
    envelope = parse(data, largest(kind))
    envelope.verify(bound, find_key(envelope))
    return records.decode(kind, envelope.payload)


def parse(data: bytes, limit: int) -> Envelope:
    """The parts of an envelope, or Refused."""
    if not 0 < len(data) <= limit:
        raise Refused(Reason.SIZE, f"{len(data)} bytes, at most {limit}")
    bounded.check(data, tagged=True)
    match cbor2.loads(data).value:
        case [bytes(protected), {4: bytes(kid)} as header, bytes(payload), bytes(signature)]:
            if protected != _PROTECTED or len(header) != 1:
                raise Refused(Reason.ENVELOPE, "other headers")
            if len(kid) != 8 or len(signature) != 64:
                raise Refused(Reason.ENVELOPE, "a key id or signature of another length")
            return Envelope(kid, payload, signature)
    raise Refused(Reason.ENVELOPE, "not [protected, {kid}, payload, signature]")


def _to_be_signed(bound: bytes, payload: bytes) -> bytes:
    """The Sig_structure of RFC 9052 section 4.4."""
    return cbor2.dumps(["Signature1", _PROTECTED, bound, payload], canonical=True)
