"""Recordings that begin in one request: written together, and found as if one by one."""

from pathlib import Path

import pytest

from fedling_agent.data.recording import Recording
from fedling_agent.data.streams import Channel, Row, Stream
from fedling_agent.store.open_recording import CHUNK_BYTES
from fedling_agent.store.recordings import Bounds
from fedling_agent.store.store import Store

STREAM = Stream("wrist", (Channel("x", "g", 0.001),))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def ingest(store: Store, *samples: tuple[str, str | None]) -> None:
    """One request of samples: of which recording, with which label; each has its number."""
    rows = [Row(n, name, label, None, (n,)) for n, (name, label) in enumerate(samples, 1)]
    done = store.recordings.ingest(STREAM, rows, now_ms=1)
    assert (done.stored, done.refused) == (len(rows), 0)


def found(store: Store, name: str) -> Recording:
    recording = store.recordings.by_id("wrist", name)
    assert recording is not None
    return recording


def values(store: Store, name: str) -> list[int]:
    recording = found(store, name)
    data = store.recordings.samples(recording, 0, recording.samples)
    return list(memoryview(data).cast("h"))


def test_a_recording_that_begins_and_goes_on_in_one_request(store: Store) -> None:
    ingest(store, ("a", "up"), ("b", None), ("a", "up"), ("c", "down"), ("a", "down"))
    assert [values(store, name) for name in "abc"] == [[1, 3, 5], [2], [4]]
    spans = store.recordings.spans(found(store, "a"))
    assert [(s.first, s.last, s.label) for s in spans] == [(2, 2, "down"), (0, 1, "up")]
    assert len(store.recordings.stretches(found(store, "a"))) == 1
    assert store.recordings.labels("wrist", 9) == {"up": 2, "down": 2}
    summary = store.recordings.summary()["wrist"]
    assert (summary.recordings, summary.samples) == (3, 5)


def test_a_long_one_has_chunks_as_any_other(store: Store) -> None:
    count = CHUNK_BYTES  # samples of two bytes
    rows = [Row(n, "long", None, None, (n % 1000,)) for n in range(count)]
    store.recordings.ingest(STREAM, rows, now_ms=1)
    lengths = store.database.rows("SELECT length(data) FROM chunks ORDER BY first")
    assert lengths == [(CHUNK_BYTES,), (CHUNK_BYTES,)]
    assert values(store, "long") == [n % 1000 for n in range(count)]


def test_the_key_of_one_that_was_forgotten_never_comes_back(store: Store) -> None:
    ingest(store, ("a", None), ("b", None))
    newest = found(store, "b").key
    store.recordings.forget("wrist")
    ingest(store, ("c", None), ("d", None))
    assert [found(store, name).key for name in "cd"] == [newest + 1, newest + 2]


def test_those_of_the_same_request_may_have_to_go(tmp_path: Path) -> None:
    store = Store(tmp_path, Bounds(bytes=4096))
    ingest(store, *[(f"r{n}", "up") for n in range(100)])
    summary = store.recordings.summary()["wrist"]
    assert 0 < summary.recordings < 100
    assert summary.bytes <= 4096
    assert summary.evicted == 100 - summary.recordings
    assert store.recordings.by_id("wrist", "r0") is None
    assert values(store, "r99") == [100]
    assert store.recordings.labels("wrist", 9) == {"up": summary.recordings}
