"""The lines that a command reads: a file or standard input, as CSV or NDJSON."""

import argparse
import os
import re
import select
import stat
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from fedling_agent.commands.interrupts import Interrupts
from fedling_agent.data.lines import Lines
from fedling_protocol.disk import given
from fedling_protocol.disk.errors import BadInput

NDJSON = (".ndjson", ".jsonl", ".json")
_NUMBER = re.compile(r"([-_. ]+[0-9]+|[-_. ]*\([0-9]+\))$")  # behind a name
BLOCK = 65_536  # bytes, read at once
ROWS = 6000  # in one piece, two minutes of 50 Hz: each costs an fsync, some pages whatever it holds
CHARACTERS = 600_000  # and a last line: each of them as \uffff, a request may have so many
QUIET_S = 1.25  # without a row: nothing more comes soon; a sensor of 1 Hz goes on
LONGEST_S = 120.0  # rows wait no longer for others


def form(args: argparse.Namespace, name: str) -> str:
    """Tell whether the lines of a file are "csv" or "ndjson"."""
    given: str | None = args.format
    return given or ("ndjson" if Path(name).suffix.lower() in NDJSON else "csv")


def names(path: str, *, labels: bool) -> dict[str, str]:
    """What a file's name says of its rows: their recording where no column does and, if it is to
    be so, their label: walk-3.csv is recording walk-3, and a walk.
    """
    stem = Path(path).stem.encode(errors="replace").decode()  # a name may be any bytes
    label = _NUMBER.sub("", stem)
    if not any(map(str.isalpha, label)):  # a date, or a number
        label = stem
    return {"named": stem} | ({"label": label} if labels else {})


@contextmanager
def opened(name: str, size: int | None = None) -> Iterator["Source"]:
    """Open a file, or standard input ("-"). size: what is behind so many bytes is not read

    Raises Missing, BadInput.
    """
    if name == "-":
        if sys.stdin is None:
            raise BadInput("standard input is closed: name a file, or pipe rows into it")
        yield Source(sys.stdin.fileno(), "standard input")
        return
    with given.opened(Path(name)) as file:
        yield Source(file.fileno(), name, size)


class Pace:
    """Tells when rows have waited long enough for others. Pure: times are given, in seconds.

    A commit writes some pages however few rows it has, and a card wears by them: rows that flow on
    wait for each other, and are stored soon when the flow stops.
    """

    def __init__(self) -> None:
        self._first = self._last = 0.0

    def store(self, now: float) -> None:
        """A piece goes; what it left waits anew."""
        self._first = now

    def come(self, now: float, *, first: bool) -> None:
        """More has come. first: nothing waited"""
        self._first = now if first else self._first
        self._last = now

    @property
    def due(self) -> float:
        """When what waits is to be stored."""
        return min(self._last + QUIET_S, self._first + LONGEST_S)


class Waiting:
    """Lines that wait to be stored with others, and when they came."""

    def __init__(self) -> None:
        self.head: list[str] = []  # up to the first line that is not empty: a header
        self.came = (0.0, 0.0)  # first and last line of the last piece: monotonic time
        self._lines: deque[str] = deque()
        self._characters = 0
        self._times: deque[tuple[int, float]] = deque()  # so many of the lines, and when
        self._pace = Pace()

    def __bool__(self) -> bool:
        return bool(self._lines)

    def take(self, lines: list[str]) -> None:
        """Something has come; lines: that are complete."""
        now = time.monotonic()
        self._pace.come(now, first=not self._lines)
        self._lines.extend(lines)
        if lines:
            self._times.append((len(lines), now))
        self._characters += sum(map(len, lines))

    @property
    def are_due(self) -> bool:
        """Whether a piece can grow no more, or has waited long enough."""
        return bool(self._lines) and (self._is_full or time.monotonic() >= self._pace.due)

    @property
    def left_s(self) -> float | None:
        """How long it may wait still; None: nothing waits."""
        return max(0.0, self._pace.due - time.monotonic()) if self._lines else None

    def piece(self) -> list[str]:
        """Take out what one request can carry."""
        piece: list[str] = []
        size = 0
        while self._lines and len(piece) < ROWS and size < CHARACTERS:
            piece.append(self._lines.popleft())
            size += len(piece[-1])
            if not self.head or not self.head[-1].strip():
                self.head.append(piece[-1])
        self._characters -= size
        self.came = self._take_times(len(piece))
        return piece

    def stored(self) -> None:
        """The last piece is; what it left waits anew."""
        self._pace.store(time.monotonic())

    @property
    def _is_full(self) -> bool:
        return len(self._lines) >= ROWS or self._characters >= CHARACTERS

    def _take_times(self, lines: int) -> tuple[float, float]:
        """Tell when the first and the last of so many lines came, which go."""
        first = last = self._times[0][1]
        while lines:
            count, last = self._times.popleft()
            if count > lines:
                self._times.appendleft((count - lines, last))
            lines -= min(count, lines)
        return first, last


