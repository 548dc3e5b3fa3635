"""Streams of samples: their definition, and rows of text turned into int16 counts."""

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from enum import StrEnum
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from fedling_agent.data import fields as read
from fedling_agent.data.fields import Wrong, shown
from fedling_agent.data.lines import MAX_ROW
from fedling_agent.data.separated import Splitter, all_parts, later_header, splitter_of
from fedling_protocol import settings
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.settings import setting
from fedling_protocol.wire import limits
from fedling_protocol.wire.names import is_name

MAX_NAME = 64  # bytes of a recording's id
MAX_COLUMN = 128  # characters
MAX_IGNORED = 1024  # columns
WORDS = ("recording", "label", "time")  # what a row says beside its channels
FORMS = ("csv", "ndjson")
SIGNS = {",": "a comma", ".": "a point"}


def _stream_name(value: str) -> str | None:
    return None if is_name(value) else "a name, [a-z0-9][a-z0-9-]{0,31}"


def _channel_name(value: str) -> str | None:
    wrong = value in WORDS or not value.isprintable() or value.strip() != value or "," in value
    return f"a name without commas, not one of {', '.join(WORDS)}" if wrong else None


def _column(value: str) -> str | None:
    wrong = not value.isprintable() or value.strip() != value
    return "a column's name, without space around it" if wrong else None


def _resolution(value: float) -> str | None:
    return None if 1e-12 <= value <= 1e12 else "1e-12 to 1e12"


@dataclass(frozen=True, slots=True)
class Channel:
    """One column of a stream."""

    name: str = setting(
        help="the channel's name",
        low=1,
        high=MAX_NAME,
        check=_channel_name,
    )
    unit: str = setting(help="the unit of the channel's values, as m/s2", high=MAX_NAME)
    resolution: float = setting(
        help="what one count of the channel is worth, in its unit", check=_resolution
    )
    column: str = setting(
        "",
        help="the column, or the key of NDJSON, that holds the channel; empty: called as it is",
        high=MAX_COLUMN,
        check=_column,
    )


@dataclass(frozen=True, slots=True)
class Stream:
    """What a sensor delivers, sample by sample. Values are kept as int16 counts."""

    name: str = setting(help="the stream's name, by which tasks ask for it", check=_stream_name)
    channel: tuple[Channel, ...] = setting(
        help="the stream's channels, in the order that the model sees",
        low=1,
        high=limits.MAX_CHANNELS,
    )
    recording_column: str = setting(
        "recording", help="the column of a row's recording", low=1, high=MAX_COLUMN, check=_column
    )
    label_column: str = setting(
        "label", help="the column of a row's label", low=1, high=MAX_COLUMN, check=_column
    )
    time_column: str = setting(
        "time", help="the column of a row's time", low=1, high=MAX_COLUMN, check=_column
    )
    ignore: tuple[str, ...] = setting(
        (),
        help='columns that are left out; "" for those without a name',
        high=MAX_IGNORED,
        check=_column,
    )

    def __post_init__(self) -> None:
        names = [channel.name for channel in self.channel]
        if len(set(names)) != len(names):
            raise ValueError("two channels have the same name")
        for name in self.columns:
            if self.columns.count(name) > 1 or name in self.ignore:
                raise ValueError(f"column {name} is named twice")

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self.channel

    @property
    def columns(self) -> tuple[str, ...]:
        """What the columns are called: of recording, label, time, then of each channel."""
        words = (self.recording_column, self.label_column, self.time_column)
        return words + tuple(channel.column or channel.name for channel in self.channel)


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


@dataclass(frozen=True, slots=True)
class Given:
    """What holds for all rows of an input that has no such columns; empty: nothing is given."""

    recording: str = ""
    label: str = ""
    named: str = ""  # the recording of rows that name none, if no column would: a file's name


NOTHING_GIVEN = Given()

_Pick = Callable[[Sequence[str | None]], tuple[str | None, ...]]


