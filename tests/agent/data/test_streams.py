"""Rows of text to counts."""

import csv
import io
import json
import math
import unicodedata
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedling_agent.data.lines import MAX_ROW, Lines
from fedling_agent.data.streams import (
    Channel,
    Given,
    Parser,
    Row,
    RowError,
    Stream,
    load_stream,
    read_window,
)
from fedling_protocol.disk.errors import BadInput
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.labels import tidy
from tests.support.device import STREAM, parse

HEADER = "recording,label,x,y\n"


def one(line: str) -> Row | RowError:
    (row,) = parse([HEADER, line])
    return row


def reason(line: str, form: str = "csv") -> str:
    lines = [HEADER, line] if form == "csv" else [line]
    (row,) = parse(lines, form)
    assert isinstance(row, RowError), row
    return row.reason


def test_csv_row_becomes_counts() -> None:
    assert one("walk-1,up,1.5,-0.25\n") == Row(2, "walk-1", "up", None, (1500, -250))


@pytest.mark.parametrize("label", ["", " "])
def test_labels_are_optional(label: str) -> None:
    row = one(f"walk-1,{label},1,2\n")
    assert isinstance(row, Row)
    assert row.label is None
    (bare,) = parse(["recording,x,y", "a,1,2"])
    assert isinstance(bare, Row)
    assert bare.label is None


def test_columns_in_any_order_and_a_time() -> None:
    (row,) = parse(["y,time,recording,x\n", "2,1700000000.5,a,1\n"])
    assert row == Row(2, "a", None, 1_700_000_000_500_000, (1000, 2000))


def test_ndjson_row_becomes_counts() -> None:
    line = json.dumps({"recording": "a", "label": "up", "x": 0.0015, "y": -1, "time": 3})
    assert parse([line], "ndjson") == [Row(1, "a", "up", 3_000_000, (2, -1000))]


def test_quotes_byte_order_mark_and_blank_lines() -> None:
    rows = parse(["\ufeffrecording,label,x,y\r\n", "\n", '"a, b","up",1,2\r\n'])
    assert rows == [Row(3, "a, b", "up", None, (1000, 2000))]


@given(
    count=st.integers(-32768, 32767),
    hundredths=st.integers(-50, 49),
    resolution=st.sampled_from([0.001, 0.01, 0.25, 3.0, 1e-6, 0.0078125]),
)
def test_values_are_rounded_half_up_exactly(count: int, hundredths: int, resolution: float) -> None:
    stream = Stream("s", (Channel("x", "g", resolution),))
    exact = (count + Fraction(hundredths, 100)) * Fraction(repr(resolution))
    text = f"{exact.numerator * 10**14 // exact.denominator}e-14"
    assert Fraction(text) == exact  # every value here is a short decimal
    (row,) = parse(["recording,x", f"a,{text}"], stream=stream)
    expected = math.floor(exact / Fraction(repr(resolution)) + Fraction(1, 2))
    assert isinstance(row, Row), row
    assert row.counts == (expected,)


