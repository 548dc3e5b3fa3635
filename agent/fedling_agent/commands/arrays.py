"""Arrays of a file (NPZ, NPY) as an input of `ingest`: lines, as a table would have them."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from fedling_agent.commands.interrupts import Interrupts
from fedling_agent.commands.source import CHARACTERS, ROWS
from fedling_agent.data.arrays import Table, table
from fedling_agent.data.npz import ENDINGS, Arrays
from fedling_agent.data.streams import Given, Stream
from fedling_protocol.disk import given
from fedling_protocol.disk.errors import BadInput


def is_called_so(name: str) -> bool:
    """Whether a file's name says that it has arrays."""
    return Path(name).suffix.lower() in ENDINGS


@contextmanager
def opened(name: str, stream: Callable[[], Stream], of_all: Given) -> Iterator["ArraySource"]:
    """Open such a file, and read all of it: its end says what is in it.

    stream: asked for when the file is open; of_all: what no array says. Raises Missing, BadInput.
    """
    with given.opened(Path(name)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BadInput(f"{name}: arrays are read from a file, and this is none")
        yield ArraySource(table(Arrays(file.fileno(), name), name, stream(), of_all), name)


class ArraySource:
    """A file of arrays that is open."""

    is_file = True
    is_empty = False  # there is an array at least
    came = (0.0, 0.0)
    breaks = 0

    def __init__(self, table: Table, name: str) -> None:
        self.name = name
        self._table = table

    def place(self, row: int) -> str:
        """Say where a line is, in errors."""
        return self._table.place(row)

    def pieces(self, interrupts: Interrupts) -> Iterator[list[str]]:
        """Read pieces that one request can carry, up to the end or until a signal has come."""
        for piece in _pieces(self._table.lines()):
            if interrupts.came:
                return
            yield piece

    def again(self, count: int) -> Iterator[list[str]]:
        """Give the first lines again, to who takes the rest."""
        return _pieces(islice(self._table.lines(), count))


def _pieces(lines: Iterator[str]) -> Iterator[list[str]]:
    piece: list[str] = []
    size = 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if len(piece) == ROWS or size >= CHARACTERS:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
