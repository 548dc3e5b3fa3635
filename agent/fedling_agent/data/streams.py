"""Streams of samples: their definition, and rows of text turned into int16 counts."""

import csv
import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal, DecimalException
from enum import StrEnum
from math import floor
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from fedling_agent.data.lines import MAX_ROW
from fedling_protocol import settings
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.settings import setting
from fedling_protocol.wire import limits
from fedling_protocol.wire.labels import tidy
from fedling_protocol.wire.names import is_name

MAX_NAME = 64  # bytes of a recording's id
SHOWN = 32  # characters of a wrong value
COUNT_MIN, COUNT_MAX = -32768, 32767
WORDS = ("recording", "label", "time")  # columns that are no channel
FORMS = ("csv", "ndjson")
LATEST_S = 2**33  # the year 2242
QUOTED_LINES = 8  # that a quote which nobody closes takes along, at most

# More digits than any sensor writes; results beyond the exponents are errors, not infinities.
_CONTEXT = Context(prec=50, Emin=-999, Emax=999)
_HALF = Decimal("0.5")

_FIELD = r'(?: *"(?:[^"]|"")*"|[^",]*)'
_WHOLE = re.compile(rf"{_FIELD}(?:,{_FIELD})*").fullmatch
_OPENED = re.compile(
    rf'(?:{_FIELD},)* *"(?:[^"]|"")*'
).fullmatch  # a quote that the line leaves open
_CLOSING = re.compile(r'(?:[^"]|"")*"(?!")').match  # of a quote that an earlier line opened

_PLAIN = re.compile(r"[-+]?[0-9]+\.?[0-9]*").fullmatch
_NEAR = 1e-6  # of a count


def _stream_name(value: str) -> str | None:
    return None if is_name(value) else "a name, [a-z0-9][a-z0-9-]{0,31}"


def _channel_name(value: str) -> str | None:
    wrong = value in WORDS or not value.isprintable() or value.strip() != value or "," in value
    return f"a name without commas, not one of {', '.join(WORDS)}" if wrong else None


def _resolution(value: float) -> str | None:
    return None if 1e-12 <= value <= 1e12 else "1e-12 to 1e12"


@dataclass(frozen=True, slots=True)
class Channel:
    """One column of a stream."""

    name: str = setting(
        help="the channel's name, which is its column in what is ingested",
        low=1,
        high=MAX_NAME,
        check=_channel_name,
    )
    unit: str = setting(help="the unit of the channel's values, as m/s2", high=MAX_NAME)
    resolution: float = setting(
        help="what one count of the channel is worth, in its unit", check=_resolution
    )


@dataclass(frozen=True, slots=True)
class Stream:
    """What a sensor delivers, sample by sample. Values are kept as int16 counts."""

    name: str = setting(help="the stream's name, by which tasks ask for it", check=_stream_name)
    channel: tuple[Channel, ...] = setting(
        help="the stream's columns, in the order that the model sees",
        low=1,
        high=limits.MAX_CHANNELS,
    )

    def __post_init__(self) -> None:
        names = [channel.name for channel in self.channel]
        if len(set(names)) != len(names):
            raise ValueError("two channels have the same name")

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self.channel


class HoleKind(StrEnum):
    """Why a sample does not follow on from the one before, as people and --json are told."""

    REFUSED = "refused rows"
    JUMP = "jumps in time"
    BACK = "steps back in time"
    REPEAT = "repeated times"
    SEAM = "seams"  # the recording was here before this input, or another one wrote to it


class Hole(NamedTuple):
    """A break before a sample."""

    kind: HoleKind
    words: str


class Row(NamedTuple):
    """One sample, as it will be stored."""

    row: int  # line of the input, the first is 1
    recording: str
    label: str | None
    time_us: int | None  # since 1970
    counts: tuple[int, ...]
    hole: Hole | None = None  # before it


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that is not kept."""

    row: int  # line of the input, the first is 1
    reason: str
    recording: str | None = None  # that the row would have been of, if it could be told


def load_stream(path: Path) -> Stream:
    """Read a stream's TOML file; raises SettingsError with file, key, value and what is allowed."""
    return settings.load(path, Stream)


_Pick = Callable[[Sequence[str | None]], tuple[str | None, ...]]


