"""Golden messages, and one key ring that knows who signed them."""

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.messages import Message
from fedling_protocol.wire.payload import decode
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Trust

GOLDEN = Path(__file__).parent / "golden"
NO_MESSAGES = ("digests", "token")
MESSAGES = sorted(path.stem for path in GOLDEN.glob("*.json") if path.stem not in NO_MESSAGES)
TOPICS = Topics("fedling", "demo")
ROOT, ONLINE, DEVICE, AUTHORITY, SECOND, THIRD = (SigningKey(bytes([n]) * 32) for n in range(1, 7))
KEYS = {key.kid: key for key in (ROOT, ONLINE, DEVICE, AUTHORITY, SECOND, THIRD)}
EVERYBODY = ("certificate-authority", "certificate-aggregator", "certificate-device", "roots")


@cache
def golden(name: str) -> dict[str, Any]:
    """A golden file."""
    content: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return content


def topic(name: str) -> str:
    """The topic of a golden message, with its root."""
    return f"{TOPICS.root}/{golden(name)['topic']}"


def envelope(name: str) -> bytes:
    """A golden message as sent."""
    return bytes.fromhex(golden(name)["envelope"])


def payload(name: str) -> bytes:
    """What is signed of a golden message."""
    return bytes.fromhex(golden(name)["payload"])


def message(name: str) -> Message:
    """A golden message, decoded."""
    return decode(TOPICS.parse(topic(name)).kind, payload(name))


def trust(*certificates: str) -> Trust:
    """Knows the root and these golden messages; everybody if none is named."""
    result = Trust(TOPICS, ROOT.public)
    for name in certificates or EVERYBODY:
        result.open(topic(name), envelope(name))
    return result


def signer(name: str) -> SigningKey:
    """Who signed a golden message, as its key id tells."""
    return KEYS[envelope(name)[9:17]]


def plain(message: Message) -> object:
    """The fields of a message as they stand in a golden file."""
    return json.loads(json.dumps(asdict(message), default=_plain))


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(type(value))