class Parser:
    """Lines of "csv" (with a header) or "ndjson" (one object a line) to rows, piece by piece."""

    def __init__(
        self, stream: Stream, form: str, given: Given = NOTHING_GIVEN, *, bare: bool = False
    ) -> None:
        """Begin an input. bare: rows need no recording. Raises BadInput."""
        if form not in FORMS:
            raise BadInput(f"format {form}: allowed: {', '.join(FORMS)}")
        self._reader = _Reader(stream, given, bare)
        self._stream = stream
        self._columns = stream.columns  # in the order in which fields come to the reader
        self._fields = self._csv if form == "csv" else self._json
        self._splitter: Splitter | None = None  # from the header on
        self._width = 0  # columns of the header
        self._pick: _Pick = tuple  # takes them out of a split line and a None
        self._blank: str | None = None  # characters of a line that says nothing; None: all space
        self._sign = ""  # of decimals, as the first number that has one writes it
        self._form = form
        self.row = 0  # lines that were read

    def feed(self, lines: Iterable[str]) -> Iterator[Row | RowError]:
        """What these lines say; a bad row is told and skipped. A bad header raises BadInput."""
        lines = iter(lines)
        for line in lines:
            self.row += 1
            text = line.removeprefix("\ufeff") if self.row == 1 else line
            if not text.strip(self._blank):
                continue
            fields: Sequence[object] | None = None
            try:
                fields = self._fields(_checked(text))
                if fields is not None:
                    yield self._reader.row(self.row, fields)
            except BadInput as bad:
                raise BadInput(self._later_header(lines) or str(bad)) from bad
            except Wrong as wrong:
                if self._form == "csv" and not self._width:
                    raise BadInput(self._later_header(lines) or f"header: {wrong}") from wrong
                yield RowError(self.row, str(wrong), self._reader.recording_of(fields))

    def _csv(self, line: str) -> Sequence[object] | None:
        line = line.rstrip("\r\n")
        if self._splitter is None:
            self._begin(line)
            return None
        fields: list[str | None] = [*self._splitter.split(line, self.row)]
        if len(fields) != self._width:
            raise Wrong(f"{len(fields)} columns, the header has {self._width}")
        fields.append(None)
        picked = self._pick(fields)
        return picked if self._splitter.separator == "," else self._with_points(picked)

    def _with_points(self, picked: tuple[str | None, ...]) -> list[str | None]:
        """Write numbers with a decimal point. One sign an input: the other may be of thousands."""
        for name, field in zip(self._columns[3:], picked[3:], strict=True):
            sign = next((sign for sign in ",." if field and sign in field), "")
            self._sign = self._sign or sign
            if sign and sign != self._sign:
                signs = " and ".join(SIGNS[one] for one in (self._sign, sign))
                raise Wrong(f"{name} = {shown(field)}: {signs} in one input: nobody knows which"
                            " of them is of thousands")  # fmt: skip
        return [*picked[:2], *[field and read.point(field) for field in picked[2:]]]

    def _begin(self, header: str) -> None:
        splitter = splitter_of(header, self._columns, self.row)
        names = [name.strip() for name in splitter.split(header, self.row)]
        if names[0].lower().startswith("sep="):
            raise BadInput(f"header: {shown(header)} is for a spreadsheet: remove that line")
        if all(isinstance(read.number(name), Decimal) for name in names):
            raise BadInput("header: there is none: the first line must name the columns")
        self._check_header(names)
        places = {name: at for at, name in enumerate(names)}
        self._pick = itemgetter(*[places.get(name, len(names)) for name in self._columns])
        self._splitter, self._width = splitter, len(names)
        self._blank = " \r\n" if splitter.separator == "\t" else None

    def _later_header(self, rest: Iterator[str]) -> str:
        """Say where a line is that has the columns of all channels; empty: there is none."""
        channels = {*self._columns[3:]}
        return later_header(
            rest, self.row + 1, lambda _, line: any(channels <= {*p} for p in all_parts(line))
        )

    def _check_header(self, names: list[str]) -> None:
        """Raise BadInput if what is needed is missing, or nobody knows what a column is for."""
        columns, ignored = self._columns, self._stream.ignore
        problems = self._reader.missing(names)
        extra = [name for name in names if name not in columns and name not in ignored]
        problems += [
            f"unknown column {shown(name)}" if name else f"column {at} has no name"
            for at, name in enumerate(names, 1)
            if name in extra
        ]
        problems += [f"column {name} comes twice" for name in columns if names.count(name) > 1]
        if problems:
            way = f"; to leave out what is unknown: {_ignoring(extra)}" if extra else ""
            allowed = f"allowed: {', '.join(columns)}{way}"
            raise BadInput(f"header: {'; '.join(problems)}; {allowed}")

    def _json(self, line: str) -> Sequence[object]:
        try:
            # numbers as written: a float would round a second time
            fields: object = json.loads(
                line,
                parse_float=read.number,
                parse_int=read.number,
                parse_constant=Decimal,
                object_pairs_hook=_object,
            )
        except (ValueError, RecursionError) as error:
            raise Wrong(f"not JSON: {error}{_array(line)}") from error
        if not isinstance(fields, dict):
            raise Wrong(f"not a JSON object{_array(line)}")
        for name in fields:
            if name not in self._columns and name not in self._stream.ignore:
                raise Wrong(f"unknown key {shown(name)}; to leave it out: {_ignoring([name])}")
        return [fields.get(name) for name in self._columns]