class Parser:
    """Lines of "csv" (with a header) or "ndjson" (one object a line) to rows, piece by piece."""

    def __init__(self, stream: Stream, form: str, *, bare: bool = False) -> None:
        """Begin an input. bare: rows need no recording."""
        if form not in FORMS:
            raise BadInput(f"format {form}: allowed: {', '.join(FORMS)}")
        self._reader = _Reader(stream, bare)
        self._names = tuple(channel.name for channel in stream.channels)
        self._fields = self._csv if form == "csv" else self._json
        self._order = WORDS + self._names  # in which fields come to the reader
        self._header: tuple[str, ...] = ()
        self._pick: _Pick = tuple  # takes them out of a split line and a None
        self._quote = 0  # the row that opened a quote and did not close it; 0: none
        self._form = form
        self.row = 0  # lines that were read

    def feed(self, lines: Iterable[str]) -> Iterator[Row | RowError]:
        """What these lines say; a bad row is told and skipped. A bad header raises BadInput."""
        for line in lines:
            self.row += 1
            text = line.removeprefix("\ufeff") if self.row == 1 else line
            if not text.strip():
                continue
            fields: Sequence[object] | None = None
            try:
                fields = self._fields(_checked(text))
                if fields is not None:
                    yield self._reader.row(self.row, fields)
            except _Wrong as wrong:
                if self._form == "csv" and not self._header:
                    raise BadInput(f"header: {wrong}") from wrong
                yield RowError(self.row, str(wrong), self._reader.recording_of(fields))

    def _csv(self, line: str) -> Sequence[object] | None:
        fields: list[str | None] = [*self._split(line.rstrip("\r\n"))]
        if not self._header:
            self._header = self._check_header([str(field).strip() for field in fields])
            places = {name: at for at, name in enumerate(self._header)}
            self._pick = itemgetter(*[places.get(name, len(places)) for name in self._order])
            return None
        if len(fields) != len(self._header):
            raise _Wrong(f"{len(fields)} columns, the header has {len(self._header)}")
        fields.append(None)
        return self._pick(fields)

    def _split(self, line: str) -> list[str]:
        """Split a line of CSV. A row is one line: of a field with line breaks all lines are
        refused, and none of them is taken for a row of its own."""
        if self._quote:
            opened = self._quote
            if _CLOSING(line) or self.row - opened >= QUOTED_LINES:
                self._quote = 0
            raise _Wrong(f"inside quotes that row {opened} opened")
        if '"' not in line:
            return line.split(",")
        if _WHOLE(line):
            return next(csv.reader([line], strict=True, skipinitialspace=True))
        if _OPENED(line):
            self._quote = self.row
            raise _Wrong("not CSV: a quote is not closed; a row is one line")
        raise _Wrong("not CSV: a quote stands inside a field")

    def _check_header(self, names: list[str]) -> tuple[str, ...]:
        known = (*WORDS, *self._names)
        needed = self._names if self._reader.bare else ("recording", *self._names)
        problems = [f"column {name} is missing" for name in needed if name not in names]
        problems += [
            f"unknown column {_shown(name)}" if name else f"column {at} has no name"
            for at, name in enumerate(names, 1)
            if name not in known
        ]
        problems += [f"column {name} comes twice" for name in known if names.count(name) > 1]
        if problems:
            raise BadInput(f"header: {'; '.join(problems)}; allowed: {', '.join(known)}")
        return tuple(names)

    def _json(self, line: str) -> Sequence[object]:
        try:
            # numbers as written: a float would round a second time
            fields: object = json.loads(
                line,
                parse_float=_number,
                parse_int=_number,
                parse_constant=Decimal,
                object_pairs_hook=_object,
            )
        except (ValueError, RecursionError) as error:
            raise _Wrong(f"not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise _Wrong("not a JSON object")
        for name in fields:
            if name not in WORDS and name not in self._names:
                raise _Wrong(f"unknown key {_shown(name)}")
        return [fields.get(name) for name in self._order]


def counts_of_window(
    stream: Stream, lines: Sequence[str], form: str, window: int, before: int | None = None
) -> "array[int]":
    """Exactly one window of samples (they need no recording) for predict; BadInput if not.

    before: lines of the input before the window's rows, by default its header alone
    """
    counts, rows, parser = array("h"), 0, Parser(stream, form, bare=True)
    header = 1 if form == "csv" else 0
    list(parser.feed(lines[:header]))
    parser.row = header if before is None else before
    for row in parser.feed(lines[header:]):
        if isinstance(row, RowError):
            raise BadInput(f"row {row.row}: {row.reason}")
        rows += 1
        if rows > window:
            break
        counts.extend(row.counts)
    if rows != window:
        raise BadInput(f"a window has {window} samples; got {'more' if rows > window else rows}")
    return counts


class _Wrong(Exception):
    """The reason why a row is not kept."""


class _Reader:
    """Fields to a Row: recording, label, time, then the channels."""

    def __init__(self, stream: Stream, bare: bool) -> None:
        self.bare = bare
        self._channels = [(c.name, c.resolution) for c in stream.channels]

    def row(self, number: int, fields: Sequence[object]) -> Row:
        label = _text("label", fields[1], limits.MAX_LABEL_BYTES)
        recording = _text("recording", fields[0], MAX_NAME)
        if recording is None and not self.bare:
            raise _Wrong("recording is missing")
        pairs = zip(self._channels, fields[3:], strict=True)
        counts = tuple([_count(name, value, size) for (name, size), value in pairs])
        return Row(number, recording or "", label, _time_us(fields[2]), counts)

    def recording_of(self, fields: Sequence[object] | None) -> str | None:
        """Tell the recording of a row that is wrong elsewhere."""
        try:
            return None if fields is None else _text("recording", fields[0], MAX_NAME)
        except _Wrong:
            return None


def _checked(line: str) -> str:
    if len(line) > MAX_ROW:
        raise _Wrong(f"longer than {MAX_ROW} bytes")
    if "\ufffd" in line:
        raise _Wrong("not UTF-8 text")
    return line


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Wrong(f"key {_shown(twice)} comes twice")
    return fields


def _text(name: str, value: object, longest: int) -> str | None:
    """Read a field as text; None if it is absent or empty."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise _Wrong(f"{name} = {_shown(value)} is not a text")
    text = tidy(value)
    if len(text.encode(errors="surrogatepass")) > longest or not text.isprintable():
        raise _Wrong(f"{name} = {_shown(text)}: allowed: {longest} bytes of printable text")
    return text or None


def _number(text: str) -> Decimal | str:
    """Read a field as a number; a text that is none stays one, for the error."""
    try:
        return _CONTEXT.create_decimal(text)
    except DecimalException:
        return text


def _decimal(name: str, value: object) -> Decimal:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise _Wrong(f"{name} is missing")
    number = _number(value.strip()) if isinstance(value, str) and "_" not in value else value
    if not isinstance(number, Decimal) or not number.is_finite():
        raise _Wrong(f"{name} = {_shown(value)} is not a number")
    return number


def _count(name: str, value: object, resolution: float) -> int:
    """Exact, as decimals are. Most values are plain, and so far from the next count that a float
    cannot be wrong: it errs by less than 2^-36 of a count."""
    if type(value) is str and _PLAIN(value := value.strip()):
        scaled = float(value) / resolution + 0.5
        if COUNT_MIN < scaled < COUNT_MAX:
            count = floor(scaled)
            if _NEAR < scaled - count < 1 - _NEAR:
                return count
    return _exact_count(name, value, Decimal(repr(resolution)))


def _exact_count(name: str, value: object, resolution: Decimal) -> int:
    number = _decimal(name, value)
    try:
        scaled = _CONTEXT.add(_CONTEXT.divide(number, resolution), _HALF)
    except DecimalException:
        scaled = Decimal(COUNT_MAX + 1)
    if not COUNT_MIN <= scaled < COUNT_MAX + 1:
        low, high = COUNT_MIN * resolution, COUNT_MAX * resolution
        raise _Wrong(f"{name} = {_shown(value)} is out of range ({low:f} to {high:f})")
    return int(scaled.to_integral_value(ROUND_FLOOR))


def _time_us(value: object) -> int | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    seconds = _decimal("time", value)
    if not 0 <= seconds < LATEST_S:
        raise _Wrong(f"time = {_shown(value)}: allowed: seconds since 1970")
    return int(seconds * 1_000_000)


def _shown(value: object) -> str:
    text = str(value) if isinstance(value, str | Decimal) else json.dumps(value, default=str)
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