class Input(Protocol):
    """What gives the lines that `ingest` brings. is_file: it can be read again, and ends; else it
    may be live.
    """

    @property
    def name(self) -> str: ...

    @property
    def is_file(self) -> bool: ...

    @property
    def is_empty(self) -> bool:
        """Whether nothing but space has come."""

    @property
    def came(self) -> tuple[float, float]:
        """When first and last line of the last piece of a live input came: monotonic time."""

    @property
    def breaks(self) -> int:
        """How often something was lost before the last piece: it does not follow on then."""

    def place(self, row: int) -> str:
        """Say where a line is. row: its number, the first is 1"""

    def pieces(self, interrupts: Interrupts) -> Iterator[list[str]]:
        """Read pieces that one request can carry, up to the end or until a signal has come.

        Raises BadInput.
        """

    def again(self, count: int) -> Iterator[list[str]]:
        """Give what who takes the rest must know of the first lines."""


class Source:
    """Text that is open: a file, or what may be live."""

    breaks = 0

    def __init__(self, handle: int, name: str, size: int | None = None) -> None:
        """size: bytes of it that are read, at most"""
        self._left = size
        self.name = name
        self.is_file = stat.S_ISREG(os.fstat(handle).st_mode)
        self.lines = Lines()
        self._handle = handle
        self._begin = os.lseek(handle, 0, os.SEEK_CUR) if self.is_file else 0
        self._waiting = Waiting()

    @property
    def is_empty(self) -> bool:
        return self.lines.empty

    @property
    def came(self) -> tuple[float, float]:
        return self._waiting.came

    def place(self, row: int) -> str:
        return f"row {row}"

    def all(self) -> Iterator[str]:
        """Read line after line, each as soon as it has come. Raises BadInput."""
        while data := self._read():
            yield from self.lines.feed(data)
        yield from self.lines.end()

    def pieces(self, interrupts: Interrupts) -> Iterator[list[str]]:
        """Read pieces that one request can carry, none of which waits long for its last row.

        They end with the input or when a signal has come; then a last row that is not complete is
        left out. Raises BadInput; what was read before an input broke is given first.
        """
        waiting, ended, failure = self._waiting, False, None
        while not ended:
            if waiting.are_due:
                yield waiting.piece()
                waiting.stored()
                continue
            if not self._wait(interrupts, waiting.left_s):
                continue
            try:
                data = b"" if interrupts.came else self._read()
            except BadInput as error:
                data, failure = b"", error
            ended = not data
            rest = self.lines.end() if ended and not (interrupts.came or failure) else []
            waiting.take(self.lines.feed(data) + rest)
        while waiting:
            yield waiting.piece()
        if failure is not None:
            raise failure

    def again(self, count: int) -> Iterator[list[str]]:
        """Give what who takes the rest must know of the first lines: of a file, all of them."""
        if not self.is_file:
            yield self._waiting.head[:count]
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

    def _read(self) -> bytes:
        """Read what has come; nothing is the end. Raises BadInput: of a device that was pulled."""
        try:
            data = os.read(self._handle, BLOCK if self._left is None else min(BLOCK, self._left))
            if self._left is not None:
                self._left -= len(data)
            return data
        except OSError as error:
            raise BadInput(f"{self.name}: cannot be read on: {error.strerror}") from error

    def _wait(self, interrupts: Interrupts, seconds: float | None) -> bool:
        """Wait for bytes, the end or a signal; False: the time was over before."""
        poll = select.poll()  # unlike epoll it takes files
        poll.register(self._handle, select.POLLIN)
        poll.register(interrupts, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))
