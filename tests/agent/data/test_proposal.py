"""What is proposed for a table reads that table."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.data.proposal import Proposal, propose
from fedling_agent.data.streams import Channel, Given, Parser, Row, Stream
from fedling_protocol import settings
from fedling_protocol.disk.errors import BadInput


def read(lines: list[str], found: Proposal) -> list[Row]:
    """The rows of a table by the proposed file; all of them are good."""
    stream = settings.parse(found.toml("walk.csv"), "walk.toml", Stream)
    assert stream == found.stream
    given = Given(**dict.fromkeys(found.lacks, "given"))
    rows = list(Parser(stream, "csv", given).feed(lines))
    return [row for row in rows if isinstance(row, Row)]


def test_a_table_of_a_phone() -> None:
    lines = [
        "Time (s);Linear Acceleration x (m/s^2);Linear Acceleration y (m/s^2);Activity;Note\n",
        "0,02;-1,5;0;walk;good\n",
        "0,04;2,25;0;walk;\n",
    ]
    found = propose(lines, "phone")
    assert found.stream == Stream(
        "phone",
        (
            Channel("linear_acceleration_x", "m/s^2", 0.001, "Linear Acceleration x (m/s^2)"),
            Channel("linear_acceleration_y", "m/s^2", 0.001, "Linear Acceleration y (m/s^2)"),
        ),
        label_column="Activity",
        time_column="Time (s)",
        ignore=("Note",),
    )
    assert (found.rows, found.ranges, found.lacks) == (2, ((-1.5, 2.25), (0, 0)), ("recording",))
    first, second = read(lines, found)
    assert first == Row(2, "given", "walk", 20_000, (-1500, 0))
    assert second.counts == (2250, 0)


COLUMN = st.sampled_from(
    ["x", "X", "x (g)", "y", "time", "Time", "timestamp", "label", "Activity", "recording",
     "session", "", "z [m/s2]", "_", "a,b", 'q"', "channel", "channel_2", "x" * 70, "\u00e9"]
)  # fmt: skip
NUMBER = st.decimals(-(10**6), 10**6, places=3).map(str)


@given(
    names=st.lists(COLUMN, min_size=1, max_size=8),
    kinds=st.lists(st.sampled_from("nnnwd"), min_size=8, max_size=8),
    rows=st.lists(st.lists(NUMBER, min_size=9, max_size=9), min_size=1, max_size=4),
    separator=st.sampled_from(",;\t"),
)
def test_what_is_proposed_reads_every_row(
    names: list[str], kinds: list[str], rows: list[list[str]], separator: str
) -> None:
    """Whatever columns are called, how often, and what is in them: numbers, words, dates.

    One column is of numbers.
    """
    names, kinds = ["first value", *names], ["n", *kinds]
    written = {"n": "{}", "w": "w{}", "d": "2026-03-01T12:00:00Z"}
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        cells = zip(kinds, row, names, strict=False)
        writer.writerow([written[kind].format(value) for kind, value, _ in cells])
    lines = file.getvalue().splitlines(keepends=True)
    assert len(read(lines, propose(lines, "walk"))) == len(rows)


@given(st.lists(st.text(max_size=40), max_size=6))
def test_no_text_breaks_it(lines: list[str]) -> None:
    try:
        found = propose(lines, "walk")
    except BadInput:
        return
    settings.parse(found.toml("\n"), "walk.toml", Stream)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "there is no header"),
        (["x,y\n"], "no row below the header"),
        (["x,y\n", "a,b\n"], "in no column at least half"),
        (["x,\u0007\n", "1,2\n"], "rename it"),
        (['x,"y\n', "1,2\n"], "header: not CSV"),
    ],
)
def test_what_is_no_table_is_named(lines: list[str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        propose(lines, "walk")


@pytest.mark.parametrize("most", [0.0, 1e-9, 0.001, 1, 9.81, 32_767, 32_768, 1e9])
def test_far_more_than_was_seen_fits(most: float) -> None:
    (channel,) = propose(["x\n", f"{most!r}\n", f"{-most!r}\n"], "walk").stream.channels
    assert 7.9 * most <= channel.resolution * 32_767 <= max(41 * most, 33)


def test_more_columns_than_a_stream_may_have_are_left_out() -> None:
    names = [f"c{number}" for number in range(70)]
    lines = [",".join(names) + "\n", ",".join(["1"] * 70) + "\n"]
    found = propose(lines, "walk")
    assert len(found.stream.channels) == 64
    assert found.stream.ignore == tuple(names[64:])
    assert len(read(lines, found)) == 1


BAD = st.sampled_from(
    ["", "nan", "-1.#IND", "unavailable", "x", "inf", "1.234,5", "\u22121", "1 V"]
)


@given(st.lists(st.tuples(st.booleans(), BAD), min_size=2, max_size=9), st.sampled_from(",;\t"))
def test_moments_without_a_number_are_told_and_lose_no_channel(
    rows: list[tuple[bool, str]], separator: str
) -> None:
    """A sensor that was away for a while is a sensor."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator="\n")
    writer.writerow(["x", "y"])
    writer.writerows(["1", "2" if good else bad] for good, bad in rows)
    found = propose(file.getvalue().splitlines(keepends=True), "walk")
    away = sum(not good for good, _ in rows)
    if away * 2 > len(rows):
        assert found.stream.ignore == ("y",)
        return
    assert found.gaps == (0, away)
    told = f"# {away} of {len(rows)} rows have no number here: ingest refuses them"
    assert (told in found.toml("walk.csv")) == bool(away)


