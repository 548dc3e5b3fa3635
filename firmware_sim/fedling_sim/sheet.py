"""A device's CSV file, read by the agent's own parser: what it keeps and what it refuses."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fedling_agent.data.holes import Holes
from fedling_agent.data.lines import Lines as LineCutter
from fedling_agent.data.streams import Parser, Row, RowError, Stream
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.settings import SettingsError

DEVICE = "device"  # the column of a file with several devices


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples of one recording that follow one another in a file."""

    rows: list[Row] = field(default_factory=list)
    holes: list[int] = field(default_factory=list)  # rows[i] does not follow on from the one before


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one device in a file, the header first."""

    path: Path
    text: list[str]  # without their ends
    numbers: list[int]  # of these lines in the file; the first is 1


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a device's lines say. A row's number, less one, is the place of its line in `text`."""

    path: Path
    text: list[str]
    header: str
    pieces: list[Piece]
    refused: list[RowError]  # by their numbers in the file

    def between(self, first: Row, last: Row) -> list[str]:
        """The lines from one row to another, with blank and refused ones: as a device gets them."""
        return self.text[first.row - 1 : last.row]


def whole(path: Path) -> Lines:
    """All lines of a file. Raises SettingsError."""
    try:
        cutter = LineCutter()
        found = [*cutter.feed(path.read_bytes()), *cutter.end()]
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except BadInput as error:
        raise SettingsError(f"{path}: {error}") from error
    lines = [line.rstrip("\r\n") for line in found]
    return Lines(path, lines, list(range(1, len(lines) + 1)))


def by_device(path: Path) -> dict[str, Lines]:
    """The lines of a file with a column `device`, which is taken out. Raises SettingsError."""
    rows = _fields(whole(path))
    _, names = next(rows, (1, []))
    names = [name.strip() for name in names]
    if DEVICE not in names:
        raise SettingsError(f"{path}: a folder, or a file with a column {DEVICE}, is allowed")
    column = names.index(DEVICE)
    found: dict[str, Lines] = {}
    for number, fields in rows:
        name = fields[column].strip() if column < len(fields) else ""
        if not name:
            raise SettingsError(f"{path}: row {number}: {DEVICE} is missing")
        own = found.setdefault(name, Lines(path, [_without(names, column)], [1]))
        own.text.append(_without(fields, column))
        own.numbers.append(number)
    return found


def _fields(lines: Lines) -> Iterator[tuple[int, list[str]]]:
    """Go through the rows that are not blank. Raises SettingsError."""
    for number, line in zip(lines.numbers, lines.text, strict=True):
        try:
            fields = next(csv.reader([line.removeprefix("\ufeff")]), [])
        except csv.Error as error:
            raise SettingsError(f"{lines.path}: row {number}: not CSV: {error}") from error
        if any(fields):
            yield number, fields


def _without(fields: list[str], column: int) -> str:
    kept = io.StringIO()
    csv.writer(kept, lineterminator="").writerow(fields[:column] + fields[column + 1 :])
    return kept.getvalue()


def read(lines: Lines, stream: Stream) -> Sheet:
    """Read a device's lines. Raises SettingsError: the file, the row, the reason."""
    path = lines.path
    found = list(_rows(lines, stream))
    refused = [_in_file(row, lines) for row in found if isinstance(row, RowError)]
    if len(refused) == len(found):
        why = f"row {refused[0].row}: {refused[0].reason}" if refused else "holds no samples"
        raise SettingsError(f"{path}: {why}")
    header = next(line for line in lines.text if line.removeprefix("\ufeff").strip())
    return Sheet(path, lines.text, header, list(_pieces(found)), refused)


def _in_file(row: RowError, lines: Lines) -> RowError:
    return RowError(lines.numbers[row.row - 1], row.reason)


def _rows(lines: Lines, stream: Stream) -> Iterator[Row | RowError]:
    try:
        yield from Holes().mark(Parser(stream, "csv").feed(lines.text))
    except BadInput as error:
        raise SettingsError(f"{lines.path}: {error}") from error


def _pieces(found: list[Row | RowError]) -> Iterator[Piece]:
    piece = Piece()
    for row in found:
        if isinstance(row, RowError):
            continue
        if piece.rows and piece.rows[-1].recording != row.recording:
            yield piece
            piece = Piece()
        if row.hole is not None and piece.rows:
            piece.holes.append(len(piece.rows))
        piece.rows.append(row)
    yield piece
