"""Cuts recordings into windows, newest first, and parts them from the hold-out by blocks."""

import hmac
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cbor2

from fedling_agent.data.recording import Recording, Source, Span
from fedling_protocol.classes import dataclass
from fedling_protocol.runtime.slices import Slices
from fedling_protocol.wire.labels import tidy
from fedling_protocol.wire.limits import MAX_TESTED
from fedling_protocol.wire.messages import TaskSpec, Training

MAX_EXAMPLES = 65_536
MAX_BYTES = 16 * 2**20  # of frozen windows, which are in memory while they are frozen
MAX_TEST_BYTES = 2 * 2**20  # of windows that test a model
MAX_SAMPLES = 2**24 - 1  # of a channel in one fit of the normaliser, NUMERICS.md section 6

RUNS = 64  # cut in one slice: each may cost a keyed hash
PIECE = 4096  # windows added in one slice


@dataclass(frozen=True, slots=True)
class Example:
    """One window of a recording; (recording id, first sample) is its id."""

    recording: str
    first: int
    revision: int  # of the span that labels all of it
    label: int  # class; 0 in a task without labels


class Windows:
    """Up to 65,536 examples in 21 bytes each, oldest first."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Begin empty. names: of recordings, that add() numbers from 0."""
        self.names = list(names)
        self.recordings = array("I")  # of each window, its place in names
        self.firsts = array("q")
        self.revisions = array("q")
        self.labels = bytearray()

    def add(self, recording: int, firsts: Iterable[int], revision: int, label: int) -> None:
        """Append windows of one recording and one span."""
        before = len(self.firsts)
        self.firsts.extend(firsts)
        added = len(self.firsts) - before
        self.recordings.extend(array("I", [recording]) * added)
        self.revisions.extend(array("q", [revision]) * added)
        self.labels += bytes([label]) * added

    def reverse(self) -> None:
        """Turn the order round: what was added last comes first."""
        for column in (self.recordings, self.firsts, self.revisions, self.labels):
            column.reverse()

    def slice(self, start: int, stop: int) -> Iterator[Example]:
        """Copy the examples from start up to stop, which is left out."""
        for at in range(start, min(stop, len(self))):
            name = self.names[self.recordings[at]]
            yield Example(name, self.firsts[at], self.revisions[at], self.labels[at])

    def __len__(self) -> int:
        return len(self.firsts)

    def __getitem__(self, at: int) -> Example:
        (example,) = self.slice(at, at + 1)
        return example

    def __iter__(self) -> Iterator[Example]:
        return self.slice(0, len(self))


class HoldOut:
    """Which blocks of samples are kept out of training: the same ones for as long as the device is.

    A block is held out by a keyed hash, so that nobody else can tell which ones are.
    """

    def __init__(self, secret: bytes, stream: str, training: Training) -> None:
        """Part the blocks. secret: the device's; training.holdout must be above 0."""
        self._salt = hmac.digest(secret, b"fedling hold-out 1", "sha256")
        self._stream = stream
        self._thousandths = training.holdout
        self.block = training.holdout_block  # samples

    def held(self, recording: str, block: int) -> bool:
        """Whether samples block * holdout_block and following are kept out of training."""
        words = cbor2.dumps([self._stream, recording, block], canonical=True)
        word = int.from_bytes(hmac.digest(self._salt, words, "sha256")[:4], "big")
        return word * 1000 >> 32 < self._thousandths


class Run(NamedTuple):
    """Windows of one span, one stride apart; an empty one says that none was found yet."""

    firsts: range  # ascending
    revision: int
    label: int


