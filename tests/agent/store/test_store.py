"""The store as a whole: opening, restarts, a full disk, a damaged or foreign file."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fedling_agent.store.errors import BadInput, CannotWrite, Missing, writing
from fedling_agent.store.store import NAME, Store
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


def test_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Store(tmp_path).close()
    connection = sqlite3.connect(tmp_path / NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(BadInput, match="newer fedling"):
        Store(tmp_path)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="file/state"):
        Store(tmp_path / "file" / "state")


def test_other_errors_are_not_called_a_full_disk() -> None:
    with pytest.raises(FileNotFoundError), writing("it"):
        Path("/nowhere/at/all").read_bytes()
    with pytest.raises(sqlite3.OperationalError), writing("it"):
        sqlite3.connect(":memory:").execute("SELECT nothing")


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
