"""What mosquitto reads, as it changes: who watches the directory is told, and misses nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fedling_broker.mosquitto.configuration import ACCESS, PASSWORDS
from fedling_broker.mosquitto.files import CHANGED, FOR_GROUP, Files
from fedling_broker.mosquitto.passwords import Login
from fedling_protocol.wire.topics import Topics

TOPICS = Topics("fedling", "home")
DEVICE = "a" * 16


@pytest.fixture
def shared(tmp_path: Path) -> Files:
    """A directory as `setup` makes it."""
    tmp_path.chmod(0o2750)
    return Files(tmp_path)


def test_mark_stands_after_each_change_until_it_is_taken_away(shared: Files) -> None:
    """A change while mosquitto reads stays marked: the mark is removed before, not after."""
    mark = shared.directory / CHANGED
    for revoked, logins in (((), ()), ((DEVICE,), ()), ((DEVICE,), (Login("u", "p"),)), ((), ())):
        assert shared.tell(TOPICS, revoked, None, logins)
        assert mark.stat().st_mode & 0o777 == FOR_GROUP
        mark.unlink()
        assert not shared.tell(TOPICS, revoked, None, logins)
        assert not mark.exists()


def test_no_mark_where_nobody_takes_it_away(tmp_path: Path) -> None:
    """`up` looks at the files themselves."""
    tmp_path.chmod(0o700)
    assert Files(tmp_path).tell(TOPICS, [DEVICE], None, [])
    assert not (tmp_path / CHANGED).exists()


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_nobody_ever_sees_a_file_with_another_mode(
    shared: Files, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd takes the mark away as soon as it has its name, and mosquitto reads what it finds."""
    seen: dict[str, int] = {}

    def named(temporary: str, path: str, put: Callable[[str, str], None] = os.replace) -> None:
        put(temporary, path)
        seen[Path(path).name] = Path(path).stat().st_mode & 0o777
        if Path(path).name == CHANGED:
            Path(path).unlink()

    monkeypatch.setattr(os, "replace", named)
    before = os.umask(umask)
    try:
        assert shared.tell(TOPICS, [DEVICE], None, [Login("u", "p")])
    finally:
        os.umask(before)
    assert seen == {ACCESS: FOR_GROUP, PASSWORDS: FOR_GROUP, CHANGED: FOR_GROUP}