@given(
    text=st.from_regex(r"\A[-+]?[0-9]{1,5}(\.[0-9]{0,9})?\Z"),
    resolution=st.sampled_from([0.001, 0.1, 0.25, 3.0, 1e-6, 1e-9, 0.0078125, 0.07]),
)
@example("0.0005", 0.001)
@example("-0.0005", 0.001)
@example("0.00049999999999999999999999999", 0.001)
@example("0.105", 0.07)
@example("32.7675", 0.001)
@example("32.76749999999999999999", 0.001)
@example("-32.7685", 0.001)
@example("-32.76850000000000000001", 0.001)
def test_plain_values_are_rounded_half_up_exactly(text: str, resolution: float) -> None:
    stream = Stream("s", (Channel("x", "g", resolution),))
    expected = math.floor(Fraction(text) / Fraction(repr(resolution)) + Fraction(1, 2))
    (row,) = parse(["recording,x", f"a,{text}"], stream=stream)
    if -32768 <= expected <= 32767:
        assert isinstance(row, Row), row
        assert row.counts == (expected,)
    else:
        assert isinstance(row, RowError)
        assert "is out of range" in row.reason


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a,up,1\n", "3 columns, the header has 4"),
        ("a,up,1,2,3\n", "5 columns, the header has 4"),
        (",up,1,2\n", "recording is missing"),
        ("a,up,,2\n", "x is missing"),
        ("a,up,nan,2\n", "x = nan is not a number"),
        ("a,up,1,inf\n", "y = inf is not a number"),
        ("a,up,1_0,2\n", "x = 1_0 is not a number"),
        ("a,up,one,2\n", "x = one is not a number"),
        ("a,up,32.768,2\n", "x = 32.768 is out of range (-32.768 to 32.767)"),
        ("a,up,1,-32.769\n", "y = -32.769 is out of range"),
        ("a,up,1e999999999,2\n", "x = 1e999999999 is"),
        (f"a,{'u' * 65},1,2\n", "label = "),
        ("a,u\x07p,1,2\n", "label = u?p"),
        (f"{'a' * 65},up,1,2\n", "recording = "),
        ('a,"up,1,2\n', "not CSV"),
        ("\ufffd,up,1,2\n", "not UTF-8"),
        ('a,5" pipe,1,2\n', "a quote stands inside a field"),
        ('a,"up" and,1,2\n', "a quote stands inside a field"),
        (f"a,up,{'1' * MAX_ROW},2\n", "longer than"),
    ],
)
def test_bad_csv_row_is_told(line: str, words: str) -> None:
    assert words in reason(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("[" * 5000, "not JSON"),
        ('{"recording": "a", "x": 1}', "y is missing"),
        ('{"recording": "a", "x": true, "y": 1}', "x = true is not a number"),
        ('{"recording": "a", "x": NaN, "y": 1}', "x = NaN is not a number"),
        (
            '{"recording": "a", "x": 1, "y": 1, "z": 1}',
            'unknown key z; to leave it out: ignore = ["z"] in the stream\'s file',
        ),
        ('{"recording": "a", "x": 1, "y": 1, "x": 2}', "key x comes twice"),
        ('{"recording": "a", "x": 1, "y": 1, "label": 7.5}', "label = 7.5 is not a text"),
        ('{"recording": "a", "x": 1, "y": 1, "label": 7e5}', "is not a text"),
        ('{"recording": "a", "x": 1, "y": 1, "label": true}', "label = true is not a text"),
        ('{"recording": "a", "x": 1, "y": 1, "label": ["up"]}', "is not a text"),
        ('{"recording": 0.3, "x": 1, "y": 1}', "recording = 0.3 is not a text"),
        ('{"recording": "a", "x": 1, "y": 1, "time": -1}', "time = -1"),
        ('{"recording": "a", "x": 1, "y": 1, "label": "\\ud800"}', "label = "),
    ],
)
def test_bad_ndjson_row_is_told(line: str, words: str) -> None:
    assert words in reason(line, "ndjson")


@pytest.mark.parametrize(
    "line", ["a, up, 1.5, -0.25\n", "a ,up , 1.5 ,\t-0.25\r\n", 'a, "up", 1.5,-0.25\n']
)
def test_space_around_fields_does_not_matter(line: str) -> None:
    (row,) = parse(["recording, label, x, y\n", line])
    assert row == Row(2, "a", "up", None, (1500, -250))


def test_space_around_numbers_in_json_does_not_matter() -> None:
    line = '{"recording": "a", "x": " 1.5", "y": "-0.25 ", "time": " 3 "}'
    assert parse([line], "ndjson") == [Row(1, "a", None, 3_000_000, (1500, -250))]


