"""A device's CSV file, read by the agent's own parser: what it keeps and what it refuses."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedling_agent.data.streams import Parser, Row, RowError, Stream, bounded_lines
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples of one recording that follow one another in a file."""

    rows: list[Row] = field(default_factory=list)
    holes: list[int] = field(default_factory=list)  # rows[i] comes right after a refused one


@dataclass(frozen=True, slots=True)
class Sheet:
    """A whole file. A row's number, less one, is the place of its line."""

    path: Path
    lines: list[str]  # without their ends
    header: str
    pieces: list[Piece]
    refused: list[RowError]

    def between(self, first: Row, last: Row) -> list[str]:
        """The lines from one row to another, with blank and refused ones: as a device gets them."""
        return self.lines[first.row - 1 : last.row]


def read(path: Path, stream: Stream) -> Sheet:
    """Read a file. Raises SettingsError: the file, the row, the reason."""
    try:
        with path.open("rb") as file:
            lines = [line.rstrip("\r\n") for line in bounded_lines(file)]
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    found = list(_rows(path, lines, stream))
    refused = [row for row in found if isinstance(row, RowError)]
    if len(refused) == len(found):
        why = f"row {refused[0].row}: {refused[0].reason}" if refused else "holds no samples"
        raise SettingsError(f"{path}: {why}")
    header = next(line for line in lines if line.removeprefix("\ufeff").strip())
    return Sheet(path, lines, header, list(_pieces(found)), refused)


def _rows(path: Path, lines: list[str], stream: Stream) -> Iterator[Row | RowError]:
    first: RowError | None = None
    try:
        for row in Parser(stream, "csv").feed(lines):
            first = first or (row if isinstance(row, RowError) else None)
            yield row
    except BadInput as error:
        # What stands before a bad header explains it better: not UTF-8, not text at all.
        why = error if first is None else f"row {first.row}: {first.reason}"
        raise SettingsError(f"{path}: {why}") from error


def _pieces(found: list[Row | RowError]) -> Iterator[Piece]:
    piece, hole = Piece(), False
    for row in found:
        if isinstance(row, RowError):
            hole = True
            continue
        if piece.rows and piece.rows[-1].recording != row.recording:
            yield piece
            piece = Piece()
        if hole and piece.rows:
            piece.holes.append(len(piece.rows))
        piece.rows.append(row)
        hole = False
    yield piece
