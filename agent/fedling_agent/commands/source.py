"""The lines that a command reads: a file or standard input, as CSV or NDJSON."""

import argparse
import os
import select
import stat
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedling_agent.commands.interrupts import Interrupts
from fedling_agent.data.lines import Lines
from fedling_protocol.disk import given
from fedling_protocol.disk.errors import BadInput

NDJSON = (".ndjson", ".jsonl", ".json")
BLOCK = 65_536  # bytes, read at once
ROWS = 500  # in one piece: each costs an fsync
CHARACTERS = 256_000
FLUSH_S = 0.8  # rows wait no longer for others


def form(args: argparse.Namespace) -> str:
    """Tell whether the lines are "csv" or "ndjson"."""
    given: str | None = args.format
    return given or ("ndjson" if Path(args.file).suffix.lower() in NDJSON else "csv")


@contextmanager
def opened(name: str) -> Iterator["Source"]:
    """Open a file, or standard input ("-"). Raises Missing, BadInput."""
    if name == "-":
        if sys.stdin is None:
            raise BadInput("standard input is closed: name a file, or pipe rows into it")
        yield Source(sys.stdin.fileno(), "standard input")
        return
    with given.opened(Path(name)) as file:
        yield Source(file.fileno(), name)


class Source:
    """An input that is open. is_file: it can be read again, and ends; else it may be live."""

    def __init__(self, handle: int, name: str) -> None:
        self.name = name
        self.is_file = stat.S_ISREG(os.fstat(handle).st_mode)
        self.lines = Lines()
        self._handle = handle
        self._begin = os.lseek(handle, 0, os.SEEK_CUR) if self.is_file else 0
        self._head: list[str] = []  # up to the first line that is not empty: a header

    def all(self) -> Iterator[str]:
        """Read line after line, each as soon as it has come. Raises BadInput."""
        while data := os.read(self._handle, BLOCK):
            yield from self.lines.feed(data)
        yield from self.lines.end()

    def pieces(self, interrupts: Interrupts) -> Iterator[list[str]]:
        """Read pieces that one request can carry, none of which waits long for its last row.

        They end with the input or when a signal has come; then a last row that is not complete is
        left out. Raises BadInput.
        """
        waiting: deque[str] = deque()
        due, ended = 0.0, False
        while not ended:
            if waiting and (len(waiting) >= ROWS or time.monotonic() >= due):
                yield self._piece(waiting)
                continue
            left = max(0.0, due - time.monotonic()) if waiting else None
            if not self._wait(interrupts, left):
                continue
            data = b"" if interrupts.came else os.read(self._handle, BLOCK)
            ended = not data
            rest = self.lines.end() if ended and not interrupts.came else []
            if not waiting:
                due = time.monotonic() + FLUSH_S
            waiting.extend(self.lines.feed(data) + rest)
        while waiting:
            yield self._piece(waiting)

    def again(self, count: int) -> Iterator[list[str]]:
        """Give what who takes the rest must know of the first lines: of a file, all of them."""
        if not self.is_file:
            yield self._head[:count]
            return
        lines, at = Lines(), self._begin
        while lines.count < count:
            data = os.pread(self._handle, BLOCK, at)
            if not data:
                yield lines.end()
                return
            at += len(data)
            before = lines.count
            found = lines.feed(data)[: count - before]
            for first in range(0, len(found), ROWS):
                yield found[first : first + ROWS]

    def _wait(self, interrupts: Interrupts, seconds: float | None) -> bool:
        """Wait for bytes, the end or a signal; False: the time was over before."""
        poll = select.poll()  # unlike epoll it takes files
        poll.register(self._handle, select.POLLIN)
        poll.register(interrupts, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def _piece(self, waiting: deque[str]) -> list[str]:
        piece: list[str] = []
        size = 0
        while waiting and len(piece) < ROWS and size < CHARACTERS:
            piece.append(waiting.popleft())
            size += len(piece[-1])
            if not self._head or not self._head[-1].strip():
                self._head.append(piece[-1])
        return piece
