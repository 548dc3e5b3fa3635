"""An operator's command runs as root, the service as a user of its own, on the same state."""

import os
from pathlib import Path

import pytest

from fedling_protocol.disk import durable

NOBODY = 65534


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A folder of user nobody."""
    if os.geteuid() != 0:
        pytest.skip("only root can write for another user")
    os.chown(tmp_path, NOBODY, NOBODY)
    return tmp_path


def test_write_file_by_root_belongs_to_the_folders_owner(state: Path) -> None:
    durable.write_file(state / "model", b"x")
    durable.write_file(state / "model", b"y")
    assert (state / "model").stat().st_uid == NOBODY


def test_create_file_by_root_belongs_to_the_folders_owner(state: Path) -> None:
    durable.create_file(state / "key", b"x")
    assert (state / "key").stat().st_uid == NOBODY


def test_connect_database_by_root_belongs_to_the_folders_owner(state: Path) -> None:
    connection = durable.connect_database(state / "facts.sqlite")
    with durable.transaction(connection):
        connection.execute("CREATE TABLE fact (x)")
    owners = {path.name: path.stat().st_uid for path in state.iterdir()}
    connection.close()
    assert set(owners) == {"facts.sqlite", "facts.sqlite-wal", "facts.sqlite-shm"}
    assert set(owners.values()) == {NOBODY}
