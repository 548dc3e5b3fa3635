"""Recordings in memory, and any recordings for property tests."""

from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from fedling_agent.data.recording import Recording, Span

LABELS = ("down", "up", "other", "")  # the last: none


@dataclass(slots=True)
class Shelf:
    """A Source of one stream, in small pages."""

    stored: list[tuple[Recording, list[Span]]] = field(default_factory=list)  # oldest first
    page: int = 2
    reads: int = 0

    def newest(self, stream: str, below: int | None = None) -> list[Recording]:
        self.reads += 1
        found = [r for r, _ in reversed(self.stored) if below is None or r.key < below]
        return found[: self.page] if stream == "wrist" else []

    def by_key(self, key: int) -> Recording | None:
        self.reads += 1
        return next((r for r, _ in self.stored if r.key == key), None)

    def spans(self, recording: Recording, below: int | None = None) -> list[Span]:
        self.reads += 1
        spans = next((spans for r, spans in self.stored if r.key == recording.key), [])
        return [s for s in reversed(spans) if below is None or s.first < below][: self.page]

    def grow(self, key: int, pieces: list[tuple[int, str]]) -> None:
        """As ingest does: a span goes on if its label does. A new key is a new recording."""
        if all(r.key != key for r, _ in self.stored):
            self.stored.append((Recording(key, f"r{key}", 0, 0, 2, 0), []))
        at = next(n for n, (r, _) in enumerate(self.stored) if r.key == key)
        recording, spans = self.stored[at]
        samples = recording.samples
        for length, label in pieces:
            if spans and spans[-1].label == label and spans[-1].last == samples - 1:
                spans[-1] = replace(spans[-1], last=samples + length - 1)
            elif label:
                spans.append(Span(samples, samples + length - 1, label, 0))
            samples += length
        self.stored[at] = (replace(recording, samples=samples), spans)

    def relabel(self, key: int, label: str) -> None:
        """All of a recording."""
        at = next(n for n, (r, _) in enumerate(self.stored) if r.key == key)
        recording, _ = self.stored[at]
        revision = recording.revision + 1
        spans = [Span(0, recording.samples - 1, label, revision)] if label else []
        self.stored[at] = (replace(recording, revision=revision), spans)

    def evict(self, key: int) -> None:
        self.stored = [pair for pair in self.stored if pair[0].key != key]


PIECES = st.lists(st.tuples(st.integers(1, 60), st.sampled_from(LABELS)), max_size=6)
SHELVES = st.lists(PIECES, max_size=5)


def shelf(recordings: list[list[tuple[int, str]]]) -> Shelf:
    made = Shelf()
    for key, pieces in enumerate(recordings, 1):
        made.grow(key, pieces)
    return made