@pytest.mark.parametrize("number", ["3", "0", "-12", "20261126"])
def test_labels_and_recordings_may_be_whole_numbers(number: str) -> None:
    line = f'{{"recording": {number}, "x": 1, "y": 1, "label": {number}}}'
    assert parse([line], "ndjson") == [Row(1, number, number, None, (1000, 1000))]
    assert parse([HEADER, f"{number},{number},1,1"]) == [Row(2, number, number, None, (1000, 1000))]


@given(st.text(st.characters(categories=["L", "M", "N", "P"]), min_size=1, max_size=8))
def test_labels_have_one_form(label: str) -> None:
    forms = {unicodedata.normalize(form, f" {label}\t") for form in ("NFC", "NFD")}
    lines = [json.dumps({"recording": "a", "label": f, "x": 1, "y": 1}) for f in forms]
    rows = parse(lines, "ndjson")
    assert len({row.label if isinstance(row, Row) else "refused" for row in rows}) == 1


FIELD = st.text(st.sampled_from('ab12,"\n '), max_size=6)


@given(st.lists(st.tuples(FIELD, FIELD), max_size=6))
def test_a_field_with_line_breaks_never_makes_rows_of_its_own(
    fields: list[tuple[str, str]],
) -> None:
    """What another program writes: each row is read as it was meant, or refused."""
    file = io.StringIO()
    csv.writer(file).writerows([name, label, 1, 2] for name, label in fields)
    lines = file.getvalue().splitlines(keepends=True)
    meant = {(tidy(name), tidy(label) or None) for name, label in fields}
    for row in parse([HEADER, *lines]):
        assert isinstance(row, RowError) or (row.recording, row.label) in meant


def test_a_quote_that_nobody_closes_takes_few_rows_along() -> None:
    rows = parse([HEADER, 'a,"up,1,2\n', *["a,up,1,2\n"] * 20])
    assert [type(row) for row in rows] == [RowError] * 9 + [Row] * 12
    assert rows[1] == RowError(3, "inside quotes that row 2 opened")


def test_refused_row_tells_its_recording_if_it_can() -> None:
    rows = parse([HEADER, "a,up,nan,2\n", "a,up,1\n", ",up,1,2\n"])
    assert [row.recording for row in rows] == ["a", None, None]


