"""Lines of separated values: which character parts them, and what quotes do."""

import csv
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice

from fedling_agent.data.fields import Wrong

SEPARATORS = (",", ";", "\t")
MOST_BEFORE = 200  # lines before a header, that it is looked for behind
QUOTED_LINES = 8  # that a quote which nobody closes takes along, at most

_CLOSING = re.compile(r'(?:[^"]|"")*"(?!")').match  # of a quote that an earlier line opened


class Splitter:
    """Splits the lines of one input at the separator of its header."""

    def __init__(self, separator: str) -> None:
        """Split at one of SEPARATORS."""
        self.separator = separator
        field = rf'(?: *"(?:[^"]|"")*"|[^"{separator}]*)'
        self._whole = re.compile(rf"{field}(?:{separator}{field})*").fullmatch
        # a quote that the line leaves open
        self._opened = re.compile(rf'(?:{field}{separator})* *"(?:[^"]|"")*').fullmatch
        self._quote = 0  # the row that opened a quote and did not close it; 0: none

    def split(self, line: str, row: int) -> list[str]:
        """Split a line, whose end is cut off. Raises Wrong.

        A row is one line: of a field with line breaks all lines are refused, and none of them is
        taken for a row of its own.
        """
        if self._quote:
            opened = self._quote
            if _CLOSING(line) or row - opened >= QUOTED_LINES:
                self._quote = 0
            raise Wrong(f"inside quotes that row {opened} opened")
        if '"' not in line:
            return line.split(self.separator)
        if self._whole(line):
            return next(
                csv.reader([line], strict=True, skipinitialspace=True, delimiter=self.separator)
            )
        if self._opened(line):
            self._quote = row
            raise Wrong("not CSV: a quote is not closed; a row is one line")
        raise Wrong("not CSV: a quote stands inside a field")


def written(word: str) -> str:
    """Write a word as a field of a line that commas part."""
    if any(sign in word for sign in ',"\r\n') or word != word.strip():
        return '"' + word.replace('"', '""') + '"'
    return word


def all_parts(line: str) -> Iterator[list[str]]:
    """Split a line that stands alone, at each of SEPARATORS that it can be split at."""
    for splitter in map(Splitter, SEPARATORS):
        try:
            yield [part.strip() for part in splitter.split(line.rstrip("\r\n"), 1)]
        except Wrong:
            continue


def later_header(lines: Iterable[str], first: int, is_one: Callable[[int, str], bool]) -> str:
    """Say where the header is, if other lines stand before it; empty: it is not there.

    first: row of the first of these lines. is_one: of a row and its line.
    """
    for row, line in enumerate(islice(lines, MOST_BEFORE), first):
        if is_one(row, line):
            return (
                f"header: row {row} looks like it: remove the lines before it (tail -n +{row} FILE)"
            )
    return ""


def splitter_of(header: str, known: Collection[str], row: int) -> Splitter:
    """Find what parts a header: what gives the most names that are known. Raises Wrong.

    Of separators that give equally many the one with more parts is taken, so that the error about
    a header of strange names is about names.
    """
    found: list[tuple[int, int, Splitter]] = []
    for splitter in map(Splitter, SEPARATORS):
        try:
            names = [name.strip() for name in splitter.split(header, row)]
        except Wrong:
            continue
        found.append((sum(name in known for name in names), len(names), splitter))
    if not found:
        Splitter(",").split(header, row)  # says what is wrong
    return max(found, key=lambda one: one[:2])[2]
