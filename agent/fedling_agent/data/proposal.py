"""A stream's file proposed from a table that another program wrote."""

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import chain, count, pairwise

from fedling_agent.data import fields
from fedling_agent.data.fields import Wrong
from fedling_agent.data.separated import SEPARATORS, Splitter, all_parts, later_header
from fedling_agent.data.streams import (
    MAX_COLUMN,
    MAX_IGNORED,
    MAX_NAME,
    WORDS,
    Channel,
    Stream,
)
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.settings import quoted
from fedling_protocol.wire import limits

MOST_ROWS = 20_000  # that are looked at
MOST_BEHIND = 200  # lines behind what may be a later header, that tell whether it is one
FINEST, COARSEST = 1e-12, 1e12  # resolutions
ROOM = 8  # a value so many times larger than any that was seen still fits: it was a quiet day
TIMES = ("time", "timestamp", "date", "datetime", "epoch", "seconds", "t")
RECORDINGS = ("recording", "recording_id", "session", "session_id", "trial")
CLOCKS = frozenset(TIMES) - {"t"}  # words of a name: "valve t" is a temperature
LABELS = ("label", "labels", "activity", "class", "gesture")

_UNIT = re.compile(r"\s*[(\[]([^()\[\]]*)[)\]]\s*$")  # "Acceleration x (m/s^2)"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a table says of its sensor, as far as it can be told."""

    stream: Stream
    rows: int  # that were looked at
    ranges: tuple[tuple[float, float], ...]  # of each channel's values
    gaps: tuple[int, ...]  # rows that have no number there, for each channel
    timed: bool  # there is a column of times
    lacks: tuple[str, ...]  # of "recording" and "label": there is no such column
    clocks: tuple[str, ...] = ()  # columns that are ignored since they tell the time once more

    def toml(self, file: str) -> str:
        """Write the stream's file."""
        stream = self.stream
        lines = [
            f"# Proposed from {self.rows} rows of {_printable(file)}. Look at the units, and leave "
            "out what nobody learns from.",
            f"name = {quoted(stream.name)}",
        ]
        for word, column in zip(WORDS, stream.columns, strict=False):
            if column != word:
                lines.append(f"{word}_column = {quoted(column)}")
        if self.clocks:
            lines.append(
                f"# Ignored, since the time alone makes them grow: {', '.join(self.clocks)}"
            )
        if stream.ignore:
            lines.append(f"ignore = [{', '.join(map(quoted, stream.ignore))}]")
        if not self.timed:
            lines.append("# No column has times that can be read: gaps between rows are not seen.")
        for channel, (low, high), gaps in zip(stream.channels, self.ranges, self.gaps, strict=True):
            reach = channel.resolution * fields.COUNT_MAX
            told = f"# {gaps} of {self.rows} rows have no number here: ingest refuses them"
            lines += [
                "",
                *([told] if gaps else []),
                "[[channel]]",
                f"name = {quoted(channel.name)}",
                f"unit = {quoted(channel.unit)}",
                f"resolution = {channel.resolution!r}  # {low:g} to {high:g} here; up to "
                f"{reach:g} fits",
            ]
            if channel.column:
                lines.append(f"column = {quoted(channel.column)}")
        return "\n".join(lines) + "\n"


def propose(lines: Sequence[str], name: str) -> Proposal:
    """Find times, recordings, labels and channels in a table. Raises BadInput.

    name: of the stream. What is neither of these is ignored.
    """
    try:
        return _propose(lines, name)
    except BadInput as bad:
        where = later_header(lines[1:], 2, lambda row, _: _is_header(lines[row - 1 :], name))
        raise BadInput(where or str(bad)) from bad


def _is_header(lines: Sequence[str], name: str) -> bool:
    """Whether these lines begin with names, none of them a number, and propose something."""
    names = lines[0]
    if not names.strip() or names.startswith("#") or any(map(_numbers, all_parts(names))):
        return False
    try:
        _propose(lines[:MOST_BEHIND], name)
    except BadInput:
        return False
    return True


def _propose(lines: Sequence[str], name: str) -> Proposal:
    names, columns = _columns(lines)
    left = {
        column: values
        for column, values in zip(names, columns, strict=True)
        if names.count(column) == 1 and column
    }
    recording = _take(left, RECORDINGS, lambda values: True)
    label = _take(left, LABELS, lambda values: True)
    time = _take(left, TIMES, _are_times) or _take_dates(left)
    clocks = _take_clocks(left) if time else ()
    found = (recording, label, time)
    taken = {*found} - {""}
    rows = len(columns[0])
    channels, ranges, gaps = list[Channel](), list[tuple[float, float]](), list[int]()
    for column, values in left.items():
        numbers = _numbers(values)
        channel = _channel(column, numbers, [channel.name for channel in channels])
        enough = len(numbers) * 2 >= rows
        if channel is not None and enough and len(channels) < limits.MAX_CHANNELS:
            channels.append(channel)
            ranges.append((min(numbers), max(numbers)))
            gaps.append(rows - len(numbers))
            taken.add(column)
    twice = next((column for column in names if column and names.count(column) > 1), "")
    if twice and not channels:
        raise BadInput(f"header: column {fields.shown(twice)} comes twice: rename one")
    if not channels:
        raise BadInput("in no column at least half of the rows that were looked at have a number")
    ignored = tuple(dict.fromkeys(column for column in names if column not in taken))
    if len(ignored) > MAX_IGNORED:
        raise BadInput(
            f"{len(ignored)} columns are of no use, at most {MAX_IGNORED} can be left out"
        )
    words = [column or _free(word, names) for word, column in zip(WORDS, found, strict=True)]
    stream = Stream(name, tuple(channels), words[0], words[1], words[2], ignored)
    lacks = [word for word, column in zip(WORDS, found[:2], strict=False) if not column]
    return Proposal(stream, rows, tuple(ranges), tuple(gaps), bool(time), tuple(lacks), clocks)


