"""What the store says of its recordings, as plain data: nothing here knows SQL."""

from typing import NamedTuple, Protocol

from fedling_protocol.classes import dataclass


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording without its samples."""

    key: int  # in this store; grows and never comes back, so that the oldest comes first
    id: str
    start_ms: int
    samples: int  # up to its end: those before `first` are gone
    channels: int
    revision: int  # of the last change of a label by a person
    first: int = 0  # the oldest sample that is kept


@dataclass(frozen=True, slots=True)
class Known:
    """How far a recording had come when it was last trained on."""

    samples: int
    revision: int  # of its labels: with other ones all of it is new


class Span(NamedTuple):
    """Samples first..last (inclusive) have this label."""

    first: int
    last: int
    label: str
    revision: int  # 0 as ingested; grows when a person changes a label


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples first..last (inclusive) were taken without a break; a hole parts two stretches."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What one write did to the recordings: who counts or fits need not look at the others."""

    stream: str
    samples: int = 0  # that were appended to this stream
    grown: tuple[int, ...] = ()  # keys of this stream's recordings that are new or longer
    relabelled: tuple[int, ...] = ()  # keys of this stream's recordings
    evicted: tuple[int, ...] = ()  # keys, of any stream
    trimmed: tuple[int, ...] = ()  # keys, of any stream: their oldest samples are gone


class Source(Protocol):
    """Where recordings are read from, newest first and a bounded number at a time."""

    def newest(self, stream: str, below: int | None = None) -> list[Recording]:
        """The newest recordings of a stream, those with keys below a bound; empty at the end."""

    def by_key(self, key: int) -> Recording | None:
        """The recording with this key; None if it was evicted."""

    def spans(self, recording: Recording, below: int | None = None) -> list[Span]:
        """The last spans that begin before sample `below`; last first; empty at the end.

        No span covers samples of two stretches.
        """

    def stretches(self, recording: Recording, below: int | None = None) -> list[Stretch]:
        """The last stretches that begin before sample `below`; last first; empty at the end."""
