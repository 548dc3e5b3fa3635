"""The bench of personal models: what nothing has seen stays unseen."""

import json
from itertools import combinations

import numpy as np
import pytest

from bench import personal as bench
from bench.watch_federation import STRIDE, WATCH, WINDOW, devices, read_recordings


def places(part: bench.Part, samples: dict[bytes, tuple[int, int]]) -> set[tuple[int, int]]:
    """Where the windows of a part lie: (recording, first sample)."""
    size = 2 * WINDOW * bench.CHANNELS
    return {samples[part.data[at * size : (at + 1) * size]] for at in range(part.count)}


def test_no_sample_is_in_two_parts_and_the_last_fifth_is_the_test() -> None:
    devices()  # fetches the recordings
    file = json.loads((WATCH / "data" / "devices.json").read_text())["devices"][0]["file"]
    me = bench.owner(file)
    recordings = [counts for _, counts in read_recordings(WATCH / "data" / file)]
    samples = {
        np.ascontiguousarray(counts[first : first + WINDOW]).tobytes(): (number, first)
        for number, counts in enumerate(recordings)
        for first in range(0, len(counts) - WINDOW + 1, STRIDE)
    }
    parts = [places(part, samples) for part in (me.train, me.choose, me.test)]
    for one, other in combinations(parts, 2):
        assert all(a[0] != b[0] or abs(a[1] - b[1]) >= WINDOW for a in one for b in other)
    for number, counts in enumerate(recordings):
        last = [first for at, first in parts[2] if at == number]
        assert min(last) >= len(counts) * 4 // 5
        assert all(
            first + WINDOW <= len(counts) * 4 // 5
            for part in parts[:2]
            for at, first in part
            if at == number
        )


def test_learn_reads_nothing_of_the_person_who_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = [None if at in (6, 7) else one for at, one in enumerate(devices())]
    monkeypatch.setattr(bench, "devices", lambda: others)
    monkeypatch.setattr(bench, "ROUNDS", 2)
    _, last = bench.learn(bench.WAYS[0], 3, 1)
    assert last.view
