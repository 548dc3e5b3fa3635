"""A device's CSV file, read by the agent's own parser: what it keeps and what it refuses."""

import csv
import io
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path

from fedling_agent.data.fields import Wrong
from fedling_agent.data.holes import Holes
from fedling_agent.data.lines import Lines as LineCutter
from fedling_agent.data.separated import splitter_of
from fedling_agent.data.streams import Parser, Row, RowError, Stream
from fedling_protocol.classes import dataclass
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
    lines = whole(path)
    rows = [(n, text.removeprefix("\ufeff")) for n, text in _numbered(lines) if text.strip()]
    found: dict[str, Lines] = {}
    row, header = rows[0] if rows else (1, "")
    try:
        splitter = splitter_of(header, (DEVICE,), row)
        names = [name.strip() for name in splitter.split(header, row)]
        if DEVICE not in names:
            raise SettingsError(f"{path}: a folder, or a file with a column {DEVICE}, is allowed")
        column = names.index(DEVICE)
        for row, text in rows[1:]:
            fields = splitter.split(text, row)
            name = fields[column].strip() if column < len(fields) else ""
            if not name:
                raise Wrong(f"{DEVICE} is missing")
            own = found.setdefault(
                name, Lines(path, [_without(names, column, splitter.separator)], [1])
            )
            own.text.append(_without(fields, column, splitter.separator))
            own.numbers.append(row)
    except Wrong as wrong:
        raise SettingsError(f"{path}: row {row}: {wrong}") from wrong
    return found


def _numbered(lines: Lines) -> Iterator[tuple[int, str]]:
    return zip(lines.numbers, lines.text, strict=True)


def _without(fields: list[str], column: int, separator: str) -> str:
    kept = io.StringIO()
    writer = csv.writer(kept, delimiter=separator, lineterminator="")
    writer.writerow(fields[:column] + fields[column + 1 :])
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
