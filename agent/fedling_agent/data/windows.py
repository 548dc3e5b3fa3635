"""Cuts recordings into windows, and parts them into training and hold-out by blocks."""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass

import cbor2

from fedling_agent.store.recordings import Recording, Span
from fedling_protocol.wire.messages import TaskSpec, Training


@dataclass(frozen=True, slots=True)
class Example:
    """One window: (recording id, first sample) is its id."""

    recording: str
    first: int
    revision: int  # of the span that labels all of it
    label: int  # class; 0 in a task without labels


class HoldOut:
    """Which blocks of samples are kept out of training: the same ones for as long as the device is.

    A block is held out by a keyed hash, so that nobody else can tell which ones are.
    """

    def __init__(self, secret: bytes, stream: str, training: Training) -> None:
        """secret: the device's."""
        self._salt = hmac.digest(secret, b"fedling hold-out 1", "sha256")
        self._stream = stream
        self._thousandths = training.holdout
        self._block = training.holdout_block

    def held(self, recording: str, block: int) -> bool:
        """Whether samples block * holdout_block and following are kept out of training."""
        if self._thousandths == 0:
            return False
        words = cbor2.dumps([self._stream, recording, block], canonical=True)
        word = int.from_bytes(hmac.digest(self._salt, words, "sha256")[:4], "big")
        return word * 1000 >> 32 < self._thousandths

    def trains(self, recording: str, first: int, window: int) -> bool:
        """Whether no block that a window touches is held out."""
        blocks = range(first // self._block, (first + window - 1) // self._block + 1)
        return not any(self.held(recording, block) for block in blocks)


def cut(
    spec: TaskSpec, recording: Recording, spans: list[Span], holdout: HoldOut
) -> Iterator[Example]:
    """The training windows of one recording, in order.

    Windows begin at every multiple of the stride; one span with a label of the task must cover all
    of a window, and no held-out block may touch it. A task without labels takes them all.
    """
    if not spec.labels:
        spans = [Span(0, recording.samples - 1, "", 0)]
    classes = {label: k for k, label in enumerate(spec.labels or ("",))}
    for span in spans:
        label = classes.get(span.label)
        if label is None:
            continue
        start = -(-span.first // spec.stride) * spec.stride
        end = min(span.last + 1, recording.samples) - spec.window
        for first in range(start, end + 1, spec.stride):
            if holdout.trains(recording.id, first, spec.window):
                yield Example(recording.id, first, span.revision, label)
