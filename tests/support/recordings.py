"""Recordings in memory, and any recordings for property tests."""

from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from fedling_agent.data.recording import Recording, Span, Stretch

LABELS = ("down", "up", "other", "")  # the last: none


@dataclass(slots=True)
class Shelf:
    """A Source of one stream, in small pages."""

    stored: list[tuple[Recording, list[Span]]] = field(default_factory=list)  # oldest first
    holes: dict[int, set[int]] = field(default_factory=dict)  # by key: samples behind one
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

    def stretches(
        self, recording: Recording, below: int | None = None, *, every: bool = False
    ) -> list[Stretch]:
        self.reads += 1
        now = self.by_key(recording.key)
        samples, begin = (0, 0) if now is None else (now.samples, now.first)
        firsts = sorted({begin, *self.holes.get(recording.key, ())})
        lasts = [first - 1 for first in firsts[1:]] + [samples - 1]
        found = [Stretch(*pair) for pair in zip(firsts, lasts, strict=True) if samples]
        found = [s for s in reversed(found) if below is None or s.first < below]
        return found if every else found[: self.page]

    def grow(self, key: int, pieces: list[tuple[int, str]], *, hole: bool = False) -> None:
        """As ingest does: a span goes on if its label does. A new key is a new recording.

        hole: before the first sample; where there is none, there is no hole
        """
        if all(r.key != key for r, _ in self.stored):
            self.stored.append((Recording(key, f"r{key}", 0, 0, 2, 0), []))
        at = next(n for n, (r, _) in enumerate(self.stored) if r.key == key)
        recording, spans = self.stored[at]
        samples = begin = recording.samples
        if hole and samples and pieces:
            self.holes.setdefault(key, set()).add(samples)
        for length, label in pieces:
            joins = not hole or samples > begin
            if joins and spans and spans[-1].label == label and spans[-1].last == samples - 1:
                spans[-1] = spans[-1]._replace(last=samples + length - 1)
            elif label:
                spans.append(Span(samples, samples + length - 1, label, 0))
            samples += length
        self.stored[at] = (replace(recording, samples=samples), spans)

    def relabel(self, key: int, label: str) -> None:
        """All of a recording."""
        at = next(n for n, (r, _) in enumerate(self.stored) if r.key == key)
        recording, _ = self.stored[at]
        revision = recording.revision + 1
        parts = sorted(self.stretches(recording, None, every=True), key=lambda s: s.first)
        spans = [Span(s.first, s.last, label, revision) for s in parts if label]
        self.stored[at] = (replace(recording, revision=revision), spans)

    def trim(self, key: int) -> None:
        """The older half of a recording."""
        at = next(n for n, (r, _) in enumerate(self.stored) if r.key == key)
        recording, spans = self.stored[at]
        first = (recording.first + recording.samples) // 2
        left = [s._replace(first=max(s.first, first)) for s in spans if s.last >= first]
        holes = self.holes.get(key, set())
        self.holes[key] = {hole for hole in holes if hole > first}
        self.stored[at] = (replace(recording, first=first), left)

    def evict(self, key: int) -> None:
        self.stored = [pair for pair in self.stored if pair[0].key != key]


PIECES = st.lists(st.tuples(st.integers(1, 60), st.sampled_from(LABELS)), max_size=6)
SHELVES = st.lists(PIECES, max_size=5)


def shelf(recordings: list[list[tuple[int, str]]], *, holes: bool = False) -> Shelf:
    """holes: before every piece of a length that 3 divides"""
    made = Shelf()
    for key, pieces in enumerate(recordings, 1):
        made.grow(key, [])
        for piece in pieces:
            made.grow(key, [piece], hole=holes and piece[0] % 3 == 0)
    return made
