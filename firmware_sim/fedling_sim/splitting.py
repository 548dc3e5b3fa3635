"""Parts a device's samples into what it ingests and what only the simulator ever sees.

The last fifth of each recording is a test. Where that would not have all labels of the recording,
it is the last fifth of each stretch with one label; and of recordings too short for a fifth every
fifth one, label by label, is a test as a whole.
"""

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fedling_agent.data.streams import Row, RowError
from fedling_protocol.classes import dataclass
from fedling_protocol.wire.messages import TaskSpec
from fedling_sim.sheet import Piece, Sheet

PARTS = 5  # one of them is the test

Stretch = tuple[int, int]  # rows of a piece: the first, and the one after the last


@dataclass(frozen=True, slots=True)
class TestWindow:
    """A window that no device stores."""

    label: str
    lines: list[str]  # CSV as `predict` reads it: a header, then a line a sample
    counts: "array[int]"  # int16 [window][channels]


@dataclass(frozen=True, slots=True)
class Training:
    """A part of a recording that a device ingests."""

    recording: str
    lines: list[str]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class DeviceData:
    """The recordings of one device, parted."""

    name: str
    path: Path
    header: str
    training: list[Training]
    tests: list[TestWindow]
    windows: int  # to train on
    labels: Counter[str]  # samples of each label; an empty one: without a label
    longest: int  # samples of the longest stretch with one label and nothing refused in it
    refused: list[RowError]


def split(name: str, sheet: Sheet, spec: TaskSpec, short: Counter[str]) -> DeviceData:
    """Part what a device has. short: counts short recordings by label, over all devices."""
    training: list[Training] = []
    tests: list[TestWindow] = []
    windows = longest = 0
    for piece in sheet.pieces:
        cutter = _Cutter(piece, spec)
        trained, tested = _part(cutter, short, may_test=windows > 0)
        for first, stop in trained:
            rows = piece.rows[first:stop]
            training.append(Training(rows[0].recording, sheet.between(rows[0], rows[-1]), rows))
            windows += len(cutter.windows(first, stop))
        tests += [_test(sheet, piece.rows[at : at + spec.window]) for at in tested]
        longest = max(longest, cutter.longest())
    labels = Counter(row.label or "" for piece in sheet.pieces for row in piece.rows)
    return DeviceData(
        name, sheet.path, sheet.header, training, tests, windows, labels, longest, sheet.refused
    )


class _Cutter:
    """Finds the windows of a piece, as a device would: at multiples of the stride."""

    def __init__(self, piece: Piece, spec: TaskSpec) -> None:
        self.piece = piece
        self._spec = spec
        self.stretches = list(_stretches(piece.rows))
        self._borders = sorted({first for first, _ in self.stretches} | set(piece.holes))

    def windows(self, first: int, stop: int) -> list[int]:
        """Where windows begin between two rows: with one label of the task, nothing refused."""
        stride, window = self._spec.stride, self._spec.window
        begin = -(-first // stride) * stride
        return [at for at in range(begin, stop - window + 1, stride) if self._whole(at)]

    def _whole(self, at: int) -> bool:
        after = bisect_right(self._borders, at)
        border = self._borders[after] if after < len(self._borders) else len(self.piece.rows)
        return at + self._spec.window <= border and self.label(at) in self._spec.labels

    def label(self, at: int) -> str:
        return self.piece.rows[at].label or ""

    def labels(self, starts: list[int]) -> set[str]:
        """The labels of these windows."""
        return {self.label(at) for at in starts}

    def longest(self) -> int:
        ends = [*self._borders[1:], len(self.piece.rows)]
        return max(end - begin for begin, end in zip(self._borders, ends, strict=True))


def _part(
    cutter: _Cutter, short: Counter[str], *, may_test: bool
) -> tuple[list[Stretch], list[int]]:
    """Find the stretches to train on, and where test windows begin.

    may_test: all of it, if its turn has come: the device has something else to train on.
    """
    whole = (0, len(cutter.piece.rows))
    windows = cutter.windows(*whole)
    if not windows:
        return [whole], []
    trained, tested = _last_fifth(cutter, whole)
    if cutter.labels(tested) == cutter.labels(windows):
        return trained, tested
    if len(cutter.stretches) == 1:
        label = cutter.label(0)
        short[label] += 1
        if short[label] < PARTS or not may_test:
            return [whole], []
        short[label] = 0
        return [], windows
    parts = [_last_fifth(cutter, stretch) for stretch in cutter.stretches]
    trained = [stretch for kept, _ in parts for stretch in kept]
    return trained, [at for _, tested in parts for at in tested]


def _last_fifth(cutter: _Cutter, stretch: Stretch) -> tuple[list[Stretch], list[int]]:
    """Cut a stretch at four fifths, unless no window fits behind or before the cut."""
    first, stop = stretch
    cut = first + (stop - first) * (PARTS - 1) // PARTS
    tested = cutter.windows(cut, stop)
    if not tested or not cutter.windows(first, cut):
        return [stretch], []
    return [(first, cut)], tested


def _stretches(rows: list[Row]) -> Iterator[Stretch]:
    """Go through runs of one label."""
    first = 0
    for at in range(1, len(rows) + 1):
        if at == len(rows) or rows[at].label != rows[first].label:
            yield first, at
            first = at


def _test(sheet: Sheet, rows: list[Row]) -> TestWindow:
    counts = array("h")
    for row in rows:
        counts.extend(row.counts)
    return TestWindow(
        rows[0].label or "", [sheet.header, *(sheet.text[row.row - 1] for row in rows)], counts
    )
