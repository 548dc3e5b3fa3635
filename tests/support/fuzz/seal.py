"""Any bytes as the payload of an envelope, signed as one wishes."""

from random import Random

import cbor2

from fedling_protocol.wire import envelope
from fedling_protocol.wire.fields import Record
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Message
from tests.support.fuzz.values import Plain, wounded

RECORDS: dict[object, Record] = {record.make: record for kind in Kind for record in kind.records}


def seal(payload: bytes, bound: bytes, key: SigningKey) -> bytes:
    """An envelope, whatever is in it."""
    signature = key.sign(b"".join(envelope._to_be_signed(bound, payload)))
    size = envelope._head_of_bytes(len(payload))
    parts = (envelope._BEFORE_KID, key.kid, size, payload, envelope._BEFORE_SIGNATURE, signature)
    return b"".join(parts)


def plain(message: Message) -> dict[int, Plain]:
    """A message as it stands in CBOR."""
    return RECORDS[type(message)].to_wire(message)


def hurt(message: Message, dice: Random) -> bytes:
    """The payload of a message that may be wrong in some fields, or as CBOR."""
    values = wounded(RECORDS[type(message)], plain(message), dice)
    data = cbor2.dumps(values)
    chance = dice.random()
    if chance < 0.02:
        return data[: dice.randrange(len(data))]
    if chance < 0.04:
        at = dice.randrange(len(data))
        return data[:at] + dice.randbytes(1) + data[at + 1 :]
    return data + b"\0" if chance < 0.045 else data
