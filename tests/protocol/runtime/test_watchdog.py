"""The watchdog is fed from the loop, in good time, and only where there is one."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_protocol.runtime.watchdog import Watchdog
from tests.support.ports import HandClock


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as server:
        server.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield server


def heard(manager: socket.socket) -> list[bytes]:
    words = []
    while True:
        try:
            words.append(manager.recv(1000))
        except BlockingIOError:
            return words


def test_fed_at_once_and_twice_in_its_time(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    clock = HandClock()
    Watchdog(clock).start()
    assert heard(manager) == [b"WATCHDOG=1"]
    clock.move(4.9)
    assert heard(manager) == []
    clock.move(30)
    assert heard(manager) == [b"WATCHDOG=1"] * 6


def test_silent_where_no_watchdog_is(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    clock = HandClock()
    Watchdog(clock).start()
    clock.move(100)
    assert heard(manager) == []