class Window(NamedTuple):
    """Samples that a prediction is about."""

    counts: "array[int]"
    labelled: bool  # whether any row has a label
    label: str | None  # of all rows, if they have one and are of one recording


def read_window(
    stream: Stream, lines: Sequence[str], form: str, window: int, before: int | None = None
) -> Window:
    """Exactly one window of samples (they need no recording) for predict; BadInput if not.

    before: lines of the input before the window's rows, by default its header alone
    """
    counts, rows, parser = array("h"), list[Row](), Parser(stream, form, bare=True)
    header = 1 if form == "csv" else 0
    list(parser.feed(lines[:header]))
    parser.row = header if before is None else before
    for row in parser.feed(lines[header:]):
        if isinstance(row, RowError):
            raise BadInput(f"row {row.row}: {row.reason}")
        rows.append(row)
        if len(rows) > window:
            break
        counts.extend(row.counts)
    if len(rows) != window:
        got = "more" if len(rows) > window else len(rows)
        raise BadInput(f"a window has {window} samples; got {got}")
    same = len({(row.recording, row.label) for row in rows}) == 1
    labelled = any(row.label is not None for row in rows)
    return Window(counts, labelled, rows[0].label if same else None)


class _Reader:
    """Fields to a Row: recording, label, time, then the channels."""

    def __init__(self, stream: Stream, given: Given, bare: bool) -> None:
        self._bare = bare
        self._columns = stream.columns
        self._names = stream.columns[:3]
        resolutions = [channel.resolution for channel in stream.channels]
        self._channels = list(zip(stream.columns[3:], resolutions, strict=True))
        try:
            self._recording = read.text("--recording", given.recording, MAX_NAME)
            self._label = read.text("--label", given.label, limits.MAX_LABEL_BYTES)
        except Wrong as wrong:
            raise BadInput(str(wrong)) from wrong
        self._named: str | None = None
        with suppress(Wrong):  # a file may be called as no recording may be
            self._named = read.text("recording", given.named, MAX_NAME)

    def missing(self, names: Sequence[str]) -> list[str]:
        """Say what of a header is missing, and what is there although it was given."""
        recording, label, _ = self._names
        problems = []
        if recording in names:
            self._named = None  # a row that names none is wrong
        elif not (self._bare or self._recording or self._named):
            problems.append(f"column {recording} is missing: add it, or --recording NAME")
        problems += [f"column {x} is missing" for x in self._columns[3:] if x not in names]
        if self._recording and recording in names:
            problems.append(f"--recording is given, and there is a column {recording}")
        if self._label and label in names:
            problems.append(f"--label is given, and there is a column {label}")
        return problems

    def row(self, number: int, fields: Sequence[object]) -> Row:
        label = self._own_or("label", fields[1], self._label, limits.MAX_LABEL_BYTES)
        recording = self._own_or("recording", fields[0], self._recording, MAX_NAME) or self._named
        if recording is None and not self._bare:
            raise Wrong("recording is missing")
        pairs = zip(self._channels, fields[3:], strict=True)
        counts = tuple([read.count(name, value, size) for (name, size), value in pairs])
        time_us = read.time_us(self._names[2], fields[2])
        return Row(number, recording or "", label, time_us, counts)

    def _own_or(self, word: str, field: object, given: str | None, longest: int) -> str | None:
        own = read.text(word, field, longest)
        if own is not None and given is not None:
            raise Wrong(f"{word} = {shown(own)}, and --{word} is given")
        return own or given

    def recording_of(self, fields: Sequence[object] | None) -> str | None:
        """Tell the recording of a row that is wrong elsewhere; None: it may be of any."""
        if fields is None:
            return self._recording
        try:
            own = read.text("recording", fields[0], MAX_NAME)
            return own or self._recording or self._named
        except Wrong:
            return self._recording


def _ignoring(names: Sequence[str]) -> str:
    words = ", ".join(map(settings.quoted, dict.fromkeys(names)))
    return f"ignore = [{words}] in the stream's file"


def _array(line: str) -> str:
    """Say what to do with a list of objects, or one that is written over several lines."""
    if line.strip() != "{" and not line.lstrip().startswith("["):
        return ""
    return "; one object a line is read: jq -c '.[]' FILE writes those of an array so"


def _checked(line: str) -> str:
    if len(line) > MAX_ROW:
        raise Wrong(f"longer than {MAX_ROW} bytes")
    if "\ufffd" in line:
        raise Wrong("not UTF-8 text")
    return line


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Wrong(f"key {shown(twice)} comes twice")
    return fields
