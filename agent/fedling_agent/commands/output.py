"""Prints for people (in colour on a terminal only) and for programs (JSON)."""

import json
import os
import sys
from collections.abc import Sequence

BOLD, RED, GREEN, YELLOW, DIM = "1", "31", "32", "33", "2"


def paint(text: str, colour: str) -> str:
    """Plain unless standard output is a terminal; https://no-color.org."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{colour}m{text}\033[0m"


def print_json(value: object) -> None:
    """One value, indented for a person on a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    print(json.dumps(value, indent=indent, ensure_ascii=False, default=str))


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and what they are, aligned."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        print(f"{paint(name.ljust(width), BOLD)}  {text}")


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(paint(line.rstrip(), BOLD) if number == 0 else line.rstrip())


def size(count: int) -> str:
    """Bytes as people say them."""
    if count < 10_000:
        return f"{count} B"
    if count < 10_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1e6:.1f} MB"