def test_good_rows_are_kept_and_bad_ones_have_their_line() -> None:
    rows = parse([HEADER, "a,up,1,2\n", "a,up,nan,2\n", "a,up,3,4\n"])
    assert [type(row) for row in rows] == [Row, RowError, Row]
    assert [row.row for row in rows] == [2, 3, 4]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("label,x,y", "column recording is missing"),
        ("recording,x", "column y is missing"),
        ("recording,x,y,lable", "unknown column lable"),
        (
            "recording,x,y,z, steps,steps",
            "unknown column steps; allowed: recording, label, time, x, y; to leave out what is "
            r"unknown: ignore = \[\"z\", \"steps\"\] in the stream's file",
        ),
        ("sep=;", "header: sep=; is for a spreadsheet: remove that line"),
        ("1.5,2,0", "header: there is none: the first line must name the columns"),
        ("label;x;y", "column recording is missing: add it, or --recording NAME; allowed"),
        ("recording;x;lable", "column y is missing; unknown column lable"),
        ("recording\tx\ty\tz", "unknown column z"),
        ("a;b;c;d", "unknown column a; unknown column b"),
        ("recording,x,y,x", "column x comes twice"),
        ("recording,x,y,", "column 4 has no name"),
        (",recording,x,y", "column 1 has no name"),
        ("recording,\ufffd,x,y", "header: not UTF-8"),
        ('recording,"x,y', "header: not CSV: a quote is not closed"),
        ("r" * (MAX_ROW + 1), "header: longer than"),
    ],
)
def test_bad_header_stops_everything(header: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        parse([header, "a,1,2"])


@given(st.lists(st.text(max_size=60)), st.sampled_from(["csv", "ndjson"]))
def test_no_text_breaks_the_parser(lines: list[str], form: str) -> None:
    for row in parse([HEADER, *lines] if form == "csv" else lines, form):
        assert isinstance(row, Row | RowError)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    text = Lines()
    lines = text.feed(HEADER.encode() + data.replace(b"\0", b"?")) + text.end()
    assert all(isinstance(row, Row | RowError) for row in Parser(STREAM, "csv").feed(lines))


# --- what other programs write -----


@given(
    rows=st.lists(
        st.tuples(
            st.text(st.sampled_from('ab1 ,;\t."'), min_size=1, max_size=6),
            st.integers(-32768, 32767),
            st.none() | st.integers(0, 2**40),
        ),
        min_size=1,
        max_size=5,
    ),
    separator=st.sampled_from(",;\t"),
    comma=st.booleans(),
)
def test_the_separator_and_the_decimal_sign_do_not_matter(
    rows: list[tuple[str, int, int | None]], separator: str, comma: bool
) -> None:
    """A spreadsheet of another country writes the same rows in another way."""

    def written(separator: str, point: str) -> list[str]:
        file = io.StringIO()
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow(["recording", "label", "time", "x", "y"])
        for label, count, ms in rows:
            time = "" if ms is None else f"{ms / 1000:.3f}".replace(".", point)
            writer.writerow(["a", label, time, f"{count / 1000:.3f}".replace(".", point), "1"])
        return file.getvalue().splitlines(keepends=True)

    decimal = "," if comma and separator != "," else "."
    assert parse(written(separator, decimal)) == parse(written(",", "."))


@pytest.mark.parametrize("value", ["1.234,5", "1,234,5", "1,2.3", ",", "1,x"])
def test_a_number_with_two_signs_is_refused(value: str) -> None:
    (row,) = parse(["recording;x;y", f"a;{value};2"])
    assert isinstance(row, RowError)
    assert "is not a number" in row.reason


def test_a_row_of_tabs_is_a_row_without_values() -> None:
    rows = parse(["recording\tx\ty\n", "a\t1\t2\n", "\t\t\n", "\n", "a\t3\t4\n"])
    assert [type(row) for row in rows] == [Row, RowError, Row]


INSTANT_US = 1_772_362_800_250_000  # 2026-03-01T11:00:00.25Z
INSTANTS = [
    "1772362800.25",
    "1772362800250",
    "1772362800250000",
    "1772362800250000000",
    "1.77236280025e12",
    "2026-03-01T11:00:00.25Z",
    "2026-03-01T11:00:00.25",
    "2026-03-01 11:00:00.250000000",
    "2026-03-01T12:00:00.25+01:00",
    "2026-03-01T12:00:00.250+0100",
]


@pytest.mark.parametrize("written", INSTANTS)
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_a_time_is_read_in_each_unit_and_as_a_date(written: str, form: str) -> None:
    lines = ["recording,x,y,time", f"a,1,2,{written}"]
    if form == "ndjson":
        value = json.dumps(written) if ":" in written else written
        lines = [f'{{"recording": "a", "x": 1, "y": 2, "time": {value}}}']
    (row,) = parse(lines, form)
    assert isinstance(row, Row), row
    assert row.time_us == INSTANT_US


@given(
    st.integers(10**8, 2**33 - 1),  # March 1973 to 2242
    st.sampled_from([1, 10**3, 10**6, 10**9]),
)
def test_no_time_is_taken_in_another_unit(second: int, unit: int) -> None:
    (row,) = parse(["recording,x,y,time", f"a,1,2,{second * unit}"])
    assert isinstance(row, Row), row
    assert row.time_us == second * 1_000_000


@pytest.mark.parametrize(
    "written",
    ["-1", "9000000000", "99999999999", "9e12", "9e18", "1e30", "noon", "2026-13-01T00:00:00",
     "2026-03-01T25:00", "1960-01-01T00:00:00Z", "9999-01-01T00:00", "0001-01-01T00:00+23:00"],
)  # fmt: skip
def test_a_time_that_is_none_is_refused(written: str) -> None:
    (row,) = parse(["recording,x,y,time", f"a,1,2,{written}"])
    assert isinstance(row, RowError)
    assert row.reason.startswith(f"time = {written}")


PHONE = Stream(
    "phone",
    (Channel("x", "m/s2", 0.001, "Acceleration x (m/s^2)"), Channel("y", "m/s2", 0.001)),
    time_column="Time (s)",
    label_column="activity",
    ignore=("steps", ""),
)


def test_columns_of_another_name_and_columns_that_nobody_wants() -> None:
    header = '"Time (s)","Acceleration x (m/s^2)","y","steps","activity",""'
    given = Given("walk-1")
    rows = list(Parser(PHONE, "csv", given).feed([header, "0.5,1.5,2,many,up,"]))
    assert rows == [Row(2, "walk-1", "up", 500_000, (1500, 2000))]
    line = {"Time (s)": 0.5, "Acceleration x (m/s^2)": 1.5, "y": 2, "steps": [3], "activity": "up"}
    rows = list(Parser(PHONE, "ndjson", given).feed([json.dumps(line)]))
    assert rows == [Row(1, "walk-1", "up", 500_000, (1500, 2000))]
    with pytest.raises(BadInput, match="unknown column time; allowed: recording, activity, Time"):
        list(Parser(PHONE, "csv", given).feed(["time,Acceleration x (m/s^2),y"]))


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_what_holds_for_all_rows_may_be_given(form: str) -> None:
    lines = ["x,y", "1,2"] if form == "csv" else ['{"x": 1, "y": 2}']
    (row,) = Parser(STREAM, form, Given("walk-1 ", "up")).feed(lines)
    assert isinstance(row, Row)
    assert (row.recording, row.label) == ("walk-1", "up")


@pytest.mark.parametrize("word", ["recording", "label"])
def test_what_is_given_is_not_in_the_rows_as_well(word: str) -> None:
    given = Given("walk-1", "up")
    with pytest.raises(BadInput, match=f"--{word} is given, and there is a column {word}"):
        list(Parser(STREAM, "csv", given).feed([f"{word},x,y"]))
    (row,) = Parser(STREAM, "ndjson", given).feed([f'{{"{word}": "b", "x": 1, "y": 2}}'])
    assert isinstance(row, RowError)
    assert row.reason == f"{word} = b, and --{word} is given"
    wrong = {word: "a" * 65}
    with pytest.raises(BadInput, match=rf"^--{word} = a+\.\.\.: allowed: 64 bytes"):
        Parser(STREAM, "csv", Given(**wrong))


def test_a_bad_row_of_a_recording_that_was_given_is_of_that() -> None:
    (row,) = Parser(STREAM, "csv", Given("walk-1")).feed(["x,y", "1"])
    assert row == RowError(2, "1 columns, the header has 2", "walk-1")


def test_window_for_prediction() -> None:
    lines = ["x,y\n", "1,2\n", "3,4\n"]
    assert list(read_window(STREAM, lines, "csv", 2).counts) == [1000, 2000, 3000, 4000]
    with pytest.raises(BadInput, match="3 samples; got 2"):
        read_window(STREAM, lines, "csv", 3)
    with pytest.raises(BadInput, match="1 samples; got more"):
        read_window(STREAM, lines, "csv", 1)
    with pytest.raises(BadInput, match="row 2: x = nan"):
        read_window(STREAM, ["x,y\n", "nan,2\n"], "csv", 1)
    with pytest.raises(BadInput, match="row 9: x = nan"):
        read_window(STREAM, ["x,y\n", "\n", "nan,2\n"], "csv", 1, before=7)
    with pytest.raises(BadInput, match="row 8: not JSON"):
        read_window(STREAM, ["nan,2\n"], "ndjson", 1, before=7)


@pytest.mark.parametrize(
    ("rows", "labelled", "label"),
    [
        (["a,up", "a,up"], True, "up"),
        (["a,up", "a,down"], True, None),
        (["a,up", "a,"], True, None),
        (["a,up", "b,up"], True, None),
        ([",up", ",up "], True, "up"),
        (["a,", "a,"], False, None),
    ],
)
def test_window_has_a_label_if_all_of_its_rows_have(
    rows: list[str], labelled: bool, label: str | None
) -> None:
    window = read_window(STREAM, [HEADER, *(f"{row},1,2" for row in rows)], "csv", 2)
    assert (window.labelled, window.label) == (labelled, label)


def test_load_stream(tmp_path: Path) -> None:
    path = tmp_path / "wrist.toml"
    text = 'name = "wrist"\n[[channel]]\nname = "x"\nunit = "g"\nresolution = 0.001\n'
    path.write_text(text)
    assert load_stream(path) == Stream("wrist", (Channel("x", "g", 0.001),))
    path.write_text(text.replace("0.001", "0"))
    with pytest.raises(SettingsError, match=r"channel\[0\].resolution = 0"):
        load_stream(path)
    path.write_text(text.replace('"x"', '"label"'))
    with pytest.raises(SettingsError, match="not one of recording, label, time"):
        load_stream(path)
    for keys in ('time_column = "x"\n', 'label_column = "time"\n', 'ignore = ["x"]\n'):
        path.write_text(keys + text)
        with pytest.raises(SettingsError, match=r"column (x|time) is named twice"):
            load_stream(path)
    path.write_text(text + text.split("\n", 1)[1])
    with pytest.raises(SettingsError, match="two channels have the same name"):
        load_stream(path)


# --- what other programs write ----


LEADS = st.sampled_from(
    ["#group,false,true\n", "#Device Name: X\n", "\n", '"TOA5","Site",1,2\n', "x;recording\n",
     "1,2,3,4\n", 'a "quote\n', "<html>\n", "\t\t\n", "Plot Title: hall\n"]
)  # fmt: skip


@given(st.lists(LEADS, min_size=1, max_size=20), st.sampled_from(",;\t"))
def test_a_header_behind_other_lines_is_pointed_at(before: list[str], separator: str) -> None:
    header = separator.join(["time", "recording", "x", "more", "y"]) + "\n"
    if not "".join(before).strip():
        before = ["#\n"]
    with pytest.raises(BadInput) as bad:
        parse([*before, header, "1,a,2,3,4\n"])
    assert str(bad.value).startswith(f"header: row {len(before) + 1} looks like it: remove")


NUMBERS = st.sampled_from(["1", "-2", "0,5", "1,234", "12,5", "0.5", "1.234", "-7.25"])


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8), st.sampled_from(";\t"))
def test_one_input_has_one_decimal_sign(rows: list[tuple[str, str]], separator: str) -> None:
    """Of two signs one may be of thousands: a value that is wrong by a thousand looks like any."""
    lines = [f"recording{separator}time{separator}x{separator}y\n"]
    lines += [separator.join(["a", "2026-03-01T12:00:00.5Z", *row]) + "\n" for row in rows]
    signs = [sign for row in rows for field in row for sign in ",." if sign in field] or [""]
    for row, found in zip(rows, parse(lines), strict=True):
        if any(sign in field for field in row for sign in {*",."} - {*signs[:1]} if signs[0]):
            assert isinstance(found, RowError)
            assert "in one input" in found.reason
        else:
            assert isinstance(found, Row)
            exact = [Fraction(field.replace(",", ".")) for field in row]
            assert [Fraction(count, 1000) for count in found.counts] == exact


@pytest.mark.parametrize("line", ["[\n", "[1]\n", '[{"recording": "a", "x": 1}]\n', "{\n"])
def test_an_array_is_told_what_to_do_with(line: str) -> None:
    assert "one object a line is read: jq -c '.[]' FILE" in reason(line, "ndjson")
    assert "jq" not in reason('{"recording": 1.5}\n', "ndjson")