class Cutter:
    """Finds a task's windows, from the newest back, without touching older ones.

    Windows begin at every multiple of the stride; one span with a label of the task must cover all
    of a window, and no held-out block may touch one that trains, no other block one that tests. A
    task without labels takes all in which the samples follow on from each other.
    """

    def __init__(self, spec: TaskSpec, holdout: HoldOut | None, *, tests: bool = False) -> None:
        """Look for a task's windows. holdout: None: all windows train; tests: those that test"""
        self._spec = spec
        self._holdout = holdout
        self._classes = {tidy(label): k for k, label in enumerate(spec.labels)}
        self._tests = tests
        self.classes = set[int]()  # of which there were windows, held out or not
        self.longest = 0  # samples of the longest span that could have had windows

    def back(self, source: Source, recording: Recording, seen: int = 0) -> Iterator[Run]:
        """Find windows of one recording that end after sample number `seen`, the last ones first.

        Each run costs one hash, or a SELECT now and then. Samples beyond recording.samples, that
        came since, are not looked at.
        """
        spec = self._spec
        if recording.channels != spec.channels:
            return
        lowest = max(0, seen - spec.window + 1)
        for span in self._spans(source, recording):
            if span.last < lowest:
                return
            label = self._classes.get(span.label) if spec.labels else 0
            if label is None:
                yield Run(range(0), 0, 0)
                continue
            self.longest = max(self.longest, span.last - span.first + 1)
            low = max(span.first, lowest)
            high = min(span.last + 1, recording.samples) - spec.window
            if -(-low // spec.stride) * spec.stride <= high:
                self.classes.add(label)
            for firsts in self._firsts(recording.id, low, high):
                yield Run(firsts, span.revision, label)

    def _spans(self, source: Source, recording: Recording) -> Iterator[Span]:
        below = None
        while below != 0 and (page := self._page(source, recording, below)):
            yield from page
            below = page[-1].first

    def _page(self, source: Source, recording: Recording, below: int | None) -> list[Span]:
        if self._spec.labels:
            return source.spans(recording, below)
        return [Span(s.first, s.last, "", 0) for s in source.stretches(recording, below)]

    def _firsts(self, recording: str, low: int, high: int) -> Iterator[range]:
        """Tell where windows begin in low..high, last ones first; each block is hashed once."""
        window, stride, holdout = self._spec.window, self._spec.stride, self._holdout
        low = -(-low // stride) * stride
        if holdout is None:
            yield range(low, high + 1, stride)
            return
        size = holdout.block
        block = (high + window - 1) // size
        while (high := high // stride * stride) >= low:
            # Above `high` everything is found. Blocks from block + 1 to that of its last sample
            # are such as are wanted; what lies between two windows is not asked for.
            block = min(block, (high + window - 1) // size)
            begin = block * size
            if holdout.held(recording, block) != self._tests:
                yield range(0)
                high = begin - window
            else:
                first = max(low, -(-begin // stride) * stride)
                yield range(first, high + 1, stride)
                high = min(high, first - 1)
            block -= 1


def training_windows(spec: TaskSpec, training: Training, secret: bytes) -> Cutter:
    """Make what finds the windows that a device trains on. secret: the device's."""
    return Cutter(spec, HoldOut(secret, spec.stream, training) if training.holdout else None)


def held_out_windows(spec: TaskSpec, training: Training, secret: bytes) -> Cutter:
    """Make what finds the windows that a device tests a model on. training.holdout is above 0."""
    return Cutter(spec, HoldOut(secret, spec.stream, training), tests=True)


def room_for_tests(spec: TaskSpec, trained: int) -> int:
    """How many windows test a model at most: no more than train it, so that it costs less."""
    return min(MAX_TESTED, MAX_TEST_BYTES // (2 * spec.window * spec.channels), trained)


def room(spec: TaskSpec) -> int:
    """How many windows of a task a training set holds at most."""
    width = 2 * spec.window * spec.channels
    return min(MAX_EXAMPLES, MAX_BYTES // width, MAX_SAMPLES // spec.window)


def newest_first(source: Source, stream: str) -> Iterator[Recording]:
    """Go through all recordings of a stream, the newest first, read in pages."""
    below = None
    while page := source.newest(stream, below):
        yield from page
        below = page[-1].key


def choose(
    source: Source, stream: str, cutter: Cutter, most: int
) -> Slices[tuple[Windows, list[Recording]]]:
    """Take the newest windows, oldest first, and their recordings (in the order of windows.names).

    Labels of a recording are as they were when it was come to: its revision tells of a change.
    """
    windows, used = Windows(), list[Recording]()
    for recording in newest_first(source, stream):
        for number, run in enumerate(cutter.back(source, recording)):
            if run.firsts and (not used or used[-1] is not recording):
                used.append(recording)
                windows.names.append(recording.id)
            firsts = run.firsts[::-1][: most - len(windows)]
            for at in range(0, len(firsts), PIECE):
                windows.add(len(used) - 1, firsts[at : at + PIECE], run.revision, run.label)
                yield
            if len(windows) == most:
                windows.reverse()
                return windows, used
            if number % RUNS == RUNS - 1:
                yield
        yield
    windows.reverse()
    return windows, used