@pytest.mark.parametrize(
    "before",
    [
        ["#group,false,true\n", "#datatype,string,double\n", "#default,,\n"],
        ["#Made by X\n", "#Date: 2026-03-01\n", "\n"],
        ['"TOA5","Site"\n'],
    ],
)
def test_a_header_behind_other_lines_is_pointed_at(before: list[str]) -> None:
    rows = [f",{n},{n / 10},0\n" for n in range(9)]
    with pytest.raises(BadInput, match=f"row {len(before) + 1} looks like it"):
        propose([*before, ",time,x,y\n", *rows], "walk")


def test_dates_are_the_time_whatever_their_column_is_called() -> None:
    """And of several the one that goes on; where none is, that is told."""
    head = "begun,last_changed,state\n"
    rows = [f"2026-03-01T12:00:00Z,2026-03-01T12:{n:02}:00Z,2{n}\n" for n in range(9)]
    assert propose([head, *rows], "walk").stream.time_column == "last_changed"
    words = "gaps between rows are not seen"
    assert words not in propose([head, *rows], "walk").toml("walk.csv")
    german = [f"{n:02}.03.2026 12:00,2{n}\n" for n in range(9)]
    assert words in propose(["date,state\n", *german], "walk").toml("walk.csv")


def test_a_second_clock_is_no_channel() -> None:
    rows = [f"{1_700_000_000 + n},{n}.5,{n}\n" for n in range(9)]
    found = propose(["time,seconds_elapsed,x\n", *rows], "walk")
    assert [channel.name for channel in found.stream.channels] == ["x"]
    assert found.stream.ignore == ("seconds_elapsed",)


def test_a_header_that_comes_again_makes_no_channel_of_the_time() -> None:
    rows = [f"{n},1\n" for n in range(9)]
    found = propose(["time,x\n", *rows, "time,x\n", *rows], "walk")
    assert [channel.name for channel in found.stream.channels] == ["x"]
    assert found.gaps == (1,)


def test_what_is_wrong_with_a_table_is_not_hidden_by_a_later_row() -> None:
    with pytest.raises(BadInput, match="column a comes twice"):
        propose(["a,a\n", *[f"{n},{n}\n" for n in range(50)]], "walk")


@pytest.mark.parametrize("name", ["supply t", "valve t", "date of supply"])
def test_a_sensor_that_stands_still_is_a_channel(name: str) -> None:
    found = propose([f"time,{name}\n", *[f"{n},20.5\n" for n in range(50)]], "walk")
    assert [channel.column for channel in found.stream.channels] == [name]


def test_a_clock_that_is_ignored_is_told() -> None:
    rows = [f"{1_700_000_000 + n},{n}.5,{n}\n" for n in range(9)]
    said = propose(["time,seconds_elapsed,x\n", *rows], "walk").toml("walk.csv")
    assert "# Ignored, since the time alone makes them grow: seconds_elapsed" in said
