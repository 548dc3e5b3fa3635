"""A full disk under the aggregator: it says so, accepts nothing, goes on when there is room."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fedling_broker.commands import serve
from fedling_broker.mosquitto.process import Mosquitto
from fedling_broker.store.database import FILE
from fedling_broker.store.store import Store
from fedling_protocol.disk.errors import BadDatabase
from fedling_protocol.exits import Exit
from tests.broker.conftest import Here
from tests.support.damage import spoil
from tests.support.tools import own_tmpfs

ROOT = Path(__file__).parent.parent.parent


def test_full_disk_is_said_and_survived(tmp_path: Path, mosquitto: Mosquitto) -> None:
    state = tmp_path / "aggregator" / "broker-state"
    state.mkdir(parents=True)
    script = [sys.executable, "-m", "tests.support.full_aggregator"]
    result = subprocess.run(
        [*own_tmpfs(str(state), "2m"), *script, str(state.parent), str(mosquitto.port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_serve_ends_so_that_it_is_started_again_where_the_disk_did_not_read(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says "malformed" of a read that failed, too: 78 would be for good."""
    cause = sqlite3.DatabaseError("database disk image is malformed")
    cause.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    error = BadDatabase("malformed")
    error.__cause__ = cause

    def fail(*_: object, **__: object) -> Store:
        raise error

    monkeypatch.setattr(serve, "Store", fail)
    assert "the disk is failing" in here("serve", code=Exit.CANNOT_WRITE)
    spoil(here.directory / "broker-state" / FILE, "models")
    here("serve", code=Exit.BAD_CONFIG)
