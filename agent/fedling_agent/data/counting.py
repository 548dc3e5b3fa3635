"""Whether a device has the windows that a plan wants, kept up to date as samples come."""

from collections.abc import Callable
from typing import NamedTuple

from fedling_agent.data.recording import Changes, Known, Recording, Source
from fedling_agent.data.windows import RUNS, Cutter, room
from fedling_protocol.runtime.slices import Slices
from fedling_protocol.wire.messages import TaskSpec, Training

SHORT = 4096  # samples; a recording without a window is not remembered: counted again if it grows


class _Counted(NamedTuple):
    samples: int
    windows: int


class Found(NamedTuple):
    """What there is when there are not enough windows."""

    windows: int = 0
    longest: int = 0  # samples of the longest span that a window could have been in


class Counter:
    """Counts the windows of one plan, the newest recordings first, until there are enough.

    Told of what changes (see changed()), it looks at new samples only. As long as there are
    enough it does nothing; when too much of what it has counted is evicted it begins anew. Windows
    that are held out count: if too few were left without them, nothing is held out.
    """

    def __init__(
        self,
        source: Source,
        spec: TaskSpec,
        training: Training,
        known: Callable[[int], Known | None] = lambda _: None,
    ) -> None:
        """Count nothing yet. known: how much of the recording with a key does not count"""
        self._source = source
        self._known = known
        self._stream = spec.stream
        self._cutter = Cutter(spec, None)
        self._wanted = max(1, training.min_examples)
        self._possible = self._wanted <= room(spec)
        self._evictions = 0
        self._begin()

    def _begin(self) -> None:
        self.windows = 0  # counted up to now: of the whole stream if enough is False
        self._counted: dict[int, _Counted] = {}
        self._grown: set[int] = set()  # since they were counted, or new
        self._below: int | None = None  # older recordings are to be counted; None: all
        self._oldest = False  # was reached
        self._counting: int | None = None  # the recording that a slice was cut in

    @property
    def enough(self) -> bool | None:
        """Whether there are enough windows; None: count() must tell."""
        if not self._possible:
            return False
        if self.windows >= self._wanted:
            return True
        return None if self._grown or not self._oldest else False

    @property
    def found(self) -> Found:
        """What is there, as far as it was looked at."""
        return Found(self.windows, self._cutter.longest)

    def changed(self, changes: Changes) -> None:
        """Something was written: new samples, other labels, recordings that are gone."""
        had_enough = self.windows >= self._wanted
        shorter = {key for key in changes.trimmed if self._forget(key)}
        if not had_enough:
            self._grown.update(shorter)
        self._evictions += bool(changes.evicted)
        for key in changes.evicted:
            self._forget(key)
            self._grown.discard(key)
        if changes.stream == self._stream:
            for key in changes.relabelled:
                self._forget(key)
            if not had_enough:
                self._grown.update(changes.relabelled)
                self._grown.update(changes.grown)
        if had_enough and self.windows < self._wanted:
            self._begin()

    def count(self) -> Slices[bool]:
        """Count until it is known whether there are enough. Changes may come between slices."""
        while self.enough is None:
            if self._grown:
                yield from self._count_grown(next(iter(self._grown)))
            else:
                yield from self._count_older()
        return self.enough

    def _forget(self, key: int) -> bool:
        """Whether it was counted, or is being counted."""
        counted = self._counted.pop(key, None)
        if counted is not None:
            self.windows -= counted.windows
        if key == self._counting:
            self._counting = None
            return True
        return counted is not None

    def _count_grown(self, key: int) -> Slices[None]:
        self._grown.discard(key)  # it may grow again meanwhile
        recording, done = self._source.by_key(key), False
        try:
            done = recording is None or (yield from self._count_one(recording))
        finally:
            if not done:
                self._grown.add(key)
        yield

    def _count_older(self) -> Slices[None]:
        """One page of recordings, less those that were counted because they grew."""
        page, evictions = self._source.newest(self._stream, self._below), self._evictions
        self._oldest = not page
        for recording in page:
            yield
            if self._evictions != evictions:
                return  # what is left of the page may be gone
            if recording.key not in self._counted:
                done = yield from self._count_one(recording)
                if not done or self.enough:
                    return
            self._below = recording.key

    def _known_samples(self, recording: Recording) -> int:
        known = self._known(recording.key)
        return known.samples if known and known.revision == recording.revision else 0

    def _count_one(self, recording: Recording) -> Slices[bool]:
        """Count what is new in one recording. False: it was evicted or relabelled meanwhile."""
        key, before = recording.key, self._counted.get(recording.key)
        if before is None:
            before = _Counted(self._known_samples(recording), 0)
        if before.samples >= recording.samples:
            return True
        found = before.windows
        self._counting = key
        runs = self._cutter.back(self._source, recording, before.samples)
        for number, run in enumerate(runs):
            found += len(run.firsts)
            if self.windows - before.windows + found >= self._wanted:
                break
            if number % RUNS == RUNS - 1:
                yield
                if self._counting is None:
                    return False
        self._counting = None
        self.windows += found - before.windows
        if found or recording.samples > SHORT:
            self._counted[key] = _Counted(recording.samples, found)
        return True
