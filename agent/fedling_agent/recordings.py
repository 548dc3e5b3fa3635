"""Recordings in the store: int16 samples that only grow, spans of labels, eviction of the oldest."""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fedling_agent.database import Database
from fedling_agent.streams import Row, RowError, Stream


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept."""

    bytes: int = 64 * 2**20  # samples of all streams
    age_days: float = 0.0  # 0: for ever


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one chunk of rows, or of many (they add up)."""

    stored: int = 0
    refused: int = 0
    errors: tuple[RowError, ...] = ()  # the first 20
    evicted: int = 0  # recordings


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording without its samples."""

    key: int  # in this database
    id: str
    start_ms: int
    samples: int


@dataclass(frozen=True, slots=True)
class Span:
    """Samples first..last (inclusive) have this label."""

    first: int
    last: int
    label: str
    revision: int  # raised when a person changes a label


class Recordings:
    """One table of recordings, shared by all streams of a device."""

    def __init__(self, database: Database, bounds: Bounds) -> None:
        raise NotImplementedError

    def ingest(self, stream: Stream, rows: Iterable[Row | RowError], now_ms: int) -> Ingested:
        """One transaction: append the good rows, then evict. A known recording goes on.

        Raises CannotWrite (nothing of this chunk is stored), BadInput (the stream's resolution or
        channels are not those of what is stored).
        """
        raise NotImplementedError

    def relabel(
        self, stream: str, recording: str, first: int, last: int, label: str | None
    ) -> None:
        """Change or remove the label of samples first..last; the new span's revision is higher."""
        raise NotImplementedError

    def list(self, stream: str) -> list[Recording]:
        """Oldest first: in the order in which they were begun."""
        raise NotImplementedError

    def spans(self, recording: Recording) -> list[Span]:
        """In order, none overlapping."""
        raise NotImplementedError

    def samples(self, recording: Recording, first: int, count: int) -> "array[int]":
        """int16 counts, channels last. Raises Missing if they are not all there."""
        raise NotImplementedError

    def summary(self) -> dict[str, tuple[int, int, int]]:
        """Per stream: recordings, samples, bytes."""
        raise NotImplementedError

    def erase(self, stream: str | None = None) -> None:
        """Remove for good what was ingested; the caller aborts what was trained on it first."""
        raise NotImplementedError
