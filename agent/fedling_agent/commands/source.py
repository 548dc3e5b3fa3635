"""The lines that a command reads: a file or standard input, as CSV or NDJSON."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fedling_agent.data.streams import bounded_lines

NDJSON = (".ndjson", ".jsonl")


@contextmanager
def lines(args: argparse.Namespace) -> Iterator[Iterator[str]]:
    """Read the lines one after another, as they come. Raises OSError."""
    with _open(args.file) as file:
        yield bounded_lines(file)


def form(args: argparse.Namespace) -> str:
    """Tell whether the lines are "csv" or "ndjson"."""
    given: str | None = args.format
    return given or ("ndjson" if Path(args.file).suffix in NDJSON else "csv")


@contextmanager
def _open(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    with Path(name).open("rb") as file:
        yield file
