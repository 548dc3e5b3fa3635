"""The store as a whole: opening, restarts, a full disk, a damaged or foreign file."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import CannotWrite, Missing
from tests.support.device import make_device
from tests.support.tools import own_tmpfs


def test_everything_is_for_the_owner_only(tmp_path: Path) -> None:
    device = make_device(tmp_path / "state")
    device.freeze()
    for path in [tmp_path / "state", *(tmp_path / "state").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_readers_see_what_a_writer_commits(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="nothing is stored here yet"):
        Store(tmp_path, read_only=True)
    device = make_device(tmp_path)
    reader = Store(tmp_path, read_only=True)
    assert reader.recordings.summary() == device.store.recordings.summary()
    device.freeze()
    assert len(reader.plans.in_work()) == 1
    with pytest.raises(CannotWrite):
        reader.ledger.mark("x")


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="file/state"):
        Store(tmp_path / "file" / "state")


def test_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    script = [sys.executable, "-m", "tests.support.small_disk", str(tmp_path)]
    result = subprocess.run(
        [*own_tmpfs(str(tmp_path), "2m"), *script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "nothing was lost" in result.stdout
