from pathlib import Path

import pytest

from fedling_broker.store.shelf import Damaged
from fedling_broker.store.update_log import Extent, UpdateLog, read
from fedling_protocol.wire import digest


def write(log: UpdateLog) -> None:
    taken = log.take()
    assert taken is not None
    taken()


def test_updates_lie_one_after_another(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = UpdateLog(path, 0)
    extents = [log.add(b"first"), log.add(b"second")]
    assert not path.exists()
    write(log)
    extents.append(log.add(b"third"))
    write(log)
    assert path.read_bytes() == b"firstsecondthird"
    assert [(e.first, e.size, e.end) for e in extents] == [(0, 5, 5), (5, 6, 11), (11, 5, 16)]
    for extent, message in zip(extents, (b"first", b"second", b"third"), strict=True):
        assert read(path, extent, digest.message_hash(message)) == message
    assert log.take() is None


def test_what_a_crash_left_behind_the_last_fact_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"known" + b"never acknowledged, and longer than what follows")
    log = UpdateLog(path, 5)
    extent = log.add(b"next")
    write(log)
    assert path.read_bytes() == b"knownnext"
    assert extent == Extent(5, 4)


@pytest.mark.parametrize("damage", [b"", b"firs", b"fjrst", b"xfirst"])
def test_a_damaged_update_is_found(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(damage)
    with pytest.raises(Damaged, match="at byte 0: not the update that was accepted"):
        read(path, Extent(0, 5), digest.message_hash(b"first"))


def test_a_lost_log_is_said(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="is missing"):
        read(tmp_path / "log", Extent(0, 5), b"h" * 32)