def _columns(lines: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Split a table: the names, and the values below each of them in rows that are whole.

    Of the separators that is taken which splits most rows as it splits the header.
    """
    table = [line.rstrip("\r\n") for line in lines if line.strip()]
    if not table:
        raise BadInput("there is no header")
    table[0] = table[0].removeprefix("\ufeff")
    tables = [_split(Splitter(separator), table) for separator in SEPARATORS]
    names, rows = max(tables, key=lambda one: (len(one[1]) * (len(one[0]) > 1), len(one[0])))
    if not names:
        raise BadInput("header: not CSV: a quote is not closed, or stands inside a field")
    for column in names:
        if len(column) > MAX_COLUMN or not column.isprintable():
            raise BadInput(f"header: column {fields.shown(column)}: rename it: allowed: "
                           f"{MAX_COLUMN} printable characters")  # fmt: skip
    if not rows:
        raise BadInput("there is no row below the header that has as many columns")
    return names, [[row[at].strip() for row in rows] for at in range(len(names))]


def _split(splitter: Splitter, table: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Split a header and the rows that have as many columns; nothing if the header is none."""
    try:
        names = [name.strip() for name in splitter.split(table[0], 1)]
    except Wrong:
        return [], []
    rows = []
    for number, line in enumerate(table[1:], 2):
        try:
            row = splitter.split(line, number)
        except Wrong:
            continue
        if len(row) == len(names):
            rows.append(row if splitter.separator == "," else list(map(fields.point, row)))
    return names, rows


def _take(
    left: dict[str, list[str]], known: Sequence[str], fits: Callable[[list[str]], bool]
) -> str:
    """Take a column out that is called so, if what is in it fits; empty: there is none."""
    for word in known:
        for column, values in left.items():
            if _bare(column) == word and fits(values):
                del left[column]
                return column
    return ""


def _mostly(fits: Callable[[str], bool], values: list[str]) -> bool:
    """Whether at least half of a column is so: sensors have bad moments."""
    return sum(map(fits, values)) * 2 >= len(values)


def _are_times(values: list[str]) -> bool:
    """Whether a column is of times, but for words; numbers that are none make it something else."""
    others = [value for value in values if not _is_time(value)]
    return len(others) * 2 <= len(values) and not _numbers(others)


def _is_time(value: str) -> bool:
    try:
        return fields.time_us("time", value) is not None
    except Wrong:
        return False


def _take_dates(left: dict[str, list[str]]) -> str:
    """Take out the column of dates, whatever it is called; of several the one that varies most."""
    dates = [column for column, values in left.items() if _mostly(fields.is_date, values)]
    if not dates:
        return ""
    found = max(dates, key=lambda column: len(set(left[column])))
    del left[found]
    return found


def _take_clocks(left: dict[str, list[str]]) -> tuple[str, ...]:
    """Take out what tells the time once more: nobody learns from seconds that have passed."""
    clocks = [column for column, values in left.items() if _is_clock(column, _numbers(values))]
    for column in clocks:
        del left[column]
    return tuple(clocks)


def _is_clock(column: str, numbers: list[float]) -> bool:
    """Whether a column has a word of time in its name, and grows from row to row."""
    words = re.split(r"[\W_]+", _bare(column))
    if len(words) < 2 or len(numbers) < 2 or CLOCKS.isdisjoint(words):
        return False
    return all(before < after for before, after in pairwise(numbers))


def _numbers(values: list[str]) -> list[float]:
    """Take what of a column is a number."""
    found = [fields.number(value) for value in values if "_" not in value]
    return [float(one) for one in found if isinstance(one, Decimal) and one.is_finite()]


def _channel(column: str, numbers: list[float], others: Sequence[str]) -> Channel | None:
    """Make a channel of a column of numbers; None: it is none."""
    if not numbers:
        return None
    most = max(map(abs, numbers))
    resolution = _resolution(most) if math.isfinite(most) else 0.0
    if not 0 < resolution <= COARSEST:
        return None
    unit = _UNIT.search(column)
    name = re.sub(r"\W+", "_", _bare(column)).strip("_")[:MAX_NAME] or "channel"
    name = _free(name, (*others, *WORDS))
    shown = unit[1].strip()[:MAX_NAME] if unit else ""
    return Channel(name, shown, resolution, "" if name == column else column)


def _free(name: str, others: Sequence[str]) -> str:
    """Find a name like this one that no other has."""
    numbered = (f"{name[: MAX_NAME - 8]}_{number}" for number in count(2))
    return next(free for free in chain([name], numbered) if free not in others)


def _bare(column: str) -> str:
    """Write a column's name without its unit, in small letters."""
    return _UNIT.sub("", column).strip().casefold()


def _resolution(most: float) -> float:
    """Round to 1, 2 or 5 of a power of ten, so that ROOM times the largest value fits."""
    if most == 0:
        return 0.001
    needed = most * ROOM / fields.COUNT_MAX
    power = math.floor(math.log10(needed))
    steps = (float(f"{digit}e{power}") for digit in (1, 2, 5, 10, 20))
    return max(FINEST, next(step for step in steps if step >= needed))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
