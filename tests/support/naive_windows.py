"""Which windows train and which test, said in the plainest way: every window is looked at."""

import hashlib
import hmac
from collections.abc import Container, Mapping

import cbor2

from fedling_agent.data.recording import Recording, Span
from fedling_agent.data.windows import Example
from fedling_native import Normaliser
from fedling_protocol.wire.messages import TaskSpec, Training

Stored = list[tuple[Recording, list[Span]]]  # oldest first, spans in order


def held(secret: bytes, stream: str, training: Training, recording: str, block: int) -> bool:
    salt = hmac.digest(secret, b"fedling hold-out 1", "sha256")
    words = cbor2.dumps([stream, recording, block], canonical=True)
    word = int.from_bytes(hmac.digest(salt, words, "sha256")[:4], "big")
    return word * 1000 >> 32 < training.holdout


def cut(
    spec: TaskSpec,
    training: Training,
    secret: bytes,
    recording: Recording,
    spans: list[Span],
    holes: Container[int] = (),
    *,
    tests: bool = False,
) -> list[Example]:
    """The windows of one recording that train, or test, in order. holes: samples behind them."""
    found, size = [], training.holdout_block
    for first in range(0, recording.samples - spec.window + 1, spec.stride):
        last = first + spec.window - 1
        if first < recording.first or any(at in holes for at in range(first + 1, last + 1)):
            continue
        around = [s for s in spans if s.first <= first and last <= s.last]
        if not spec.labels:
            around = [Span(0, recording.samples, "", 0)]
        labels = spec.labels or ("",)
        if not around or around[0].label not in labels:
            continue
        blocks = range(first // size, last // size + 1)
        if any(held(secret, spec.stream, training, recording.id, at) != tests for at in blocks):
            continue
        label = labels.index(around[0].label)
        found.append(Example(recording.id, first, around[0].revision, label))
    return found


def choose(
    spec: TaskSpec,
    training: Training,
    secret: bytes,
    stored: Stored,
    most: int,
    holes: Mapping[int, Container[int]] | None = None,
    *,
    tests: bool = False,
) -> list[Example]:
    """The newest, oldest first. holes: by key."""
    behind = holes or {}
    found = [
        e
        for r, s in stored
        for e in cut(spec, training, secret, r, s, behind.get(r.key, ()), tests=tests)
    ]
    return found[max(0, len(found) - most) :]


def hash_frozen(examples: list[Example], data: bytes) -> bytes:
    rows = [[e.recording, e.first, e.revision, e.label] for e in examples]
    listing = cbor2.dumps(rows, canonical=True)
    return hashlib.sha256(b"fedling frozen 1" + hashlib.sha256(data).digest() + listing).digest()


def fit(spec: TaskSpec, data: bytes, count: int) -> Normaliser:
    width = 2 * spec.window * spec.channels
    windows = [data[at * width : (at + 1) * width] for at in range(count)]
    return Normaliser.fit(windows, spec.channels)
