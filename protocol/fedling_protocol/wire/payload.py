"""Messages to deterministic CBOR payloads and back, as the records of their kinds say."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import cbor2

from fedling_protocol.wire import bounded, shapes
from fedling_protocol.wire.fields import Record, at_key, refuse
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Enrol, Enrolled, Message
from fedling_protocol.wire.names import WIRE_VERSION
from fedling_protocol.wire.records import CHOICE_KEY, U32, VERSION_KEY
from fedling_protocol.wire.refused import Reason, Refused


def _by_message(kinds: Iterable[Kind]) -> dict[object, tuple[Kind, Record]]:
    found: dict[object, tuple[Kind, Record]] = {}
    for kind in kinds:
        for record in kind.records:
            found.setdefault(record.make, (kind, record))  # chunks are of the kind that is first
    return found


_OF_MESSAGE = _by_message(Kind)


def kind_of(message: Message) -> Kind:
    """Find the kind of topic that carries such messages."""
    return _OF_MESSAGE[type(message)][0]


def encode(message: Message) -> bytes:
    """Encode a message. ValueError if it is not as SPEC.md says: a bug of ours."""
    _, record = _OF_MESSAGE[type(message)]
    try:
        values = record.to_wire(message)
        shapes.check(message)
    except Refused as refused:
        name = type(message).__name__
        raise ValueError(f"{name} cannot be sent: {refused.detail}") from refused
    return cbor2.dumps(values)  # deterministic: integers, and keys that a record puts in order


def without_mac(message: Enrol | Enrolled) -> bytes:
    """What the code of a token in this message is over: its payload, but for the code itself."""
    _, record = _OF_MESSAGE[type(message)]
    return cbor2.dumps(record.to_wire(replace(message, mac=None)))


def decode(kind: Kind, payload: bytes | memoryview) -> Message:
    """Decode the message in a payload from outside, or raise Refused."""
    values = bounded.read(payload)
    if not isinstance(values, dict):
        refuse("not a map")
    _check_version(values.get(VERSION_KEY))
    record = _choose(kind.records, values.get(CHOICE_KEY))
    message = cast(Message, record.from_wire(values))
    shapes.check(message)
    return message


def _check_version(version: object) -> None:
    try:
        U32.from_wire(version)
    except Refused as refused:
        raise at_key(VERSION_KEY, refused) from None
    if version != WIRE_VERSION:
        raise Refused(Reason.VERSION, "of the payload")


def _choose(records: tuple[Record, ...], word: object) -> Record:
    """Choose the record: plans and rest share a topic, the word at key 1 tells which it is.

    The first of a kind has several words of its own, and refuses those that it does not know.
    """
    first, *others = records
    return next((other for other in others if other.constants[CHOICE_KEY] == word), first)
