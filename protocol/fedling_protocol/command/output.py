"""Prints for people (in colour on a terminal only) and for programs (JSON)."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence

ROWS = 50  # of a list, for a person who has not said how many
BOLD, RED, GREEN, YELLOW, DIM = "1", "31", "32", "33", "2"


def paint(text: str, colour: str) -> str:
    """Colour a text if standard output is a terminal; https://no-color.org."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{colour}m{text}\033[0m"


def print_json(value: object) -> None:
    """Print one value, indented for a person on a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    print(json.dumps(value, indent=indent, ensure_ascii=False, default=str))


def print_answer(words: str, facts: Mapping[str, object], *, as_json: bool) -> None:
    """Print what a command did: a sentence, or its facts as JSON."""
    if as_json:
        print_json(dict(facts))
    else:
        print(words)


def clear() -> None:
    """Begin the screen anew if standard output is a terminal, else a paragraph."""
    print("\033[H\033[J" if sys.stdout.isatty() else "", end="" if sys.stdout.isatty() else "\n")


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and what they are, aligned."""
    width = max((len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        print(f"{paint(name.ljust(width), BOLD)}  {text}")


def print_rows(rows: Sequence[Mapping[str, object]], *, empty: str, as_json: bool = False) -> None:
    """Print rows with the same keys, or their JSON. empty: what a person is told of none."""
    if as_json:
        print_json(list(rows))
        return
    if not rows:
        print(empty)
        return
    columns = [_column(name, [row[name] for row in rows]) for name in rows[0]]
    for number, cells in enumerate(zip(*columns, strict=True)):
        line = "  ".join(cells).rstrip()
        print(paint(line, BOLD) if number == 0 else line)


def most(args: argparse.Namespace) -> int | None:
    """How many rows of a list are wanted at most (parser.add_limit); None: all."""
    limit: int | None = args.limit
    return limit if limit or args.json else ROWS


def print_more(args: argparse.Namespace, shown: str, *, more: bool) -> None:
    """Tell a person that there are more rows than were listed, and how to see them.

    shown: which were listed, as "the newest"
    """
    if more and not args.json:
        print(f"{shown} {most(args)}; --limit N lists more")


def size(count: int) -> str:
    """Write bytes as people say them."""
    if count < 10_000:
        return f"{count} B"
    if count < 10_000_000:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1e6:.1f} MB"


def share(part: int, whole: int) -> str:
    """Write a part of a whole, which is not 0, in percent; all and nothing are only just these."""
    percent = round(100 * part / whole)
    return f"{min(99, max(1, percent)) if 0 < part < whole else percent} %"


def _column(name: str, values: Sequence[object]) -> list[str]:
    """Make a column's head and cells, all of one width; numbers end at the right."""
    number = all(type(value) in (int, float, type(None)) for value in values)
    cells = [name, *map(_plain, values)]
    width = max(map(len, cells))
    return [cell.rjust(width) if number else cell.ljust(width) for cell in cells]


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
