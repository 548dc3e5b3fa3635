"""What the service manager hears."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_protocol.runtime import sdnotify


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify")
    if request.param == "abstract":
        name = f"@fedling-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(name.replace("@", "\0"))
        server.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield server


def test_the_manager_hears(manager: socket.socket) -> None:
    assert sdnotify.ready("waiting\nfor a plan")
    assert sdnotify.alive()
    assert sdnotify.status("training")
    assert sdnotify.stopping()
    assert [manager.recv(1000) for _ in range(4)] == [
        b"READY=1\nSTATUS=waiting for a plan",
        b"WATCHDOG=1",
        b"STATUS=training",
        b"STOPPING=1",
    ]


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not sdnotify.alive()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not sdnotify.alive()


@pytest.mark.parametrize(
    ("microseconds", "pid", "expected"),
    [
        ("30000000", None, 30.0),
        ("30000000", "mine", 30.0),
        ("30000000", "1", None),
        (None, None, None),
        ("", None, None),
        ("soon", None, None),
        ("0", None, None),
    ],
)
def test_watchdog(
    monkeypatch: pytest.MonkeyPatch, microseconds: str | None, pid: str | None, expected: float
) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value.replace("mine", str(os.getpid())))
    assert sdnotify.watchdog_s() == expected
