"""A system bus of a test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bus import DBus


@pytest.fixture
def dbus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DBus]:
    """A real dbus-daemon, started; who asks the system's bus asks this one."""
    bus = DBus(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    bus.start()
    yield bus
    bus.end()
