"""Which array of a file is what, and the lines of a table that they become."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedling_agent.data.arrays import Table, table
from fedling_agent.data.npz import Arrays
from fedling_agent.data.streams import Channel, Given, Parser, Row, Stream
from fedling_protocol.disk.errors import BadInput

STREAM = Stream("wrist", (Channel("x1", "m/s2", 0.01), Channel("x,2", "", 1.0)), ignore=("fs",))
ONE = Stream("door", (Channel("0", "", 1.0),))
NAMED = Given(named="day")
XY = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], "i2")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "day.npz"


def tables(file: Path, stream: Stream = STREAM, given: Given = NAMED) -> list[Row]:
    """The rows that the arrays of a file are."""
    with file.open("rb") as opened:
        found = table(Arrays(opened.fileno(), "day.npz"), "day.npz", stream, given)
        return read(found, stream)


def read(found: Table, stream: Stream) -> list[Row]:
    rows = []
    for row in Parser(stream, "csv").feed(found.lines()):
        assert isinstance(row, Row), row
        rows.append(row)
    return rows


def counts(rows: list[Row]) -> list[tuple[int, ...]]:
    return [row.counts for row in rows]


@pytest.mark.parametrize("name", ["x", "X", "data", "arr_0", "acc"])
def test_one_array_is_the_samples(file: Path, name: str) -> None:
    np.savez(file, **{name: XY, "fs": np.array(50)})  # type: ignore[arg-type]
    rows = tables(file)
    assert counts(rows) == [(100, 2), (300, 4), (500, 6), (700, 8)]
    assert {(row.recording, row.label, row.time_us) for row in rows} == {("day", None, None)}


def test_an_array_alone_is_the_samples(file: Path) -> None:
    with file.open("wb") as opened:
        np.save(opened, np.asfortranarray(XY))
    assert counts(tables(file)) == [(100, 2), (300, 4), (500, 6), (700, 8)]


def test_a_float_is_the_count_that_its_value_is(file: Path) -> None:
    np.savez(file, x=np.array([[0.125, -3], [-1e-9, 2.5]], "f4"))
    assert counts(tables(file)) == [(13, -3), (0, 3)]  # halves go up, as those of a table do


def test_what_is_said_of_each_sample(file: Path) -> None:
    names = np.array(["a", "a", 'b "c", d', "a"])
    times = np.array([1_760_000_000_000 + 20 * n for n in range(4)])
    np.savez(file, data=XY, labels=np.array(["up", "", "up, down", "é"]), t=times, recording=names)
    assert [(row.recording, row.label, row.time_us) for row in tables(file)] == [
        ("a", "up", 1_760_000_000_000_000), ("a", None, 1_760_000_000_020_000),
        ('b "c", d', "up, down", 1_760_000_000_040_000), ("a", "é", 1_760_000_000_060_000),
    ]  # fmt: skip


def test_dates_and_seconds_are_times(file: Path) -> None:
    for times in (np.array([1.25e9] * 4), np.array(["2009-08-11T14:13:20"] * 4)):
        np.savez(file, x=XY, time=times)
        assert {row.time_us for row in tables(file)} == {1_250_000_000_000_000}


def test_three_axes_are_recordings(file: Path) -> None:
    np.savez(file, x=XY.reshape(2, 2, 2), y=np.array([1, 0], "u1"), classes=np.array(["no", "up"]))
    found = [("day-0", "up", (100, 2)), ("day-0", "up", (300, 4)),
             ("day-1", "no", (500, 6)), ("day-1", "no", (700, 8))]  # fmt: skip
    assert [(row.recording, row.label, row.counts) for row in tables(file)] == found
    np.savez(file, x=np.asfortranarray(XY.reshape(2, 2, 2)), y=np.array([[1, 1], [0, 0]]),
             t=np.array([[5, 6], [7, 8]]), label_names=np.array(["no", "up"]))  # fmt: skip
    rows = tables(file, given=Given("walk", named="day"))
    walks = [(name.replace("day", "walk"), label, value) for name, label, value in found]
    assert [(row.recording, row.label, row.counts) for row in rows] == walks
    assert [row.time_us for row in rows] == [5_000_000, 6_000_000, 7_000_000, 8_000_000]


def test_numbers_without_names_are_labels_themselves(file: Path) -> None:
    np.savez(file, x=XY, y=np.array([0, 1, 2, -1]))
    assert [row.label for row in tables(file)] == ["0", "1", "2", "-1"]


def test_one_channel_that_is_called_by_a_number(file: Path) -> None:
    """A header of nothing but numbers would be taken for none."""
    np.savez(file, x=np.array([[3], [4]]))
    assert counts(tables(file, ONE)) == [(3,), (4,)]


@pytest.mark.parametrize("shape", [(0, 2), (0, 3, 2), (3, 0, 2), (10**12, 0, 2)])
def test_an_array_may_have_no_sample(file: Path, shape: tuple[int, ...]) -> None:
    np.savez(file, x=np.zeros(shape))
    assert tables(file) == []


def test_a_line_is_told_by_its_place(file: Path) -> None:
    for shape, place in (((6, 2), "x[5]"), ((2, 3, 2), "x[1, 2]")):
        np.savez(file, x=np.zeros(shape))
        with file.open("rb") as opened:
            found = table(Arrays(opened.fileno(), "day.npz"), "day.npz", STREAM, NAMED)
            assert found.place(7) == place


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "which array has the samples? There are none"),
        ({"a": XY, "b": XY}, "which array has the samples? There are a, b: numpy.savez("),
        ({"x": XY, "data": XY}, "arrays x and data: which one?"),
        ({"x": XY, "rate": XY}, "unknown arrays rate:"),
        ({"x": XY, "rate": XY}, 'ignore = ["rate"]'),
        ({"x": XY.T}, "array x: shape (2, 4): allowed: numbers, (samples, 2) or (recordings, "),
        ({"x": XY.T}, "; .swapaxes(-1, -2) makes it so of x"),
        ({"x": XY[0]}, "array x: shape (2,): allowed:"),
        ({"x": np.array([["a", "b"]])}, "array x: shape (1, 2) of texts: allowed: numbers"),
        ({"x": XY, "y": XY}, "array y: shape (4, 2), and x has shape (4, 2): allowed: (4,)"),
        ({"x": XY, "y": np.zeros(4)}, "array y: allowed: texts, or whole numbers: .astype(int)"),
        ({"x": XY, "t": np.zeros(3)}, "array t: shape (3,), and x has shape (4, 2): allowed: (4,)"),
        ({"x": XY[None], "y": np.zeros(2, int)}, "allowed: (1, 4) or (1,)"),
        ({"x": XY[None], "recording": np.array(["a"])}, "the recordings are the first axis"),
        ({"x": XY, "y": np.array([0, 1, 2, 0]), "classes": np.array(["a", "b"])},
         "array y: 2 is none of the 2 names in the file"),
        ({"x": XY, "classes": np.array([1, 2])}, "array classes: shape (2,): allowed: up to"),
    ],
)  # fmt: skip
def test_what_nobody_knows_is_said(file: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(file, **arrays)
    with pytest.raises(BadInput) as error:
        tables(file)
    assert str(error.value).startswith("day.npz: ")
    assert words in str(error.value)


def test_a_name_is_as_long_as_that_of_a_recording(file: Path) -> None:
    np.savez(file, x=XY[None])
    assert {row.recording for row in tables(file, given=Given("r" * 62))} == {"r" * 62 + "-0"}
    with pytest.raises(BadInput, match=r"allowed: 64 bytes .*--recording NAME"):
        tables(file, given=Given(named="r" * 63))
    np.savez(file, x=XY, recording=np.array(["a"] * 4))
    assert {row.recording for row in tables(file, given=Given(named="r" * 99))} == {"a"}
    with pytest.raises(BadInput, match="array recording: is there, and --recording is given"):
        tables(file, given=Given("b"))


def test_one_channel_has_an_axis_of_its_own(file: Path) -> None:
    np.savez(file, x=np.zeros(5))
    with pytest.raises(BadInput, match=r"\[..., None\] makes it so of x"):
        tables(file, ONE)
