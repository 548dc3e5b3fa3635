"""Recordings that begin in one request: written together, and found as if one by one."""

from pathlib import Path

import pytest

from fedling_agent.data.recording import Recording
from fedling_agent.data.streams import Channel, Row, Stream
from fedling_agent.store import costs
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


def test_many_of_one_request_are_what_they_were(store: Store) -> None:
    """Some statements write many of them, others one; some know when they were taken."""
    count = 2 * 120 + 7
    times = [None if n % 3 else 1_000_000 * n for n in range(count)]
    labels = [None if n % 5 == 0 else f"label {n % 2}" for n in range(count)]
    rows = [Row(n, f"r{n}", labels[n], times[n], (n,)) for n in range(count)]
    store.recordings.ingest(STREAM, rows, now_ms=77, up_ms=9)
    assert [values(store, f"r{n}") for n in range(count)] == [[n] for n in range(count)]
    sql = """SELECT r.id, r.start_ms, r.grown_ms, s.label, c.began_ms, c.ended_ms
             FROM recordings AS r JOIN chunks AS c ON c.recording = r.key
             LEFT JOIN spans AS s ON s.recording = r.key ORDER BY r.key"""
    taken = [None if us is None else us // 1000 for us in times]
    assert store.database.rows(sql) == [
        (f"r{n}", 77 if ms is None else ms, 9, label, ms, ms)
        for n, (ms, label) in enumerate(zip(taken, labels, strict=True))
    ]


def test_long_ones_are_told_in_bytes_as_the_tables_have_them(store: Store) -> None:
    """What is kept of their size is what the rows themselves say."""
    names = [(name, label) for name in ("a", "b") for label in ("up", None, "down", "down")]
    ingest(store, *names)
    rows = [Row(n, "long", "x" if n % 9 else None, None, (n % 1000,)) for n in range(CHUNK_BYTES)]
    store.recordings.ingest(STREAM, rows, now_ms=1)
    sql = "SELECT id, bytes FROM recordings ORDER BY id"
    kept = store.database.rows(sql)
    with store.database.transaction("sizes") as connection:
        connection.execute(costs.BYTES_ANEW)
    assert store.database.rows(sql) == kept
    assert sum(size for _, size in kept) == store.recordings.summary()["wrist"].bytes
