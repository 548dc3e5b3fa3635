"""Waiting in tests: every wait has an end, and says at it what did not come.

Where something tells, it is awaited (a socket, a process, a callback of the loop); where nothing
does, a test looks again and again: with until(), and in no other way (tests/test_waiting.py).
"""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import AnyStr

PATIENCE_S = 300.0  # nobody waits as long but in vain; others may have the processors
LOOK_S = 0.01  # between two looks


def until(
    condition: Callable[[], object],
    turn: Callable[[float], object] = time.sleep,
    *,
    says: Callable[[], object] = str,
    look_s: float = LOOK_S,
    patience_s: float = PATIENCE_S,
) -> None:
    """Look until the condition holds; between two looks `turn` has look_s to bring it about.

    turn: Loop.turn, where the condition depends on callbacks of this thread
    says: what is added to the failure, asked for only then
    """
    late = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() >= late:
            raise AssertionError(f"waited {patience_s:.0f} s in vain; {says()}")
        turn(look_s)


def receive(end: socket.socket, count: int) -> bytes:
    """So many bytes, however they come."""
    before = end.gettimeout()
    end.settimeout(PATIENCE_S)
    data = bytearray()
    while len(data) < count:
        more = end.recv(min(count - len(data), 1_000_000))
        assert more, f"the end after {len(data)} of {count} bytes: {bytes(data[-200:])!r}"
        data += more
    end.settimeout(before)
    return bytes(data)


def line_of(process: subprocess.Popen[AnyStr], holds: Callable[[AnyStr], object]) -> AnyStr:
    """Read what a process prints up to a line of which something holds; a silent one is killed."""
    while line := _next_line(process):
        if holds(line):
            return line
    raise AssertionError(f"it has ended, or said nothing for {PATIENCE_S:.0f} s")


class Manager:
    """Stands where systemd stands, and hears what a service tells it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        name = f"fedling-test-{os.getpid()}-{id(self):x}"
        self._socket.bind(f"\0{name}")
        self.environment = {"NOTIFY_SOCKET": f"@{name}"}

    def hear(self, *words: str) -> list[str]:
        """Wait until each of the words has begun a line; returns all lines since the last time."""
        heard: list[str] = []

        def all_are_there() -> bool:
            return all(any(line.startswith(word) for line in heard) for word in words)

        def take(seconds: float) -> None:
            self._socket.settimeout(seconds)
            try:
                words = self._socket.recv(4096)
            except TimeoutError:
                return
            assert words, "nothing more is heard"
            heard.extend(words.decode().split("\n"))

        until(all_are_there, take, says=lambda: f"heard {heard}, not {words}", look_s=1.0)
        return heard

    def end(self) -> None:
        """Who hears in another thread hears no more, and fails."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "Manager":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _next_line(process: subprocess.Popen[AnyStr]) -> AnyStr:
    assert process.stdout is not None
    silent = threading.Timer(PATIENCE_S, process.kill)
    silent.start()
    try:
        return process.stdout.readline()
    finally:
        silent.cancel()
