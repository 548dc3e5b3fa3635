"""Messages that nobody should pay for, and what they are paid with: counted, not timed."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from fedling_protocol.wire import bounded, identity
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.limits import MAX_ITEMS, MAX_LARGE
from fedling_protocol.wire.topics import Topics

SMALL, LARGE = 200, MAX_LARGE
MOST_CALLS = 200  # of functions, for one message
MOST_BYTES = 8192  # of memory, beyond the message itself
MOST_KEPT = 64  # bytes that stay of one message of many
MANY = 300


def topics(of: Topics, kind: Kind, task: str, device: str) -> Iterator[str]:
    """Where a message of a kind could be, for this task and device and for others."""
    values: dict[str, tuple[str | int | bytes, ...]] = {
        "{owner}": ("aggregator", device),
        "{device}": (device, "a" * 16),
        "{task}": (task, "another"),
        "{plan_kind}": ("train", "later"),
        "{version}": (1, 2),
        "{plan_id}": (b"p" * 16, b"q" * 16),
        "{chunk}": (0, 0),
        "{whole}": ("model", "change"),
    }
    words = [word for word in kind.topic.split("/") if word in values]
    for which in (0, 1):
        yield of.of(kind, *(values[word][which] for word in words))


def junk(size: int, kid: bytes) -> Iterator[tuple[str, bytes]]:
    """Messages of about so many bytes, each by the name of what is wrong with it."""
    room = max(256, size - 100)
    head = b"\xd2\x84\x43\xa1\x01\x27\xa1\x04\x48" + kid
    body = b"\x5a" + room.to_bytes(4, "big") if room >> 16 else b"\x59" + room.to_bytes(2, "big")
    body += bytes(room)
    yield "zeros", bytes(size)
    yield "text", b"\x7a" + room.to_bytes(4, "big") + b"a" * room
    yield "arrays", b"\xd2" + b"\x81" * (size - 1)
    yield "items", b"\xd2\x99\xff\xff" + b"\x00" * min(room, 2 * MAX_ITEMS)
    yield "no signature", head + body
    yield "a signature of zeros", head + body + b"\x58\x40" + bytes(64)
    yield "cut off", head + body[: room // 2]


class Paid:
    """What one call was paid with, when the log has had its line about the sort of it."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.calls = 0
        call()
        tracemalloc.start()
        sys.setprofile(self._count)
        try:
            call()
        finally:
            sys.setprofile(None)
            self.peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()

    def _count(self, _frame: FrameType, event: str, _argument: object) -> None:
        self.calls += event in ("call", "c_call")


class Hashed:
    """How many bytes were hashed to verify a signature, or read as CBOR."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = 0
        verify, read = identity.verify, bounded.read

        def watched_verify(key: bytes, signature: bytes, *signed: bytes | memoryview) -> bool:
            self.most = max(self.most, sum(map(len, signed)))
            return verify(key, signature, *signed)

        def watched_read(data: bytes | memoryview) -> bounded.Value:
            self.most = max(self.most, len(data))
            return read(data)

        monkeypatch.setattr(identity, "verify", watched_verify)
        monkeypatch.setattr(bounded, "read", watched_read)


def kept_of_many(call: Callable[[], None]) -> float:
    """Bytes of memory that stay of one call, when there are many."""
    for _ in range(10):
        call()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(MANY):
        call()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept / MANY
