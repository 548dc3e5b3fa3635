"""Streams of samples: their definition, and rows of text turned into int16 counts."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Channel:
    """One column of a stream."""

    name: str
    unit: str
    resolution: Decimal  # of one count, in that unit


@dataclass(frozen=True, slots=True)
class Stream:
    """What a sensor delivers, sample by sample."""

    name: str
    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One sample, as it will be stored."""

    recording: str
    label: str | None
    time_ms: int | None  # since 1970; only a recording's first counts
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that is not kept."""

    row: int  # line of the input, the first is 1
    reason: str


def load_stream(path: Path) -> Stream:
    """Read a stream's TOML file; raises SettingsError with file, key, value and what is allowed."""
    raise NotImplementedError


class Parser:
    """Lines of "csv" (with a header) or "ndjson" (one object per line) to rows, in pieces."""

    def __init__(self, stream: Stream, form: str) -> None:
        raise NotImplementedError

    def feed(self, lines: Iterable[str]) -> Iterator[Row | RowError]:
        """What these lines say; a bad row is told and skipped. A bad header raises BadInput."""
        raise NotImplementedError


def bounded_lines(file: BinaryIO) -> Iterator[str]:
    """The lines of a file or of standard input; one that is far too long comes cut."""
    raise NotImplementedError


def counts_of_window(stream: Stream, text: str, form: str, window: int) -> "array[int]":
    """Exactly one window of values (no recording column needed) for predict; BadInput if not."""
    raise NotImplementedError
