"""Chunks on disk: what a restart finds, and what is never believed."""

import hashlib
from pathlib import Path

import pytest

from fedling_agent.store.chunks import Chunks
from fedling_protocol.disk.errors import CannotWrite, Missing
from fedling_protocol.wire.chunks import Whole

DATA = bytes(range(256)) * 4 + b"rest"
WHOLE = Whole(hashlib.sha256(DATA).digest(), len(DATA), 300)
PIECES = [DATA[n : n + 300] for n in range(0, len(DATA), 300)]


@pytest.fixture
def chunks(tmp_path: Path) -> Chunks:
    return Chunks(tmp_path)


def put(chunks: Chunks, *numbers: int) -> None:
    for number in numbers:
        chunks.put("watch", WHOLE, number, PIECES[number])


def test_whole_counts_its_chunks() -> None:
    assert WHOLE.count == len(PIECES) == 4
    assert [WHOLE.length(n) for n in range(4)] == [300, 300, 300, 128]
    assert WHOLE.length(4) <= 0
    assert Whole(b"", 600, 300).count == 2


def test_what_is_here_is_not_missing_after_a_restart(chunks: Chunks, tmp_path: Path) -> None:
    assert chunks.missing("watch", WHOLE) == [0, 1, 2, 3]
    put(chunks, 2, 0)
    assert Chunks(tmp_path).missing("watch", WHOLE) == [1, 3]
    put(chunks, 3, 1)
    assert Chunks(tmp_path).missing("watch", WHOLE) == []
    assert Chunks(tmp_path).join("watch", WHOLE) == DATA


def test_chunk_of_another_length_is_missing(chunks: Chunks, tmp_path: Path) -> None:
    """As after a power cut on a file system that lies."""
    chunks.missing("watch", WHOLE)
    put(chunks, 0, 1, 2, 3)
    next(tmp_path.glob("watch/*/1")).write_bytes(b"")
    assert chunks.missing("watch", WHOLE) == [1]


def test_what_a_killed_writer_left_is_no_chunk(chunks: Chunks, tmp_path: Path) -> None:
    chunks.missing("watch", WHOLE)
    (folder,) = tmp_path.glob("watch/*")
    (folder / ".1.77.tmp").write_bytes(PIECES[1])
    assert chunks.missing("watch", WHOLE) == [0, 1, 2, 3]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("other", [Whole(b"o" * 32, 900, 300), Whole(WHOLE.hash, len(DATA), 400)])
def test_only_one_message_of_a_task_is_kept(chunks: Chunks, tmp_path: Path, other: Whole) -> None:
    chunks.missing("watch", WHOLE)
    put(chunks, 0, 1)
    assert chunks.missing("watch", other) == list(range(other.count))
    assert len(list(tmp_path.glob("watch/*"))) == 1
    assert chunks.missing("watch", WHOLE) == [0, 1, 2, 3]


def test_chunks_that_were_damaged_are_not_joined(chunks: Chunks, tmp_path: Path) -> None:
    chunks.missing("watch", WHOLE)
    put(chunks, 0, 1, 2, 3)
    next(tmp_path.glob("watch/*/2")).write_bytes(PIECES[1])
    with pytest.raises(Missing):
        chunks.join("watch", WHOLE)


def test_whole_with_a_gap_is_not_joined(chunks: Chunks) -> None:
    chunks.missing("watch", WHOLE)
    put(chunks, 0, 1, 3)
    with pytest.raises(Missing):
        chunks.join("watch", WHOLE)


def test_chunks_of_tasks_that_are_gone_go(chunks: Chunks, tmp_path: Path) -> None:
    for task in ("watch", "fan"):
        chunks.missing(task, WHOLE)
        chunks.put(task, WHOLE, 0, PIECES[0])
    chunks.keep_only(["fan"])
    assert [path.name for path in tmp_path.iterdir()] == ["fan"]
    chunks.forget("fan")
    chunks.forget("fan")
    assert list(tmp_path.iterdir()) == []


def test_disk_that_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "x").mkdir()
    chunks = Chunks(tmp_path)
    chunks.missing("watch", WHOLE)
    (folder,) = tmp_path.glob("watch/*")
    folder.rmdir()
    with pytest.raises(CannotWrite):
        chunks.put("watch", WHOLE, 0, PIECES[0])
