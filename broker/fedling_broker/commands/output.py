"""Prints for people (tables) and for programs (JSON)."""

import json
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

NO_LIMIT = 10_000  # columns of a table that goes into a file or a pipe


def print_rows(rows: Sequence[Mapping[str, object]], *, as_json: bool, empty: str) -> None:
    """A list of rows with the same keys. empty: what to say to a person when there is none."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int) else "left")
    for row in rows:
        table.add_row(*(_plain(value) for value in row.values()))
    width = None if sys.stdout.isatty() else NO_LIMIT
    Console(width=width, highlight=False).print(table)


def print_json(value: object) -> None:
    """One value, indented for a person on a terminal."""
    print(json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False))


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
